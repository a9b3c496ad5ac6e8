// For operators: what waits to be published, what was given up, and sending that again.

import { call, poll, Problem } from "./api.js";
import { arrange, el, figures, linkTo, named, number, say, span, tree } from "./dom.js";

const EVERY = 5000; // milliseconds
const PAGE = 50; // entries
const MANY = 1000; // entries that one request sends again at most

/** Ask the operator function, through who serves this page. Throws as call() does. */
async function operate(body) {
  const answer = await call("POST", "", { of: "console/operate", body, headers: { "x-missions-console": "1" } });
  if (answer.body.error) throw new Problem(answer.status, { detail: answer.body.error });
  return answer.body;
}

export function show(main) {
  document.title = "Operators · Missions";
  const counts = el("dl", { class: "figures" });
  const incomplete = el("p", { class: "refused" });
  const outcome = el("p", { role: "status" });
  const all = el("button", { type: "button", hidden: true }, "Redeliver all");
  const list = el("ol", { class: "letters" });
  const nothing = el("p", { class: "nothing" });
  const more = el("button", { type: "button", class: "quiet", hidden: true }, "Show more");
  main.append(
    el("h1", { tabindex: -1 }, "Operators"),
    el("p", {}, "Each write leaves its events in the outbox until EventBridge has them. What EventBridge refuses for good becomes a dead letter."),
    counts,
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
    figures(counts, told);
    say(incomplete, count.unread_partitions ? `${count.unread_partitions} parts of the store did not answer, so there may be more.` : "");
    if (dead !== count.dead) {
      await read(true);
      dead = count.dead;
    }
  }

  async function read(anew) {
    const from = anew ? null : cursor;
    const page = await operate({ action: "list", what: "dead", limit: PAGE, ...(from ? { cursor: from } : {}) });
    if (!anew && from !== cursor) return; // it was read anew meanwhile
    const known = new Map([...list.children].map((each) => [each.dataset.id, each]));
    const letters = page.entries.map((each) => known.get(identity(each)) ?? letter(each));
    arrange(list, anew ? letters : [...list.children, ...letters]);
    cursor = page.cursor;
    more.hidden = cursor === null;
    all.hidden = !list.children.length;
    say(nothing, list.children.length ? "" : "None.");
  }

  const identity = ({ namespace, entry_id: id }) => `${namespace} ${id}`;

  function letter(entry) {
    const { entry_id: id, namespace, events, error } = entry;
    const told = Array.isArray(events) ? events : [];
    const again = namespace && el("button", { type: "button", click: () => redeliver({ namespace, entry_ids: [id] }) }, "Redeliver");
    const about = told.find((each) => each?.payload?.mission_id)?.payload.mission_id;
    return el(
      "li",
      { "data-id": identity(entry) },
      el(
        "p",
        {},
        el("strong", {}, told.map((each) => String(each?.type ?? "event")).join(", ") || "broken entry"),
        about ? [" of ", namespace === "default" ? el("a", { href: linkTo(String(about)) }, String(about)) : String(about)] : "",
        ` · namespace ${namespace || "unknown"} · entry ${id}`,
      ),
      el("p", { class: "reason" }, named(error ?? "")),
      tree(events, 0),
      again || el("p", {}, "It is broken, so it can only be sent with all others."),
    );
  }

  async function redeliver(which) {
    if (busy) return;
    busy = true;
    const sum = { published: 0, died: 0, left: 0 };
    let ended = "";
    try {
      for (let answer; answer === undefined || answer.revived === MANY; ) {
        say(outcome, `Sending … events published: ${number(sum.published)}`);
        answer = await operate({ action: "redeliver", limit: MANY, ...which });
        for (const name of Object.keys(sum)) sum[name] += answer[name];
        ended = answer.ended;
        if (answer.died || answer.left) break; // EventBridge does not take them now
      }
      const parts = [`Events published: ${number(sum.published)}`];
      if (sum.died) parts.push(`refused again: ${number(sum.died)}`);
      if (sum.left) parts.push(`left to the relay: ${number(sum.left)}`);
      say(outcome, `${parts.join(", ")} (${ended}).`);
    } catch (error) {
      say(outcome, error instanceof Problem ? error.message : `It is not known what was sent: ${error.message} Nothing is lost; try again.`);
    } finally {
      busy = false;
      dead = null;
      polling.now();
    }
  }

  all.addEventListener("click", () => redeliver({}));
  more.addEventListener("click", async () => {
    more.disabled = true;
    await read(false).catch(() => polling.now());
    more.disabled = false;
  });
  const polling = poll(EVERY, refresh);
  return { stop: polling.stop };
}
