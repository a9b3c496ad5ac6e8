// The log of a mission: its end, what is appended live, what came before; by level, by words, and from its first error.

import { call } from "./api.js";
import { brief, el, moment, number, plain, say, tree } from "./dom.js";

const PAGE = 100; // entries
const KEPT = 2000; // entries that are shown at once
const NEAR = 40; // pixels from the end that count as the end
const LEVELS = { "": "all levels", "info,warning,error": "info and above", "warning,error": "warnings and errors", error: "errors" };

export class Log {
  constructor(id, onEntries, poke) {
    Object.assign(this, { id, onEntries, poke });
    this.levels = "";
    const select = el("select", { id: "level" }, Object.entries(LEVELS).map(([value, words]) => el("option", { value }, words)));
    const search = el("input", { id: "search", type: "search", autocomplete: "off" });
    const first = el("button", { type: "button" }, "First error");
    this.end = el("button", { type: "button" }, "Newest");
    this.found = el("output", { for: "search" });
    this.told = el("p", { class: "nothing", role: "status" });
    this.earlier = el("button", { type: "button", class: "quiet" }, "Show earlier entries");
    this.later = el("button", { type: "button", class: "quiet" }, "Show later entries");
    this.list = el("ol");
    this.scroller = el("div", { class: "log", tabindex: 0, role: "region", "aria-label": "Log entries" }, this.earlier, this.list, this.later);
    this.element = el(
      "section",
      { class: "log-part", "aria-labelledby": "log" },
      el("h2", { id: "log" }, "Log"),
      el("div", { class: "tools" }, el("label", { for: "level" }, "Show"), select, el("label", { for: "search" }, "Search these entries"), search, this.found, first, this.end),
      this.told,
      this.scroller,
    );
    select.addEventListener("change", () => {
      this.levels = select.value;
      this.restart();
    });
    search.addEventListener("input", () => {
      this.words = search.value.toLowerCase();
      this.sift();
    });
    first.addEventListener("click", () => this.attempt(() => this.firstError()));
    this.end.addEventListener("click", () => this.restart());
    this.earlier.addEventListener("click", () => this.attempt(() => this.before()));
    this.later.addEventListener("click", () => this.attempt(() => this.after()));
    this.words = "";
    this.clear();
  }

  clear() {
    this.generation = (this.generation ?? 0) + 1;
    Object.assign(this, { back: null, on: null, poll: null });
    this.list.replaceChildren();
    this.buttons();
    say(this.told, "");
  }

  restart() {
    this.clear();
    this.poke();
  }

  async attempt(work) {
    if (this.busy) return;
    this.busy = true;
    try {
      await work();
    } catch {
      this.poke(); // the poll says what is wrong
    } finally {
      this.busy = false;
    }
  }

  async page(query) {
    const { generation } = this;
    const { body } = await call("GET", `/${this.id}/log`, { query: { limit: PAGE, level: this.levels, ...query } });
    return generation === this.generation ? body : null; // null: something else is shown meanwhile
  }

  /** Read the end of the log, or what was appended since. */
  async follow() {
    if (this.on) return undefined; // somebody reads from the first error on, and the end is not there
    if (this.poll === null) {
      const body = await this.page({ order: "newest" });
      if (!body) return undefined;
      this.back = body.next_cursor;
      this.poll = body.poll_cursor;
      this.add(body.log.toReversed());
      this.scroller.scrollTop = this.scroller.scrollHeight;
    }
    for (let more = true; more; ) {
      const body = await this.page({ cursor: this.poll });
      if (!body) return undefined;
      this.poll = body.poll_cursor;
      more = body.next_cursor !== null;
      if (body.log.length) this.add(body.log);
      if (this.list.children.length > KEPT && this.atEnd()) {
        this.clear(); // its end alone
        return this.follow();
      }
    }
    say(this.told, this.list.children.length ? "" : this.back ? "None so far; there may be earlier ones." : "No entries.");
    return undefined;
  }

  async before() {
    const body = this.back && (await this.page({ order: "newest", cursor: this.back }));
    if (!body) return;
    this.back = body.next_cursor;
    const { scrollHeight, scrollTop } = this.scroller;
    this.list.prepend(...this.rows(body.log.toReversed()));
    this.sift();
    this.buttons();
    this.scroller.scrollTop = scrollTop + this.scroller.scrollHeight - scrollHeight;
    say(this.told, body.log.length || !this.back ? "" : "None there; there may be earlier ones.");
  }

  async after() {
    const body = this.on && (await this.page({ cursor: this.on }));
    if (!body) return;
    this.forward(body);
    this.add(body.log);
  }

  forward(body) {
    this.on = body.next_cursor;
    if (!this.on) this.poll = body.poll_cursor; // it is the end, and is followed
  }

  /** Go to the first error: among what is loaded when all before it is, else read from there. */
  async firstError() {
    // With what is before it, which may explain it; where that is too much, from the error on
    for (let tries = KEPT / PAGE; tries && this.back && !this.on; tries -= 1) await this.before();
    const loaded = this.list.querySelector(".entry.error");
    if (loaded && this.back === null && !this.on) return this.goTo(loaded);
    let cursor = "";
    for (;;) {
      const body = await this.page({ level: "error", limit: 1, cursor });
      if (!body) return undefined;
      cursor = body.next_cursor ?? body.poll_cursor;
      if (body.log.length) {
        this.clear();
        const rest = await this.page({ cursor });
        if (!rest) return undefined;
        this.forward(rest);
        this.add([...body.log, ...rest.log]);
        return this.goTo(this.list.firstElementChild, "From the first error on. “Newest” goes back to the end.");
      }
      if (body.next_cursor === null) return say(this.told, "There is no error in this log.");
    }
  }

  goTo(row, words = "") {
    row.hidden = false;
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    this.scroller.scrollTop = row.offsetTop - this.scroller.clientHeight / 3;
    this.buttons();
    say(this.told, words);
  }

  atEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    return scrollTop + clientHeight > scrollHeight - NEAR;
  }

  /** Show entries behind the others; who looks at the end goes on looking at the end. */
  add(entries) {
    const stay = this.atEnd();
    this.list.append(...this.rows(entries));
    this.sift();
    this.buttons();
    if (stay && !this.on) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  rows(entries) {
    this.onEntries(entries);
    return entries.map(row);
  }

  /** Hide what does not have the words that are searched for. */
  sift() {
    let matching = 0;
    for (const each of this.list.children) {
      each.hidden = this.words !== "" && !each.searched.includes(this.words);
      if (!each.hidden) matching += 1;
    }
    say(this.found, this.words ? `${number(matching)} of ${number(this.list.children.length)} entries have it` : "");
  }

  buttons() {
    this.earlier.hidden = this.back === null;
    this.later.hidden = this.on === null;
  }
}

const today = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
const before = new Intl.DateTimeFormat(undefined, { ...today.resolvedOptions(), month: "short", day: "numeric" });

function row({ timestamp, level, message, data }) {
  const at = new Date(timestamp * 1000);
  const clock = at.toDateString() === new Date().toDateString() ? today : before;
  const short = brief(data);
  const made = el(
    "li",
    { class: `entry ${level}` },
    el("time", { title: moment(timestamp) }, clock.format(at)),
    el("span", { class: "level" }, level),
    el("div", {}, el("bdi", { class: "message" }, message), short === null ? tree(data, 0) : short && [" ", el("bdi", { class: "short" }, short)]),
  );
  made.searched = `${level} ${message} ${JSON.stringify(data, plain)}`.toLowerCase();
  return made;
}
