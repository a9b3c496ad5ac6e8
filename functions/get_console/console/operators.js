// For operators: what waits to be published, what was given up, and sending that again.

import { call, poll, Problem } from "./api.js";
import { el, linkTo, named, number, say, span, tree } from "./dom.js";

const EVERY = 5000; // milliseconds
const PAGE = 50; // entries

/** Ask the operator function, through who serves this page. Throws as call() does. */
async function operate(body) {
  const answer = await call("POST", "", { of: "console/operate", body, headers: { "x-missions-console": "1" } });
  if (answer.body.error) throw new Problem(answer.status, { detail: answer.body.error });
  return answer.body;
}

export function show(main) {
  document.title = "Operators · Missions";
  const figures = el("dl", { class: "figures" });
  const incomplete = el("p", { class: "refused" });
  const outcome = el("p", { role: "status" });
  const all = el("button", { type: "button", hidden: true }, "Redeliver all");
  const list = el("ol", { class: "letters" });
  const nothing = el("p", { class: "nothing" });
  const more = el("button", { type: "button", class: "quiet", hidden: true }, "Show more");
  main.append(
    el("h1", {}, "Operators"),
    el("p", {}, "Each write leaves its events in the outbox until EventBridge has them. What EventBridge refuses for good becomes a dead letter."),
    figures,
    incomplete,
    el("section", { "aria-labelledby": "dead" }, el("h2", { id: "dead" }, "Dead letters"), all, outcome, list, nothing, more),
  );
  let dead = null; // how many there were when they were listed
  let cursor = null;
  let busy = false;

  async function refresh() {
    const count = await operate({ action: "count" });
    const told = {
      "Writes whose events wait": number(count.undelivered),
      "The oldest waits for": count.undelivered ? span(count.oldest_seconds) : "–",
      "Dead letters": number(count.dead),
    };
    if (!figures.children.length) figures.append(...Object.keys(told).map((name) => el("div", {}, el("dt", {}, name), el("dd"))));
    Object.values(told).forEach((value, at) => say(figures.children[at].lastElementChild, value));
    say(incomplete, count.unread_partitions ? `${count.unread_partitions} parts of the store did not answer, so there may be more.` : "");
    if (dead !== count.dead) {
      await read(true);
      dead = count.dead;
    }
  }

  async function read(anew) {
    const page = await operate({ action: "list", what: "dead", limit: PAGE, ...(anew || !cursor ? {} : { cursor }) });
    if (anew) list.replaceChildren();
    list.append(...page.entries.map(letter));
    cursor = page.cursor;
    more.hidden = cursor === null;
    all.hidden = !list.children.length;
    say(nothing, list.children.length ? "" : "None.");
  }

  function letter({ entry_id: id, namespace, events, error }) {
    const told = Array.isArray(events) ? events : [];
    const again = el("button", { type: "button" }, "Redeliver");
    again.addEventListener("click", () => redeliver({ namespace, entry_ids: [id] }));
    const about = told.find((each) => each?.payload?.mission_id)?.payload.mission_id;
    return el(
      "li",
      {},
      el(
        "p",
        {},
        el("strong", {}, told.map((each) => String(each?.type ?? "event")).join(", ") || "broken entry"),
        about ? [" of ", namespace === "default" ? el("a", { href: linkTo(String(about)) }, String(about)) : String(about)] : "",
        ` · namespace ${namespace || "unknown"} · entry ${id}`,
      ),
      el("p", { class: "reason" }, named(error ?? "")),
      tree(events, 0),
      again,
    );
  }

  async function redeliver(which) {
    if (busy) return;
    busy = true;
    say(outcome, "Sending …");
    try {
      const { published, died, left } = await operate({ action: "redeliver", ...which });
      const parts = [`Events published: ${number(published)}`];
      if (died) parts.push(`refused again: ${number(died)}`);
      if (left) parts.push(`left to the relay: ${number(left)}`);
      say(outcome, `${parts.join(", ")}.`);
    } catch (error) {
      say(outcome, `It is not known what was sent: ${error.message} Nothing is lost; try again.`);
    } finally {
      busy = false;
      dead = null;
      polling.now();
    }
  }

  all.addEventListener("click", () => redeliver({}));
  more.addEventListener("click", () => read(false).catch(() => polling.now()));
  const polling = poll(EVERY, refresh);
  return { stop: polling.stop };
}
