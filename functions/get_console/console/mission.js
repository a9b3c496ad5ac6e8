// One mission: what it is, what happened to it, its log as it grows, and what can be done with it.

import { ask, possible } from "./actions.js";
import { call, poll, Problem } from "./api.js";
import { STATUSES, badge, el, linkTo, moment, named, plain, say, span, tagged, ticking, tree } from "./dom.js";
import { Log } from "./log.js";

const EVERY = 1500; // milliseconds

export function show(main, { id, board }) {
  document.title = `${id} · Missions`;
  let mission = null;
  let etag = null;
  let gone = false;
  let stopped = false;
  let dialog = null;
  const changes = new Map(); // what the log tells of each change of status, by its moment: nobody else can write at that

  const title = el("h1", { tabindex: -1 }, id);
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
      for (const each of entries) if (each.message === "Mission status changed") changes.set(each.timestamp, each.data);
      if (mission) tellTimeline();
    },
    () => {
      etag = null;
      polling.now();
    },
  );
  main.append(el("p", { class: "path" }, el("a", { href: board }, "Board"), " › ", el("span", { class: "id" }, id)), title, status, notice, actions, body, log.element);
  body.hidden = log.element.hidden = true;

  async function refresh() {
    try {
      const answer = await call("GET", `/${id}`, { etag });
      if (answer.status === 304 || stopped) return;
      etag = answer.etag;
      gone = false;
      notice.replaceChildren();
      tell(answer.body);
      await log.follow();
    } catch (error) {
      etag = null; // not all of it was read
      if (!(error instanceof Problem && [404, 410, 422].includes(error.status))) throw error;
      if (!stopped) lost(error);
    }
  }

  /** It is not there, or not any more. What was seen of it stays, as it was. */
  function lost(error) {
    gone = true;
    const words = {
      mission_removed: `This mission was removed${error.body.removed_at ? ` on ${moment(error.body.removed_at)}` : ""}.${mission ? " What you see is what was last known of it." : ""}`,
      mission_not_found: mission ? "This mission is not there any more. What you see is what was last known of it." : `There is no mission with the id ${id}.`,
    };
    const text = words[error.code] ?? error.message;
    if (notice.firstElementChild?.textContent !== text) notice.replaceChildren(el("p", {}, text), el("p", {}, el("a", { href: board }, "To the board")));
    tellActions();
  }

  function tell(told) {
    const before = mission;
    if (before && before.created_at !== told.created_at) {
      changes.clear(); // it was removed, and another one has its id
      log.clear();
    } else if (before && told.version < before.version) return; // it was asked for before the last action
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
    dialog?.changed(mission);
  }

  function tellActions() {
    const now = mission && !gone ? possible(mission) : [];
    const focused = actions.contains(document.activeElement);
    const names = now.map((each) => each.name).join();
    if (actions.dataset.names === names) return;
    actions.dataset.names = names;
    actions.replaceChildren(
      ...now.map((action) => el("button", { type: "button", class: action.lost && "losing", click: () => act(action) }, action.name)),
    );
    if (focused) (actions.firstElementChild ?? title).focus();
  }

  function act(action) {
    dialog = ask(action, mission, {
      done({ body: answer, status: code }) {
        if (stopped) return;
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
      closed: () => {
        if (document.activeElement === document.body) title.focus(); // the button that opened it is gone
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
      "Last sign of life": m.status === "RUNNING" ? when(m.active_at) : null,
      Duration: took,
      Worker: m.worker && named(m.worker),
      Progress: m.progress === null || m.status === "COMPLETED" ? null : [el("progress", { max: 1, value: m.progress, "aria-label": "Progress" }), ` ${Math.round(100 * m.progress)} %`],
      Note: m.note && named(m.note),
      Tags: m.tags.length ? el("ul", { class: "tags" }, m.tags.map((each) => el("li", {}, el("a", { href: tagged(each) }, each)))) : null,
      Timeout: limit(m.timeout),
      "Heartbeat timeout": limit(m.heartbeat_timeout),
      Deadline: when(m.deadline),
      "Not before": m.status === "PENDING" ? when(m.not_before) : null,
      Attempt: `${m.attempt}${m.attempt <= m.retries + 1 && m.retries ? ` of ${m.retries + 1}` : ""}`,
      Backoff: m.backoff ? limit(m.backoff, ", twice as long after each attempt") : null,
      Retention: limit(m.retention, " after its end"),
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
    const steps = [["PENDING", created]];
    if (started !== null) steps.push(["RUNNING", started]);
    // A finished mission that was cancelled later: only the log knows what it was before
    if (finished !== null && finished < updated) steps.push([changes.get(updated)?.from ?? "", finished]);
    if (finished !== null) steps.push([now, updated]);
    timeline.replaceChildren(
      ...steps.map(([name, at], i) => {
        const { reason, actor, worker } = changes.get(at) ?? {};
        const told = Object.entries({ worker, by: actor, "": reason }).filter(([, value]) => typeof value === "string");
        const next = steps[i + 1]?.[1];
        const lasted = next !== undefined ? ` for ${span(next - at)}` : "";
        return el(
          "li",
          {},
          STATUSES.includes(name) ? badge(name) : "ended",
          lasted,
          el("br"),
          el("span", { class: "when" }, moment(at)),
          told.flatMap(([word, value]) => [` · ${word} `, named(value)]),
        );
      }),
    );
  }

  const polling = poll(EVERY, refresh);
  return {
    stop() {
      stopped = true;
      polling.stop();
      log.clear(); // what is still answered is for nobody
      dialog?.close();
    },
  };
}