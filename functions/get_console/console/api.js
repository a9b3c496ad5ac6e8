// The API: requests, what became of them, and polling that costs little.

import { clock } from "./dom.js";
import { config, expire, key, token } from "./sign_in.js";

const PATIENCE = 35_000; // milliseconds; API Gateway waits for 30 seconds
const SLOWEST = 10_000; // milliseconds between two tries while the API is away

/** The API refused a request; `body` is its problem document. Nothing was changed. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.message || `The API answered ${status}.`);
    Object.assign(this, { status, body, code: body.code || "" });
  }
}

/** The API did not answer, or could not. What a write did is then not known. */
export class Away extends Error {}

/** Nobody is signed in, or no longer. */
export class SignedOut extends Error {}

// The state of the connection, for the banner: {kind: "ok" | "away" | "signed out", words, since}

export const connection = new EventTarget();
connection.kind = "ok";
connection.lastOk = Date.now();

function become(kind, words = "") {
  if (kind === "ok") connection.lastOk = Date.now();
  if (connection.kind === kind && connection.words === words) return;
  Object.assign(connection, { kind, words });
  connection.dispatchEvent(new Event("change"));
}

/** Integers that JavaScript would round are kept as BigInt, where the browser tells how they were written. */
function exact(key, value, context) {
  const rounded = typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);
  return rounded && /^-?\d+$/.test(context?.source ?? "") ? BigInt(context.source) : value;
}

/** Send a request. Gives {status, body, etag}; for 304 without a body. Throws Problem, Away and SignedOut. */
export async function call(method, path, { query = {}, body, headers = {}, etag, of = "api/missions" } = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value != null));
  const sent = { ...headers, ...(config.signed ? { "x-missions-key": key() } : {}) };
  if (body !== undefined) sent["content-type"] = "application/json";
  if (etag) sent["if-none-match"] = etag;
  if (config.issuer) {
    const bearer = token();
    if (!bearer) throw signedOut();
    sent.authorization = `Bearer ${bearer}`;
  }
  let answer, text;
  try {
    answer = await fetch(`${of}${path}${asked.size ? `?${asked}` : ""}`, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store", // the entity tags are kept here
      signal: AbortSignal.timeout(PATIENCE),
    });
    text = await answer.text();
  } catch {
    throw away("The API does not answer.");
  }
  const { status } = answer;
  clock.set(answer.headers.get("date"));
  if (status === 204 || status === 304) return { status, body: null, etag: answer.headers.get("etag") };
  let read = null;
  try {
    read = JSON.parse(text, exact);
  } catch {
    // then it is no answer of the API
  }
  if (read === null || typeof read !== "object") {
    if (answer.ok || status < 500) throw away("What answers is not the API.");
    read = {};
  }
  if (answer.ok) return { status, body: read, etag: answer.headers.get("etag") };
  if (config.signed && !read.code && (status === 401 || status === 403)) {
    throw away(status === 401 ? "Open the address that was printed when this console was started." : `AWS does not accept your credentials: ${read.message}.`);
  }
  if (status === 401 && !config.issuer) throw away("This API takes a token, and the console was not told where to get one.");
  if (status === 401) {
    expire();
    throw signedOut();
  }
  if (status === 403 && !read.code && !config.issuer && of === "api/missions") {
    throw away("This API takes signed requests only, and a browser cannot sign them.");
  }
  if (status === 429) throw away("The API takes no more requests at the moment.");
  if (status >= 500 && read.code !== "broken_record") throw away(read.detail || `The API answered ${status}${read.message ? `: ${read.message}` : ""}.`);
  throw new Problem(status, read);
}

function away(words) {
  become("away", words);
  return new Away(words);
}

function signedOut() {
  become("signed out");
  return new SignedOut("You are not signed in.");
}

/**
 * Do this now and again and again, so many milliseconds after the last time. It rests while the tab is hidden, and comes
 * back by itself when the API does. Gives {now, stop}.
 */
export function poll(milliseconds, work) {
  let timer = 0;
  let running = false;
  let again = false;
  let stopped = false;
  let wait = milliseconds;

  async function run() {
    clearTimeout(timer);
    if (stopped || document.hidden) return;
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      await work();
      if (!stopped) become("ok"); // all of it was answered, not a part
      wait = milliseconds;
    } catch (error) {
      wait = Math.min(SLOWEST, wait * 1.5);
      if (error instanceof Problem) become("away", error.message);
      else if (!(error instanceof Away || error instanceof SignedOut)) {
        become("away", "What was answered is not as it should be.");
        console.warn(error);
      }
    } finally {
      running = false;
    }
    if (stopped) return;
    if (again) {
      again = false;
      run();
    } else timer = setTimeout(run, wait);
  }

  const wake = () => {
    if (!document.hidden) run();
  };
  function stop() {
    stopped = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", wake);
    removeEventListener("online", wake);
  }
  document.addEventListener("visibilitychange", wake);
  addEventListener("online", wake);
  run();
  return { now: run, stop };
}

// Words for what was refused

const STATUS_WORDS = (allowed) => (allowed?.length ? ` From here it can become ${allowed.join(" or ")}.` : " That is final.");

/** What happened, for a person. `verb` is what was tried, such as "completed". */
export function words(error, verb) {
  if (error instanceof SignedOut) return "You are not signed in any more, so nothing was changed. Sign in again.";
  if (error instanceof Away) {
    return `${error.message} It is not known whether the mission was ${verb}. Try again: it is done once only.`;
  }
  if (!(error instanceof Problem)) return `What was answered is not as it should be, so it is not known whether the mission was ${verb}. Look at it again.`;
  const { code, body } = error;
  const why = body.reason ? ` (${body.reason})` : "";
  switch (code) {
    case "stale_version":
      return `Nothing was changed. Somebody changed this mission after you saw it: it is at version ${body.current_version} now. Look at it again, then decide.`;
    case "transition_refused":
      return `Nothing was changed. The mission is ${body.current_status} now${why}, so it cannot be ${verb}.${STATUS_WORDS(body.allowed)}`;
    case "retry_refused":
      return `Nothing was changed. The mission is ${body.current_status} now; only a FAILED or CANCELLED one can be tried again.`;
    case "already_retried":
      return "Nothing was changed. The mission has its next attempt already.";
    case "mission_open":
      return `Nothing was changed. The mission is ${body.current_status} now, so it cannot be removed. Cancel it first.`;
    case "mission_removed":
      return "The mission was removed meanwhile. Nothing can be done with it any more.";
    case "mission_not_found":
      return "There is no such mission any more. Nothing was changed.";
    default:
      return `Nothing was changed. ${error.message}`;
  }
}
