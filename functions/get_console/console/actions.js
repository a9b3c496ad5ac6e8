// What can be done with a mission. Each is asked for once more, and says in words what became of it.

import { Away, call, Problem, words } from "./api.js";
import { el, linkTo } from "./dom.js";

const STATUS = (status) => (mission, reason, key) =>
  call("POST", `/${mission.id}/status`, {
    body: reason ? { status, reason } : { status },
    headers: { "if-match": `"${mission.version}"`, "idempotency-key": key },
  });

/** What can be done, the likeliest first. `from` are the statuses; `lost` marks what cannot be taken back. */
export const ACTIONS = [
  { name: "Start", verb: "started", from: ["PENDING"], send: STATUS("RUNNING"), text: () => "It becomes RUNNING. No worker gets it any more." },
  { name: "Complete", verb: "completed", from: ["RUNNING"], send: STATUS("COMPLETED"), reason: "optional", text: () => "It becomes COMPLETED." },
  {
    name: "Retry",
    verb: "tried again",
    from: ["FAILED", "CANCELLED"],
    unless: (mission) => mission.next_attempt,
    send: (mission, reason, key) => call("POST", `/${mission.id}/retry`, { headers: { "idempotency-key": key } }),
    text: () => "Its next attempt is made: a new mission with the same content.",
  },
  { name: "Fail", verb: "failed", from: ["RUNNING"], send: STATUS("FAILED"), reason: "required", lost: true, text: () => "It becomes FAILED. If it has retries left, its next attempt is made." },
  { name: "Cancel", verb: "cancelled", from: ["PENDING", "RUNNING"], send: STATUS("CANCELLED"), reason: "optional", lost: true, text: ({ retries, attempt }) => `It becomes CANCELLED${retries >= attempt ? ", and is not tried again by itself" : ""}.` },
  {
    name: "Cancel",
    verb: "cancelled",
    from: ["COMPLETED", "FAILED"],
    send: STATUS("CANCELLED"),
    reason: "optional",
    lost: true,
    text: ({ status, next_attempt: next }) =>
      `It has ended. It becomes CANCELLED all the same, and no longer counts as ${status}.${next ? " Its next attempt is there already: cancel that one, too." : ""}`,
  },
  {
    name: "Delete",
    verb: "removed",
    from: ["COMPLETED", "FAILED", "CANCELLED"],
    send: (mission) => call("DELETE", `/${mission.id}`),
    lost: true,
    text: () => "It is removed with its log. Nothing brings it back.",
  },
];

/** What can be done with this mission now. */
export const possible = (mission) => ACTIONS.filter((each) => each.from.includes(mission.status) && !each.unless?.(mission));

/**
 * Ask, do it, and say what became of it. `done` gets the answer; `refused` and `closed` are called then. Gives
 * {close, changed}; the latter is told what the mission became while the dialog is open.
 */
export function ask(action, mission, { done, refused, closed }) {
  const key = crypto.randomUUID(); // the same for each try: it is done once only
  let sent = false; // whether a try may have been done
  const reason = el("textarea", { id: "reason", rows: 3, maxlength: 1000, required: action.reason === "required" });
  const label = el("label", { for: "reason" }, action.reason === "required" ? "Reason" : "Reason (may be empty)");
  const outcome = el("div", { role: "alert" });
  const confirm = el("button", { type: "submit", class: action.lost ? "lost" : "primary" }, `${action.name} mission`);
  const close = el("button", { type: "button" }, "Leave it");
  const form = el(
    "form",
    {},
    el("h2", { id: "asked" }, `${action.name} this mission?`),
    el("p", {}, el("strong", {}, el("bdi", {}, mission.name)), ` (${mission.status})`),
    el("p", {}, action.text(mission)),
    action.reason ? el("p", {}, label, reason) : null,
    outcome,
    el("p", { class: "buttons" }, close, confirm),
  );
  const dialog = el("dialog", { "aria-labelledby": "asked" }, form);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("cancel", (event) => {
    if (close.disabled) event.preventDefault(); // what becomes of it is told here
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed();
  });
  /** It would be refused, or be refused again. */
  function give() {
    confirm.hidden = true;
    close.textContent = "Close";
    close.focus();
  }
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(confirm);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    reason.value = reason.value.trim();
    if (!form.reportValidity()) return; // spaces are no reason
    confirm.disabled = close.disabled = true;
    outcome.replaceChildren();
    try {
      const answer = await action.send(mission, reason.value, key);
      dialog.close();
      done(answer);
    } catch (error) {
      close.disabled = false;
      sent ||= error instanceof Away; // then a repeat must be the same request
      reason.readOnly = sent;
      const text = el("p", { class: "refused" }, words(error, action.verb));
      const next = error instanceof Problem && error.body.next_attempt;
      if (next) text.append(" ", el("a", { href: linkTo(next), click: () => dialog.close() }, "Show it"));
      outcome.append(text);
      if (error instanceof Problem && error.status !== 422) {
        give();
        refused();
      } else {
        confirm.textContent = "Try again";
        confirm.disabled = false;
        confirm.focus();
      }
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  if (action.reason) reason.focus();
  return {
    close: () => dialog.close(),
    changed({ version, status }) {
      if (!dialog.open || sent || confirm.disabled || confirm.hidden || version === mission.version) return;
      outcome.replaceChildren(el("p", { class: "refused" }, `The mission became ${status} meanwhile. Close this, and look at it again.`));
      give();
    },
  };
}
