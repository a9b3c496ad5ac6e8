// One mission: what it is, what happened to it, its log as it grows, and what can be done with it.

import { ACTIONS, ask } from "./actions.js";
import { call, poll, Problem } from "./api.js";
import { badge, el, linkTo, moment, named, say, span, ticking, tree } from "./dom.js";
import { Log } from "./log.js";

const EVERY = 1500; // milliseconds

export function show(main, { id }) {
  document.title = `${id} · Missions`;
  let mission = null;
  let etag = null;
  let gone = false;
  let dialog = null;
  const changes = new Map(); // the log entry of each change of status, by the new status

  const title = el("h1", {}, id);
  const status = el("p", { class: "status", role: "status" });
  const notice = el("div", { class: "notice", role: "alert" });
  const actions = el("div", { class: "actions", role: "group", "aria-label": "Actions" });
  const facts = el("dl", { class: "known" });
  const chain = el("p", { class: "chain" });
  const description = el("p", { class: "description" });
  const timeline = el("ol", { class: "timeline" });
  const data = el("div");
  const body = el(
    "div",
    { class: "parts" },
    el("section", { "aria-labelledby": "facts" }, el("h2", { id: "facts" }, "Facts"), description, chain, facts),
    el(
      "div",
      {},
      el("section", { "aria-labelledby": "timeline" }, el("h2", { id: "timeline" }, "What happened"), timeline),
      el("section", { "aria-labelledby": "data" }, el("h2", { id: "data" }, "Data"), data),
    ),
  );
  const log = new Log(
    id,
    (entries) => {
      for (const each of entries) if (each.data.from && each.data.to) changes.set(each.data.to, each);
      if (mission) tellTimeline();
    },
    () => {
      etag = null;
      polling.now();
    },
  );
  main.append(el("p", { class: "path" }, el("a", { href: "#/" }, "Board"), " › ", el("span", { class: "id" }, id)), title, status, notice, actions, body, log.element);
  body.hidden = log.element.hidden = true;

  async function refresh() {
    let answer;
    try {
      answer = await call("GET", `/${id}`, { etag });
      if (answer.status !== 304) await log.follow();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return lost(error);
    }
    if (answer.status === 304) return undefined;
    etag = answer.etag;
    gone = false;
    notice.replaceChildren();
    return tell(answer.body);
  }

  /** It is not there, or not any more. What was seen of it stays, as it was. */
  function lost(error) {
    gone = true;
    etag = null;
    const words = {
      mission_removed: `This mission was removed${error.body.removed_at ? ` on ${moment(error.body.removed_at)}` : ""}.${mission ? " What you see is what was last known of it." : ""}`,
      mission_not_found: mission ? "This mission is not there any more. What you see is what was last known of it." : `There is no mission with the id ${id}.`,
    };
    const text = words[error.code] ?? error.message;
    if (notice.textContent !== text) notice.replaceChildren(el("p", {}, text));
    tellActions();
  }

  function tell(told) {
    const before = mission;
    mission = told;
    if (before?.name !== mission.name) title.replaceChildren(named(mission.name));
    document.title = `${mission.status} · ${mission.name} · Missions`;
    if (before?.status !== mission.status || before?.reason !== mission.reason) {
      status.replaceChildren(badge(mission.status), ...(mission.reason ? [" ", named(mission.reason)] : []));
    }
    if (!before || JSON.stringify(before.data, plain) !== JSON.stringify(mission.data, plain)) data.replaceChildren(tree(mission.data, 2));
    say(description, mission.description);
    body.hidden = log.element.hidden = false;
    tellFacts();
    tellChain();
    tellTimeline();
    tellActions();
  }

  function tellActions() {
    const possible = mission && !gone ? ACTIONS.filter((each) => each.from.includes(mission.status)) : [];
    const focused = actions.contains(document.activeElement);
    const names = possible.map((each) => each.name).join();
    if (actions.dataset.names === names) return;
    actions.dataset.names = names;
    actions.replaceChildren(...possible.map((action) => el("button", { type: "button", click: () => act(action) }, action.name)));
    if (focused) (actions.firstElementChild ?? title).focus();
  }

  function act(action) {
    dialog = ask(action, mission, {
      done({ body: answer, status: code }) {
        if (action.name === "Retry") location.hash = linkTo(answer.id).slice(1);
        else if (code !== 204) {
          etag = null;
          tell(answer);
        }
        polling.now();
      },
      refused: () => {
        etag = null;
        polling.now();
      },
    });
  }

  function tellFacts() {
    const m = mission;
    const when = (seconds) => (seconds === null ? null : [moment(seconds), " (", ticking(seconds), ")"]);
    const took = m.duration !== null ? span(m.duration) : m.status === "RUNNING" ? [ticking(m.started_at, "running"), " so far"] : null;
    const limit = (seconds, words = "") => (seconds === null ? null : `${span(seconds)}${words}`);
    const told = {
      Created: when(m.created_at),
      Started: when(m.started_at),
      Finished: when(m.finished_at),
      "Last change": when(m.updated_at),
      "Last sign of life": when(m.active_at),
      Duration: took,
      Reason: m.reason && named(m.reason),
      Worker: m.worker && named(m.worker),
      Progress: m.progress === null ? null : [el("progress", { max: 1, value: m.progress, "aria-label": "Progress" }), ` ${Math.round(100 * m.progress)} %`],
      Note: m.note && named(m.note),
      Tags: m.tags.length ? el("ul", { class: "tags" }, m.tags.map((each) => el("li", {}, el("a", { href: `#/?${new URLSearchParams({ tag: each })}` }, each)))) : null,
      "Time limit": limit(m.timeout),
      "Sign of life within": limit(m.heartbeat_timeout),
      Deadline: when(m.deadline),
      "Not before": when(m.not_before),
      Attempt: `${m.attempt}${m.retries ? ` of ${m.retries + 1}` : ""}`,
      Backoff: m.backoff ? limit(m.backoff, ", twice as long after each attempt") : null,
      "Kept after its end": limit(m.retention),
      Version: String(m.version),
    };
    facts.replaceChildren(
      ...Object.entries(told)
        .filter(([, value]) => value !== null && value !== "")
        .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
    );
  }

  function tellChain() {
    const links = [];
    if (mission.retry_of) links.push(el("a", { href: linkTo(mission.retry_of), rel: "prev" }, `← attempt ${mission.attempt - 1}`));
    if (mission.retry_of || mission.next_attempt) links.push(el("span", { "aria-current": "true" }, `attempt ${mission.attempt}`));
    if (mission.next_attempt) links.push(el("a", { href: linkTo(mission.next_attempt), rel: "next" }, `attempt ${mission.attempt + 1} →`));
    const told = `${mission.retry_of} ${mission.next_attempt}`;
    if (chain.dataset.told === told) return;
    chain.dataset.told = told;
    chain.replaceChildren(...links.flatMap((each) => [each, " "]));
  }

  /** The mission itself tells when its status changed; the log tells who did it and why, where it is loaded. */
  function tellTimeline() {
    const { created_at: created, started_at: started, finished_at: finished, updated_at: updated, status: now } = mission;
    const ended = ["COMPLETED", "FAILED"].find((each) => each === now || changes.has(each)) ?? now;
    const steps = [["PENDING", created]];
    if (started !== null) steps.push(["RUNNING", started]);
    if (finished !== null) {
      const first = finished < updated && now === "CANCELLED" ? ended : now;
      if (first !== "CANCELLED" || finished === updated) steps.push([first, finished]);
      if (finished < updated && now === "CANCELLED") steps.push(["CANCELLED", updated]);
    }
    timeline.replaceChildren(
      ...steps.map(([name, at], i) => {
        const entry = changes.get(name);
        const { reason, actor, worker } = entry?.data ?? {};
        const who = [worker && ["worker ", named(String(worker))], actor && ["by ", named(String(actor))], reason && named(String(reason))].filter(Boolean);
        const next = steps[i + 1]?.[1];
        const lasted = next !== undefined ? ` for ${span(next - at)}` : "";
        return el("li", {}, badge(name), lasted, el("br"), el("span", { class: "when" }, moment(at)), who.flatMap((each) => [" · ", each]).flat());
      }),
    );
  }

  const polling = poll(EVERY, refresh);
  return {
    stop() {
      polling.stop();
      dialog?.close();
    },
  };
}

const plain = (key, value) => (typeof value === "bigint" ? String(value) : value);
