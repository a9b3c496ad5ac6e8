// The board: a column for each status, newest missions first. It follows what changes, and keeps still under the mouse.

import { call, poll, Problem } from "./api.js";
import { MARKS, STATUSES, arrange, badge, el, linkTo, moment, named, now, number, plain, say, span, tagged, ticking, ZONE } from "./dom.js";

const EVERY = 1500; // milliseconds
const PAGE = 25; // cards
const LONG = 200; // cards of a request when many are in view; the API gives no more
const NAMES = ["status", "tag", "name", "from", "to"]; // of the filters

const LABELS = { status: "Status", name: "Name", tag: "Tags", created_after: "Created from", created_before: "to" };

let left = null; // where the reader was on the board that was shown last: {query, shown, id}

export function show(main, { query }) {
  let filters = read(query);
  let columns = [];
  let etag = null;
  let counts = {};
  let refusedAt = null; // the filters that the API refused
  let back = left?.query === String(query) ? left : null;
  left = null;

  const form = filterForm((chosen) => {
    location.hash = `#/${chosen.size ? `?${chosen}` : ""}`;
  });
  const refused = el("p", { class: "refused", role: "alert" });
  const empty = el("p", { class: "nothing", role: "status" });
  const order = el("p", { class: "order" });
  const tabs = el("div", { class: "tabs", role: "group", "aria-label": "Columns" });
  const board = el("div", { class: "columns" });
  main.append(el("h1", { class: "unseen", tabindex: -1 }, "Board"), form.element, order, refused, tabs, empty, board);
  board.addEventListener("keydown", walk);
  board.addEventListener("click", ({ target }) => {
    left = { id: target.closest("[data-id]")?.dataset.id };
  });

  build();
  const polling = poll(EVERY, refresh);

  /** The statistics tell whether anything changed, and of which status; only then are lists read. */
  async function refresh() {
    const mine = columns;
    if (refusedAt === filters) return; // it would be refused again
    let stats;
    try {
      const first = mine.filter((each) => !each.begun);
      [stats] = await Promise.all([call("GET", "/stats/overview", { etag }), ...first.map((each) => each.read())]);
      if (mine !== columns) return;
      if (stats.status !== 304) counts = stats.body.stats;
      for (const each of mine) each.tell(counts);
      // What was read at once with the statistics may be older than these: it is read again the next time.
      const others = mine.filter((each) => !first.includes(each));
      await Promise.all(others.map((each) => each.refresh(counts, stats.status === 304)));
      for (const each of mine) if (each.held) each.render(); // what left a column may be in another one by now
    } catch (error) {
      etag = null; // not all of it was read
      if (!(error instanceof Problem && error.status === 422) || mine !== columns) throw error;
      refusedAt = filters;
      const fields = error.body.errors ?? [];
      const words = fields.map(({ pointer, detail }) => `${LABELS[pointer.split("/")[1]] ?? pointer}: ${detail}`);
      say(refused, `The filter is refused. ${words.join("; ") || error.message}`);
      for (const each of mine) each.refuse();
      return;
    }
    if (mine !== columns) return;
    etag = stats.etag; // only when all of it was read, and not before the statistics were
    const none = mine.every((each) => !each.missions.length && each.next === null);
    say(empty, !none ? "" : counts.total ? "No mission matches this filter." : "There are no missions yet. POST /api/missions creates one.");
    for (const each of mine) each.fill();
    if (back) await restore();
  }

  /** Show what the reader saw before another page was looked at. */
  async function restore() {
    const { shown, id } = back;
    back = null;
    for (const each of columns) {
      const { top = 0, many = 0 } = shown[each.status] ?? {};
      while (top && each.missions.length < many && (await each.further()));
      each.scroller.scrollTop = top;
    }
    const card = columns.map((each) => each.cards.get(id)).find(Boolean);
    if (document.activeElement === main.querySelector("h1")) card?.link.focus({ preventScroll: true });
  }

  function build() {
    form.fill(filters);
    document.title = "Board · Missions";
    const backwards = filters.from && filters.to && filters.from >= filters.to;
    say(refused, backwards ? "“Created from” is not before “to”, so nothing can match." : "");
    say(empty, "");
    say(order, filters.name ? "By name" : "Newest first, by creation");
    const shown = STATUSES.filter((each) => !filters.status.length || filters.status.includes(each));
    for (const each of columns) each.stop();
    const whereabouts = (id) => columns.find((each) => each.has(id))?.status;
    columns = shown.map((status) => new Column(status, filters, whereabouts));
    board.style.setProperty("--columns", columns.length);
    board.replaceChildren(...columns.map((each) => each.element));
    tabs.replaceChildren(...columns.map((each) => each.tab));
    etag = null;
  }

  return {
    stop() {
      polling.stop();
      for (const each of columns) each.stop();
      const shown = Object.fromEntries(columns.map((each) => [each.status, { top: each.scroller.scrollTop, many: each.missions.length }]));
      left = { query: String(query), shown, id: left?.id };
    },
    change(asked) {
      query = asked.query;
      filters = read(query);
      build();
      polling.now();
    },
  };
}

