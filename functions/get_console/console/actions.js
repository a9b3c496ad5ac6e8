// What can be done with a mission. Each is asked for once more, and says in words what became of it.

import { call, Problem, words } from "./api.js";
import { el, linkTo } from "./dom.js";

const STATUS = (status) => (mission, reason, key) =>
  call("POST", `/${mission.id}/status`, {
    body: reason ? { status, reason } : { status },
    headers: { "if-match": `"${mission.version}"`, "idempotency-key": key },
  });

export const ACTIONS = [
  { name: "Start", verb: "started", from: ["PENDING"], send: STATUS("RUNNING"), text: "It becomes RUNNING. No worker gets it any more." },
  { name: "Complete", verb: "completed", from: ["RUNNING"], send: STATUS("COMPLETED"), reason: "optional", text: "It becomes COMPLETED." },
  { name: "Fail", verb: "failed", from: ["RUNNING"], send: STATUS("FAILED"), reason: "required", text: "It becomes FAILED. If it has retries left, its next attempt is made." },
  { name: "Cancel", verb: "cancelled", from: ["PENDING", "RUNNING", "COMPLETED", "FAILED"], send: STATUS("CANCELLED"), reason: "optional", text: "It becomes CANCELLED, and is not tried again. That is final." },
  {
    name: "Retry",
    verb: "tried again",
    from: ["FAILED", "CANCELLED"],
    send: (mission, reason, key) => call("POST", `/${mission.id}/retry`, { headers: { "idempotency-key": key } }),
    text: "Its next attempt is made: a new mission with the same content.",
  },
  {
    name: "Delete",
    verb: "removed",
    from: ["COMPLETED", "FAILED", "CANCELLED"],
    send: (mission) => call("DELETE", `/${mission.id}`),
    text: "It is removed with its log. Nothing brings it back.",
  },
];

/** Ask, do it, and say what became of it. `done` gets the answer; `refused` is called when it was refused. */
export function ask(action, mission, { done, refused }) {
  const key = crypto.randomUUID(); // the same for each try: it is done once only
  const reason = el("textarea", { id: "reason", rows: 3, maxlength: 1000, required: action.reason === "required" });
  const label = el("label", { for: "reason" }, action.reason === "required" ? "Reason" : "Reason (may be empty)");
  const outcome = el("div", { role: "alert" });
  const confirm = el("button", { type: "submit", class: "primary" }, action.name);
  const close = el("button", { type: "button" }, "Close");
  const form = el(
    "form",
    {},
    el("h2", { id: "asked" }, `${action.name} this mission?`),
    el("p", {}, el("strong", {}, el("bdi", {}, mission.name)), ` (${mission.status}, version ${mission.version})`),
    el("p", {}, action.text),
    action.reason ? el("p", { class: "field" }, label, reason) : null,
    outcome,
    el("p", { class: "buttons" }, close, confirm),
  );
  const dialog = el("dialog", { "aria-labelledby": "asked" }, form);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    confirm.disabled = true;
    outcome.replaceChildren();
    try {
      const answer = await action.send(mission, reason.value.trim(), key);
      dialog.close();
      done(answer);
    } catch (error) {
      const text = el("p", { class: "refused" }, words(error, action.verb));
      const next = error instanceof Problem && error.body.next_attempt;
      if (next) text.append(" ", el("a", { href: linkTo(next), click: () => dialog.close() }, "Show it"));
      outcome.append(text);
      if (error instanceof Problem && error.status !== 422) {
        confirm.hidden = true; // it would be refused again
        close.focus();
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
  return dialog;
}
