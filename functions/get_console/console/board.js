// The board: a column for each status, newest missions first. It follows what changes, and keeps still under the mouse.

import { call, poll, Problem } from "./api.js";
import { MARKS, STATUSES, arrange, badge, el, linkTo, named, number, say, span, ticking } from "./dom.js";

const EVERY = 1500; // milliseconds
const PAGE = 25; // cards
const NAMES = ["status", "tag", "name", "from", "to"]; // of the filters

export function show(main, { query }) {
  let filters = read(query);
  let columns = [];
  let etag = null;
  let counts = {};

  const form = filterForm((chosen) => {
    location.hash = `#/${chosen.size ? `?${chosen}` : ""}`;
  });
  const refused = el("p", { class: "refused", role: "alert" });
  const board = el("div", { class: "columns" });
  main.append(el("h1", { class: "unseen" }, "Board"), form.element, refused, board);

  build();
  const polling = poll(EVERY, refresh);

  /** The statistics tell whether anything changed, and of which status; only then are lists read. */
  async function refresh() {
    const mine = columns;
    let stats;
    try {
      const first = mine.filter((each) => !each.begun);
      [stats] = await Promise.all([call("GET", "/stats/overview", { etag }), ...first.map((each) => each.read())]);
      if (stats.status !== 304) counts = stats.body.stats;
      for (const each of mine) each.tell(counts);
      // What was read at once with the statistics may be older than these: it is read again the next time.
      const others = mine.filter((each) => !first.includes(each));
      await Promise.all(others.map((each) => each.refresh(counts, stats.status === 304)));
      for (const each of mine) if (each.held) each.render(); // what left a column may be in another one by now
      say(refused, "");
    } catch (error) {
      if (error instanceof Problem) say(refused, `The filter is refused: ${error.message}`);
      throw error;
    }
    // Only when all of it was read, and not before the statistics were
    if (mine === columns) etag = stats.etag;
  }

  function build() {
    form.fill(filters);
    document.title = "Board · Missions";
    say(refused, "");
    const shown = STATUSES.filter((each) => !filters.status.length || filters.status.includes(each));
    for (const each of columns) each.stop();
    const whereabouts = (id) => columns.find((each) => each.known.has(id))?.status;
    columns = shown.map((status) => new Column(status, filters, whereabouts, () => polling.now()));
    board.style.setProperty("--columns", columns.length);
    board.replaceChildren(...columns.map((each) => each.element));
    etag = null;
  }

  return {
    stop() {
      polling.stop();
      for (const each of columns) each.stop();
    },
    change(asked) {
      filters = read(asked.query);
      build();
      polling.now();
    },
  };
}

/** The filters in an address. */
function read(query) {
  const list = (name) => (query.get(name) ?? "").split(",").map((each) => each.trim()).filter(Boolean);
  return {
    status: list("status").filter((each) => STATUSES.includes(each)),
    tag: list("tag"),
    name: query.get("name") ?? "",
    from: query.get("from") ?? "",
    to: query.get("to") ?? "",
  };
}

/** A moment of a field that has no time zone: that of the reader. */
const seconds = (text) => (text && !Number.isNaN(Date.parse(text)) ? Date.parse(text) / 1000 : "");

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
    field("tag", "Tags", { type: "search", placeholder: "team=a, gpu", maxlength: 520 }),
    field("from", "Created from", { type: "datetime-local" }),
    field("to", "to", { type: "datetime-local" }),
    el("button", { type: "submit" }, "Filter"),
    clear,
  );
  const element = el("details", { class: "filter" }, el("summary", {}, "Filter"), form);
  const changed = () => {
    const chosen = new URLSearchParams();
    const status = boxes.filter((each) => each.checked).map((each) => each.value);
    const tags = form.elements.tag.value.split(",").map((each) => each.trim()).filter(Boolean);
    const values = { status: status.join(), tag: tags.join() };
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
      for (const name of ["name", "from", "to"]) form.elements[name].value = filters[name];
      form.elements.tag.value = filters.tag.join(", ");
      const used = NAMES.filter((name) => filters[name].length);
      say(element.firstElementChild, used.length ? `Filter (${used.join(", ")})` : "Filter");
      if (used.length) element.open = true;
    },
  };
}

