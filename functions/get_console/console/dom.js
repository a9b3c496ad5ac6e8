// What every page uses to show things. Text is only ever set as text: nothing here reads HTML.

/** An element with these attributes and children. A function is a listener, `true` an attribute without a value. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, String(value));
  }
  made.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== false));
  return made;
}

/** Set a text, unless it is there: a screen reader and the layout are left alone when nothing changed. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Make the children of `parent` these elements, and touch none that is at its place. */
export function arrange(parent, elements) {
  const wanted = new Set(elements);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const each of elements) {
    if (each === next) next = next.nextElementSibling;
    else parent.insertBefore(each, next);
  }
}

// Times

/** The time of the API, by which running times and "ago" count: the clock of this machine may be wrong. */
export const clock = {
  ahead: 0, // milliseconds
  set(date) {
    const ahead = Date.parse(date ?? "") - Date.now();
    if (Math.abs(ahead - this.ahead) > 2000) this.ahead = Math.abs(ahead) > 2000 ? ahead : 0; // a date has whole seconds
  },
};
export const now = () => (Date.now() + clock.ahead) / 1000;

const written = new Intl.DateTimeFormat(undefined, {
  ...{ year: "numeric", month: "short", day: "numeric" },
  ...{ hour: "numeric", minute: "2-digit", second: "2-digit", timeZoneName: "short" },
});
const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

export const ZONE = new Intl.DateTimeFormat().resolvedOptions().timeZone;

/** A moment in Unix seconds, in the time zone of the reader. */
export const moment = (seconds) => written.format(new Date(seconds * 1000));

/** Seconds in words, such as "2 h 5 min" or "0.25 s"; with one unit where that is enough. No line breaks within them. */
export function span(seconds, units = 2) {
  const all = Math.max(0, seconds);
  if (all < 1) return `${Number(all.toPrecision(2))}\u00a0s`;
  if (all < 10 && !Number.isInteger(all)) return `${all.toFixed(1)}\u00a0s`;
  const at = UNITS.findIndex(([, size]) => all >= size);
  const [unit, size] = UNITS[at];
  const [smaller, part] = UNITS[at + 1] ?? ["", 0];
  const rest = part && units > 1 ? Math.floor((all % size) / part) : 0;
  return `${Math.floor(all / size)}\u00a0${unit}` + (rest ? `\u00a0${rest}\u00a0${smaller}` : "");
}

/** How long ago a moment is, or how far ahead. */
export function ago(seconds) {
  const passed = now() - seconds;
  if (Math.abs(passed) < 2) return "now";
  return passed > 0 ? `${span(Math.floor(passed), 1)}\u00a0ago` : `in\u00a0${span(Math.ceil(-passed), 1)}`;
}

const WORDS = {
  ago,
  running: (since) => span(Math.max(0, Math.floor(now() - since))),
};

/** A moment that is told by how long ago it is ("ago") or how long it lasts ("running"), and goes on by itself. */
export function ticking(seconds, words = "ago") {
  const made = el("time", { "data-ticks": words, "data-at": seconds, title: moment(seconds) }, WORDS[words](seconds));
  made.dateTime = new Date(seconds * 1000).toISOString();
  return made;
}

setInterval(() => {
  if (document.hidden) return;
  for (const each of document.querySelectorAll("[data-ticks]")) {
    say(each, WORDS[each.dataset.ticks](Number(each.dataset.at)));
  }
}, 1000);

/** Figures by their names; only what changed is touched. */
export function figures(list, told) {
  if (!list.children.length) list.append(...Object.keys(told).map((name) => el("div", {}, el("dt", {}, name), el("dd"))));
  Object.values(told).forEach((value, at) => say(list.children[at].lastElementChild, value));
}

// Missions

export const STATUSES = ["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"];
export const MARKS = { PENDING: "○", RUNNING: "▶", COMPLETED: "✓", FAILED: "✕", CANCELLED: "⊘" };

export const number = (count) => count.toLocaleString();
export const tagged = (tag) => `#/?${new URLSearchParams({ tag })}`;
export const linkTo = (id) => `#/missions/${encodeURIComponent(id)}`;
export const badge = (status) =>
  el("span", { class: `badge ${status.toLowerCase()}` }, el("span", { "aria-hidden": "true" }, MARKS[status]), ` ${status}`);

/** A name as text that cannot change the order of what stands around it. */
export const named = (name) => el("bdi", {}, name);

// Data

/** For JSON.stringify: integers that JavaScript would round are BigInt here. */
export const plain = (key, value) => (typeof value === "bigint" ? String(value) : value);

const INSIDE = 200; // members that are shown at once
const SHORT = 160; // characters that are shown without folding

/** A few plain members as text, such as "step: 3, ok: true"; null for what needs a tree. */
export function brief(data) {
  if (Object.values(data).some((each) => each !== null && typeof each === "object")) return null;
  const { from, to, ...others } = data;
  const change = typeof from === "string" && typeof to === "string"; // of a status
  const told = Object.entries(change ? others : data).filter(([, value]) => value !== "");
  const text = [...(change ? [`${from} → ${to}`] : []), ...told.map(([name, value]) => `${name}: ${value}`)].join(", ");
  return text.length > SHORT || text.includes("\n") ? null : text;
}

/** JSON as a tree that folds. What is inside is made when it is opened. */
export function tree(value, open = 1) {
  if (value === null || typeof value !== "object") {
    const kind = value === null ? "null" : typeof value;
    return el("span", { class: `json ${kind}` }, kind === "string" ? JSON.stringify(value) : String(value));
  }
  const list = Array.isArray(value);
  const entries = Object.entries(value);
  if (!entries.length) return el("span", { class: "json" }, list ? "[]" : "{}");
  const inside = el("ul", { class: "members" });
  let shown = 0;
  const more = () => {
    for (const [name, each] of entries.slice(shown, shown + INSIDE)) {
      inside.append(el("li", {}, el("span", { class: "member" }, list ? `${name}: ` : `${JSON.stringify(name)}: `), tree(each, open - 1)));
    }
    shown = Math.min(entries.length, shown + INSIDE);
    if (shown < entries.length) {
      const button = el("button", { type: "button", class: "quiet" }, `${number(entries.length - shown)} more`);
      button.addEventListener("click", () => {
        button.parentElement.remove();
        more();
      });
      inside.append(el("li", {}, button));
    }
  };
  const many = `${number(entries.length)} ${list ? "element" : "member"}${entries.length === 1 ? "" : "s"}`;
  const made = el("details", { class: "tree" }, el("summary", {}, list ? `[ ${many} ]` : `{ ${many} }`), inside);
  made.addEventListener("toggle", () => {
    if (made.open && !shown) more();
  });
  if (open > 0) {
    more();
    made.open = true;
  }
  return made;
}
