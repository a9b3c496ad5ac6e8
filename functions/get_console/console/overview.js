// The overview: what was created and how it ended, by hour or day; how long it takes; what is running longest or late.

import { call, poll } from "./api.js";
import { arrange, el, figures, linkTo, moment, named, now, number, say, span, ticking } from "./dom.js";
import uPlot from "./vendor/uPlot.esm.js";

const EVERY = 1500; // milliseconds
const SELDOM = 10_000; // milliseconds between two readings of what has no entity tag
const RUNNING = 100; // missions that are looked at for the ones running longest
const SHOWN = 10;
const LINES = [
  ["created", "Created", [2, 3]],
  ["completed", "Completed", []],
  ["failed", "Failed", [8, 4]],
  ["cancelled", "Cancelled", [1, 4]],
];
const STEPS = { hour: ["the last 24 hours, by hour", 23 * 3600, "missions an hour"], day: ["the last 30 days, by day", 29 * 86400, "missions a day"] };

export function show(main, { query }) {
  document.title = "Overview · Missions";
  let step = query.get("step") === "day" ? "day" : "hour";
  let etag = null;
  let read = 0; // when the history was read
  let told = null; // what the history said last

  const totals = el("dl", { class: "figures" });
  const choices = Object.entries(STEPS).map(([name, [words]]) => {
    const box = el("input", { type: "radio", name: "step", value: name });
    box.checked = name === step;
    box.addEventListener("change", () => {
      step = name;
      read = 0;
      history.replaceState(null, "", `#/overview?step=${name}`);
      polling.now();
    });
    return el("label", { class: "choice" }, box, words);
  });
  const counts = new Chart("What was created, and how it ended");
  const rate = new Chart("Success rate");
  const table = el("table");
  const running = el("ol", { class: "rows" });
  const note = el("p", { class: "nothing" });
  const overdue = el("ol", { class: "rows" });
  const none = el("p", { class: "nothing" });
  main.append(
    el("h1", { tabindex: -1 }, "Overview"),
    el("p", { class: "nothing" }, "All missions that are kept. The success rate is that of COMPLETED in COMPLETED and FAILED; these are what the times are of, too."),
    totals,
    el("fieldset", {}, el("legend", {}, "Show"), choices),
    el("div", { class: "charts" }, counts.element, rate.element),
    el("details", { class: "as-table" }, el("summary", {}, "The same as a table"), el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "The history as a table" }, table)),
    el(
      "div",
      { class: "pair" },
      el("section", { "aria-labelledby": "longest" }, el("h2", { id: "longest" }, "Running longest"), running, note),
      el("section", { "aria-labelledby": "overdue" }, el("h2", { id: "overdue" }, "Overdue"), overdue, none),
    ),
  );

  async function refresh() {
    const stats = await call("GET", "/stats/overview", { etag });
    if (stats.status !== 304) {
      const list = await call("GET", "", { query: { status: "RUNNING", order: "oldest", limit: RUNNING } });
      tellFigures(stats.body.stats);
      tellRunning(list.body);
      etag = stats.etag;
    }
    if (Date.now() - read < SELDOM) return;
    const asked = step;
    const from = Math.floor(now()) - STEPS[asked][1];
    const [past, late] = await Promise.all([
      call("GET", "/stats/history", { query: { step: asked, from } }),
      call("GET", "", { query: { overdue: "true", limit: 20 } }),
    ]);
    if (asked !== step) return;
    read = Date.now();
    told = past.body;
    draw();
    const { missions, next_cursor: next } = late.body;
    rows(overdue, missions, (each) => ["since its last sign of life: ", ticking(each.active_at)]);
    const more = next === null ? "" : "There may be more. ";
    say(none, `${more}${missions.length ? "Their limit has passed. The sweeper ends them" : more || "None. What passes its limit is ended"} within about a minute.`);
  }

  function tellFigures(stats) {
    const { duration, by_status: of, success_rate: part } = stats;
    const values = {
      Missions: number(stats.total),
      Pending: number(of.PENDING),
      Running: number(of.RUNNING),
      Completed: number(of.COMPLETED),
      Failed: number(of.FAILED),
      Cancelled: number(of.CANCELLED),
      "Success rate": part === null ? "–" : percent(part),
      "Median duration (p50)": duration.count ? span(duration.p50) : "–",
      "95th percentile (p95)": duration.count ? span(duration.p95) : "–",
    };
    figures(totals, values);
  }

  function tellRunning({ missions, next_cursor: next }) {
    const longest = missions.toSorted((a, b) => a.started_at - b.started_at).slice(0, SHOWN);
    rows(running, longest, (each) => [ticking(each.started_at, "running"), each.worker ? [" · ", named(each.worker)] : ""]);
    // Lists come by creation. What was created later cannot have started earlier than these; else there may be more.
    const sure = next === null || (longest.length === SHOWN && longest.at(-1).started_at <= missions.at(-1).created_at);
    say(note, sure ? (missions.length ? "" : "Nothing is running.") : `Of the ${missions.length} that were created first.`);
  }

  function draw() {
    if (!told) return;
    const { history: steps, step: by } = told;
    const at = steps.map((each) => each.at);
    counts.draw(at, LINES.map(([name, label, dash]) => ({ label, dash, color: `--${name}`, values: steps.map((each) => each[name]) })), {
      unit: STEPS[by][2],
      step: by,
      value: (each) => number(each),
    });
    const rates = steps.map(({ completed, failed }) => (completed + failed ? (100 * completed) / (completed + failed) : null));
    rate.draw(at, [{ label: "Success rate", dash: [], color: "--completed", values: rates }], {
      unit: "% of what ended",
      step: by,
      range: [0, 100],
      value: (each) => percent(each / 100),
    });
    const head = el("tr", {}, ["From", ...LINES.map(([, label]) => label), "Success rate"].map((each) => el("th", { scope: "col" }, each)));
    const body = steps.toReversed().map((each) => {
      const ended = each.completed + each.failed;
      const cells = [...LINES.map(([name]) => number(each[name])), ended ? percent(each.completed / ended) : "–"];
      return el("tr", {}, el("th", { scope: "row" }, moment(each.at)), cells.map((cell) => el("td", {}, cell)));
    });
    table.replaceChildren(el("thead", {}, head), el("tbody", {}, body));
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", draw);
  const polling = poll(EVERY, refresh);
  return {
    stop() {
      polling.stop();
      dark.removeEventListener("change", draw);
      counts.stop();
      rate.stop();
    },
  };
}