/** Arrow keys lead from card to card, and from column to column. */
function walk(event) {
  const card = event.target.closest?.(".card");
  if (!card || event.ctrlKey || event.altKey || event.metaKey) return;
  const column = card.closest(".column");
  const first = (element) => element?.querySelector(".card h3 a");
  const columns = [...column.parentElement.children].filter((each) => each === column || first(each));
  const at = columns.indexOf(column);
  const to = {
    ArrowDown: () => card.nextElementSibling?.querySelector("h3 a"),
    ArrowUp: () => card.previousElementSibling?.querySelector("h3 a"),
    ArrowRight: () => first(columns[at + 1]),
    ArrowLeft: () => first(columns[at - 1]),
  }[event.key]?.();
  if (!to) return;
  event.preventDefault();
  to.focus();
}

/** The filters in an address. */
function read(query) {
  const list = (name) => (query.get(name) ?? "").split(",").map((each) => each.trim()).filter(Boolean);
  return {
    status: list("status").filter((each) => STATUSES.includes(each)),
    tag: list("tag"),
    name: query.get("name") ?? "",
    from: utc(query.get("from") ?? ""),
    to: utc(query.get("to") ?? ""),
  };
}

// Addresses have moments in UTC, so that a link means the same to everybody; fields have them in the zone of the reader
const seconds = (text) => (Number.isNaN(Date.parse(text)) ? "" : Date.parse(text) / 1000);
const utc = (field) => (field && !Number.isNaN(Date.parse(field)) ? new Date(field).toISOString() : "");
const local = (text) => {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? "" : new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
};

function filterForm(onChange) {
  const boxes = STATUSES.map((status) => el("input", { type: "checkbox", name: "status", value: status }));
  const field = (name, label, attributes) => el("label", {}, label, el("input", { name, autocomplete: "off", ...attributes }));
  const clear = el("button", { type: "button", class: "quiet" }, "Clear");
  const form = el(
    "form",
    { class: "filters", "aria-label": "Filters" },
    el(
      "fieldset",
      {},
      el("legend", {}, "Status"),
      boxes.map((box) => el("label", { class: "choice" }, box, box.value)),
    ),
    field("name", "Name begins with", { type: "search", maxlength: 200 }),
    field("tag", "Tags, all of them", { type: "search", placeholder: "team=a, gpu", maxlength: 520 }),
    el("div", { class: "range" }, field("from", `Created from (${ZONE})`, { type: "datetime-local" }), field("to", "to", { type: "datetime-local" })),
    el("div", {}, el("button", { type: "submit" }, "Filter"), clear),
  );
  const element = el("details", { class: "filter" }, el("summary", {}, "Filter"), form);
  const changed = () => {
    const chosen = new URLSearchParams();
    const status = boxes.filter((each) => each.checked).map((each) => each.value);
    const tags = form.elements.tag.value.split(",").map((each) => each.trim()).filter(Boolean);
    const { from, to } = form.elements;
    const values = { status: status.join(), tag: tags.join(), from: utc(from.value), to: utc(to.value) };
    for (const name of NAMES) {
      const value = values[name] ?? form.elements[name].value;
      if (value) chosen.set(name, value);
    }
    onChange(chosen);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    changed();
  });
  form.addEventListener("change", changed);
  clear.addEventListener("click", () => onChange(new URLSearchParams()));
  return {
    element,
    fill(filters) {
      for (const each of boxes) each.checked = filters.status.includes(each.value);
      form.elements.name.value = filters.name;
      for (const name of ["from", "to"]) form.elements[name].value = local(filters[name]);
      form.elements.tag.value = filters.tag.join(", ");
      const used = NAMES.filter((name) => filters[name].length);
      const told = used.map((name) => `${name} ${name === "from" || name === "to" ? moment(seconds(filters[name])) : [filters[name]].flat().join(", ")}`);
      say(element.firstElementChild, used.length ? `Filter: ${told.join(" · ")}` : "Filter");
      if (used.length) element.open = true;
    },
  };
}