/** The order of a list: newest first, or by name where a name is asked for; as the API has it. */
function order(byName) {
  const later = (a, b) => b.created_at - a.created_at || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
  if (!byName) return later;
  return (a, b) => {
    const [first, second] = [a.name.toLowerCase(), b.name.toLowerCase()];
    return first < second ? -1 : first > second ? 1 : -later(a, b);
  };
}

class Column {
  constructor(status, filters, whereabouts, changed) {
    Object.assign(this, { status, filters, whereabouts, changed });
    this.known = new Map(); // what the API told, by id
    this.cards = new Map(); // what is shown, by id
    this.pages = [{ after: null, cursor: "" }]; // where the pages begin that were read
    this.next = ""; // the cursor of the page that follows; null at the end
    this.order = order(filters.name);
    this.filtered = filters.tag.length || filters.name || filters.from || filters.to; // no statistics count that
    this.seen = ""; // the counts that the list was read at
    this.inside = false; // whether the pointer is here

    const id = `column-${status.toLowerCase()}`;
    this.count = el("span", { class: "count" }, "…");
    this.fresh = el("button", { type: "button", class: "fresh", hidden: true });
    this.more = el("button", { type: "button", class: "quiet more", hidden: true }, "Show more");
    this.nothing = el("p", { class: "nothing", hidden: true }, "None");
    this.list = el("ol", { class: "cards" });
    this.scroller = el("div", { class: "scroller" }, this.list, this.nothing, this.more);
    this.element = el(
      "section",
      { class: `column ${status.toLowerCase()}`, "aria-labelledby": id, "aria-busy": "true" },
      el("header", {}, el("h2", { id }, el("span", { "aria-hidden": "true" }, MARKS[status]), ` ${status} `, this.count), this.fresh),
      this.scroller,
    );
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
    this.observer = new IntersectionObserver(([seen]) => seen.isIntersecting && this.further(), { root: this.scroller });
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

  query(cursor) {
    const { tag, name, from, to } = this.filters;
    const query = { status: this.status, tag: tag.join(), name, cursor, limit: PAGE };
    return { ...query, created_after: seconds(from), created_before: seconds(to) };
  }

  tell({ by_status: now }) {
    if (!this.filtered) say(this.count, number(now[this.status]));
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

  /** Read the first page, and those in view. */
  async read() {
    for (const page of this.pages.filter((each) => !each.after || this.inView(each))) {
      const { body } = await call("GET", "", { query: this.query(page.cursor) });
      if (this.stopped) return;
      this.merge(page, body);
    }
    this.begun = true;
    this.element.removeAttribute("aria-busy");
    this.render();
  }

  /** Whether cards of this page can be seen. */
  inView(page) {
    const last = page.last && this.cards.get(page.last.id);
    const first = this.cards.get(page.after.id);
    const top = this.scroller.scrollTop;
    const begins = first ? first.element.offsetTop : 0;
    const ends = last ? last.element.offsetTop + last.element.offsetHeight : Infinity;
    return begins < top + this.scroller.clientHeight && ends > top;
  }

  /** Read the next page. */
  async further() {
    if (this.reading || !this.next || this.stopped) return;
    this.reading = true;
    const known = [...this.known.values()].sort(this.order);
    const page = { after: known.at(-1) ?? null, cursor: this.next };
    try {
      const { body } = await call("GET", "", { query: this.query(page.cursor) });
      if (this.stopped) return;
      this.merge(page, body);
      this.pages.push(page);
      this.render();
    } catch {
      this.changed(); // the poll says what is wrong, and goes on when it can
    } finally {
      this.reading = false;
    }
    if (this.next && this.visible(this.more)) this.further();
  }

  visible(element) {
    const box = element.getBoundingClientRect();
    return box.height > 0 && box.top < this.scroller.getBoundingClientRect().bottom;
  }

  /** Put what a page says in place of what was known of the same part of the list. */
  merge(page, { missions, next_cursor: next }) {
    const { after } = page;
    const last = missions.at(-1);
    const told = new Set(missions.map((each) => each.id));
    for (const each of this.known.values()) {
      const behind = !after || this.order(after, each) < 0;
      const before = next === null || (last && this.order(each, last) <= 0);
      if (behind && before && !told.has(each.id)) this.known.delete(each.id);
    }
    for (const each of missions) this.known.set(each.id, each);
    page.last = last;
    if (next === null) {
      this.next = null;
      this.pages = this.pages.filter((each) => each === page || !each.after || (after && this.order(each.after, after) < 0));
    } else if (this.next === "" || page.cursor === this.next) this.next = next; // the first page, or the one behind
    else if (this.next === null && last && [...this.known.values()].every((each) => this.order(each, last) <= 0)) this.next = next;
  }

  /** Show what is known. While cards must keep still, new ones wait, and those that left say where they are. */
  render(force = false) {
    if (this.filtered) say(this.count, number(this.known.size) + (this.next ? "+" : ""));
    const known = [...this.known.values()].sort(this.order);
    const held = !force && this.held && this.cards.size > 0;
    for (const [id, card] of this.cards) {
      const mission = this.known.get(id);
      card.keep(held);
      if (mission) card.update(mission);
      else if (held) card.leave(this.whereabouts(id));
    }
    let waiting = 0;
    if (held) {
      const shown = [...this.cards.values()].map((each) => each.mission).sort(this.order);
      const last = shown.at(-1);
      for (const mission of known) {
        if (this.cards.has(mission.id)) continue;
        if (this.order(mission, last) < 0) waiting += 1;
        else this.list.append(this.card(mission).element);
      }
    } else {
      for (const id of this.cards.keys()) if (!this.known.has(id)) this.cards.delete(id);
      arrange(this.list, known.map((each) => this.card(each).element));
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
    this.element = el("li", { class: "card" }, el("h3", {}, this.link), this.facts);
    this.update(mission);
  }

  /** Keep its height, whatever it shows; or take what it needs. */
  keep(held) {
    const { style } = this.element;
    if (!held) style.height = "";
    else if (!style.height) style.height = `${this.element.getBoundingClientRect().height}px`;
  }

  update(mission) {
    const told = JSON.stringify(mission, (key, value) => (typeof value === "bigint" || key === "data" ? undefined : value));
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
  yield el("p", { class: "id" }, mission.id);
  if (status === "RUNNING") {
    yield el("p", {}, "running for ", ticking(mission.started_at, "running"), worker ? [" · ", named(worker)] : "");
    if (mission.progress !== null) {
      yield el("progress", { max: 1, value: mission.progress, "aria-label": "Progress" });
    }
    if (mission.note) yield el("p", {}, named(mission.note));
  } else if (status === "PENDING") {
    yield el("p", {}, "created ", ticking(mission.created_at));
    if (mission.not_before > Date.now() / 1000) yield el("p", {}, "waits; it may begin ", ticking(mission.not_before));
  } else {
    const took = mission.duration === null ? "" : ` · took ${span(mission.duration)}`;
    yield el("p", {}, "ended ", ticking(mission.updated_at), took);
    if (mission.reason) yield el("p", { class: "reason" }, named(mission.reason));
  }
  if (attempt > 1) yield el("p", {}, `attempt ${attempt}`);
  if (tags.length) yield el("ul", { class: "tags", "aria-label": "Tags" }, tags.map((each) => el("li", {}, each)));
}