const percent = (part) => part.toLocaleString(undefined, { style: "percent", maximumFractionDigits: 1 });

/** Missions as rows; those that stay keep their place in the document. */
function rows(list, missions, words) {
  const known = new Map([...list.children].map((each) => [each.dataset.id, each]));
  arrange(
    list,
    missions.map((each) => {
      const made = known.get(each.id) ?? el("li", { "data-id": each.id }, el("a", { href: linkTo(each.id) }, named(each.name)), el("span"));
      made.lastElementChild.replaceChildren(...words(each).flat());
      return made;
    }),
  );
}

/** A chart with axes and units, in the colours of the page; it is as wide as there is room. */
class Chart {
  constructor(title) {
    this.title = title;
    this.place = el("div", { class: "plot", role: "img" });
    this.element = el("figure", {}, el("figcaption", {}, title), this.place);
    this.observer = new ResizeObserver(() => {
      if (this.plot && this.place.clientWidth !== this.plot.width) this.plot.setSize(this.size());
    });
    this.observer.observe(this.place);
  }

  size() {
    return { width: Math.max(260, this.place.clientWidth), height: 260 };
  }

  draw(at, lines, { unit, step, range, value }) {
    const style = getComputedStyle(document.documentElement);
    const data = [at, ...lines.map((each) => each.values)];
    this.describe(lines, range);
    const looks = `${step} ${style.getPropertyValue("--text")}`;
    if (this.plot && looks === this.looks) return this.plot.setData(data);
    this.looks = looks;
    const color = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: color("--text"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    const label = { labelFont: "12px system-ui, sans-serif", labelSize: 22, label: unit };
    const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", ...(step === "day" ? { timeZone: "UTC" } : {}) });
    const hour = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
    const begins = (each) => (step === "day" ? day : hour).format(new Date(each * 1000));
    const options = {
      ...this.size(),
      padding: [null, 32, null, null], // for the half of the last label
      scales: { x: { time: false }, y: { range: range ?? ((plot, least, most) => [0, Math.max(1, most * 1.1)]) } },
      axes: [
        { ...axis, values: (plot, splits) => splits.map(begins), incrs: step === "day" ? [86400, 5 * 86400, 10 * 86400] : [3600, 3 * 3600, 6 * 3600, 12 * 3600], label: step === "day" ? "day (UTC)" : "hour", labelFont: label.labelFont, labelSize: 22, space: 80 },
        { ...axis, ...label, values: (plot, splits) => splits.map((each) => (range || Number.isInteger(each) ? number(each) : "")), size: 56 },
      ],
      series: [
        { label: step === "day" ? "Day" : "From", value: (plot, each) => (each == null ? "–" : `${day.format(new Date(each * 1000))}${step === "day" ? "" : `, ${hour.format(new Date(each * 1000))}`}`) },
        ...lines.map((each) => ({
          label: each.label,
          stroke: color(each.color),
          width: 2,
          dash: each.dash,
          points: { show: true, size: 5, fill: color(each.color) },
          value: (plot, told) => (told == null ? "–" : value(told)),
        })),
      ],
    };
    this.plot?.destroy();
    this.plot = new uPlot(options, data, this.place);
    return undefined;
  }

  /** What the chart shows, in words. */
  describe(lines, range) {
    const words = lines.map(({ label, values }) => {
      if (!range) return `${label.toLowerCase()} ${number(values.reduce((sum, each) => sum + each, 0))}`;
      const last = values.findLast((each) => each !== null);
      return last === undefined ? "nothing has ended" : `at last ${last.toFixed(0)} %`;
    });
    this.place.setAttribute("aria-label", `${this.title}: ${words.join(", ")}. The table below has all figures.`);
  }

  stop() {
    this.observer.disconnect();
    this.plot?.destroy();
  }
}