class Column {
  constructor(status, filters, whereabouts) {
    Object.assign(this, { status, filters, whereabouts });
    this.missions = []; // what the API told, in its order, from the first one on
    this.next = ""; // the cursor of the page that follows these; null at the end
    this.cards = new Map(); // what is shown, by id
    this.filtered = filters.tag.length || filters.name || filters.from || filters.to; // no statistics count that
    this.seen = ""; // the counts that the list was read at
    this.inside = false; // whether the pointer is here

    const id = `column-${status.toLowerCase()}`;
    this.count = el("span", { class: "count" }, "…");
    this.tab = el("button", { type: "button", class: `badge ${status.toLowerCase()}` }, `${MARKS[status]} ${status}`);
    this.fresh = el("button", { type: "button", class: "fresh", hidden: true });
    this.more = el("button", { type: "button", class: "quiet", hidden: true }, "Show more");
    this.nothing = el("p", { class: "nothing", hidden: true }, "None");
    this.list = el("ol", { class: "cards" });
    this.scroller = el("div", { class: "scroller" }, this.list, this.nothing, this.more);
    this.element = el(
      "section",
      { class: `column ${status.toLowerCase()}`, "aria-labelledby": id, "aria-busy": "true" },
      el("header", {}, el("h2", { id }, el("span", { "aria-hidden": "true" }, MARKS[status]), ` ${status} `, this.count), this.fresh),
      this.scroller,
    );
    this.tab.addEventListener("click", () => this.element.scrollIntoView({ inline: "start", block: "nearest" }));
    this.fresh.addEventListener("click", () => {
      this.scroller.scrollTop = 0;
      this.render(true);
      this.scroller.querySelector("a")?.focus({ preventScroll: true });
    });
    this.more.addEventListener("click", () => this.further());
    this.element.addEventListener("pointerenter", (event) => {
      this.inside = event.pointerType === "mouse";
    });
    const settle = () => {
      if (!this.held) this.render();
    };
    this.element.addEventListener("pointerleave", () => {
      this.inside = false;
      settle();
    });
    this.scroller.addEventListener("focusout", () => setTimeout(settle));
    this.scroller.addEventListener("scroll", settle, { passive: true });
    this.observer = new IntersectionObserver(([seen]) => seen.isIntersecting && this.fill(), { root: this.scroller });
    this.observer.observe(this.more);
  }

  stop() {
    this.stopped = true;
    this.observer.disconnect();
  }

  /** Whether cards must stay where they are: somebody points at them, reads further down, or is there by keyboard. */
  get held() {
    return this.inside || this.scroller.scrollTop > 4 || this.scroller.matches(":has(:focus-visible)");
  }

  async page(cursor, limit) {
    const { tag, name, from, to } = this.filters;
    const query = { status: this.status, tag: tag.join(), name, cursor, limit };
    const { body } = await call("GET", "", { query: { ...query, created_after: seconds(from), created_before: seconds(to) } });
    return body;
  }

  /** Nothing is read with this filter. */
  refuse() {
    this.element.removeAttribute("aria-busy");
    this.tellCount("–");
  }

  tell({ by_status: now }) {
    if (!this.filtered) this.tellCount(number(now[this.status]));
  }

  tellCount(text) {
    say(this.count, text);
    say(this.tab, `${MARKS[this.status]} ${text}`);
    this.tab.setAttribute("aria-label", `${this.status}: ${text}`);
  }

  /** Read again what is in view, when something of this status can have changed. */
  async refresh({ by_status: now, all_time: ever }, unchanged) {
    const created = this.status === "PENDING" ? ever.created : 0;
    const counts = [now[this.status], ever[this.status.toLowerCase()], created].join();
    // Signs of life change a mission that is RUNNING, and no count.
    if (this.seen === counts && (unchanged || this.status !== "RUNNING")) return;
    await this.read();
    this.seen = counts;
  }

  /** The cards that the reader sees, and a bit, for who scrolls on. */
  get view() {
    const bottom = this.scroller.scrollTop + 2 * this.scroller.clientHeight;
    return [...this.list.children].filter((each) => each.offsetTop < bottom);
  }

  /** Read from the first mission to the last one in view. What is further down is forgotten, and read when it is come to. */
  async read() {
    const missions = [];
    let next = "";
    let { view } = this;
    let sought;
    do {
      const body = await this.page(next, view.length > PAGE ? LONG : PAGE);
      if (this.stopped) return;
      missions.push(...body.missions);
      next = body.next_cursor;
      ({ view } = this); // the reader may have scrolled on meanwhile
      const known = new Set(missions.map((each) => each.id));
      sought = view.some(({ dataset: { id } }) => !known.has(id) && this.has(id));
      // Those that left the column are never found, so one page more than was in view is enough
    } while (next !== null && (missions.length < view.length || (sought && missions.length < view.length + LONG)));
    Object.assign(this, { missions, next, begun: true });
    for (const each of [...this.list.children].slice(view.length)) {
      each.remove();
      this.cards.delete(each.dataset.id);
    }
    this.element.removeAttribute("aria-busy");
    this.render();
  }

  /** Read on while its end is in view. */
  async fill() {
    const box = this.more.getBoundingClientRect();
    const seen = box.height > 0 && box.top < this.scroller.getBoundingClientRect().bottom;
    if (seen && this.next && (await this.further())) this.fill();
  }

  has(id) {
    return this.missions.some((each) => each.id === id);
  }

  /** Read the next page. Gives whether it was read. */
  async further() {
    const cursor = this.next;
    if (this.reading || !cursor || this.stopped) return false;
    this.reading = true;
    try {
      const body = await this.page(cursor, PAGE);
      if (this.stopped) return false;
      if (this.next !== cursor) return true; // it was read anew meanwhile
      const known = new Set(this.missions.map((each) => each.id));
      this.missions.push(...body.missions.filter((each) => !known.has(each.id)));
      this.next = body.next_cursor;
      this.render();
      return true;
    } catch {
      return false; // it is tried again with the next poll, which says what is wrong
    } finally {
      this.reading = false;
    }
  }

  /** Show what is known. While cards must keep still, new ones wait, and those that left say where they are. */
  render(force = false) {
    if (this.filtered) this.tellCount(number(this.missions.length) + (this.next ? "+" : ""));
    const held = !force && this.held && this.cards.size > 0;
    const known = new Map(this.missions.map((each) => [each.id, each]));
    for (const [id, card] of this.cards) {
      card.keep(held);
      if (known.has(id)) card.update(known.get(id));
      else if (held) card.leave(this.whereabouts(id));
    }
    let waiting = 0;
    if (held) {
      const last = this.missions.findLastIndex((each) => this.cards.has(each.id));
      this.missions.forEach((each, at) => {
        if (this.cards.has(each.id)) return;
        if (at < last || last < 0) waiting += 1;
        else this.list.append(this.card(each).element);
      });
    } else {
      for (const id of this.cards.keys()) if (!known.has(id)) this.cards.delete(id);
      arrange(this.list, this.missions.map((each) => this.card(each).element));
    }
    this.fresh.hidden = !waiting;
    if (waiting) say(this.fresh, `${number(waiting)} new`);
    this.more.hidden = !this.next;
    this.nothing.hidden = this.cards.size > 0 || Boolean(this.next);
  }

  card(mission) {
    let made = this.cards.get(mission.id);
    if (!made) this.cards.set(mission.id, (made = new Card(mission)));
    return made;
  }
}

class Card {
  constructor(mission) {
    this.link = el("a", { href: linkTo(mission.id) });
    this.facts = el("div", { class: "facts" });
    this.element = el("li", { class: "card", "data-id": mission.id }, el("h3", {}, this.link), this.facts);
    this.update(mission);
  }

  /** Keep its height, whatever it shows; or take what it needs. */
  keep(held) {
    const { style } = this.element;
    if (!held) style.height = "";
    else if (!style.height) style.height = `${this.element.getBoundingClientRect().height}px`;
  }

  update(mission) {
    const told = JSON.stringify(mission, (key, value) => (key === "data" ? undefined : plain(key, value)));
    if (told === this.told) return;
    Object.assign(this, { told, mission });
    this.element.classList.remove("left");
    this.link.replaceChildren(named(mission.name));
    this.facts.replaceChildren(...facts(mission));
  }

  /** It has another status, or is not in the list any more. */
  leave(status) {
    if (this.told === status) return;
    this.told = status;
    this.element.classList.add("left");
    this.facts.replaceChildren(el("p", {}, status ? ["now ", badge(status)] : "no longer here"));
  }
}

function* facts(mission) {
  const { status, attempt, worker, tags } = mission;
  yield el("p", { class: "id", title: mission.id }, mission.id);
  if (status === "RUNNING") {
    yield el("p", {}, "running for ", ticking(mission.started_at, "running"), worker ? [" · ", named(worker)] : "");
    if (mission.progress !== null) {
      yield el("progress", { max: 1, value: mission.progress, "aria-label": "Progress" });
    }
    if (mission.note) yield el("p", {}, named(mission.note));
  } else if (status === "PENDING") {
    yield el("p", {}, "created ", ticking(mission.created_at));
    if (mission.not_before > now()) yield el("p", {}, "waits; it may begin ", ticking(mission.not_before));
  } else {
    const took = mission.duration === null ? "" : ` · took ${span(mission.duration)}`;
    yield el("p", {}, "ended ", ticking(mission.updated_at), took);
    if (mission.reason) yield el("p", { class: "reason" }, named(mission.reason));
  }
  if (attempt > 1) yield el("p", {}, `attempt ${attempt}`);
  if (tags.length) yield el("ul", { class: "tags", "aria-label": "Tags" }, tags.map((each) => el("li", {}, el("a", { href: tagged(each), tabindex: -1 }, each))));
}
