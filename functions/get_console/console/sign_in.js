// Signing in where the API wants a token: the OpenID Connect code flow with PKCE. No secret is kept; the token is in
// this tab alone, and is forgotten with it.

const KEPT = "missions.token";
const BEGUN = "missions.sign-in";
const KEY = "missions.key";
const EARLY = 5_000; // milliseconds before its end a token counts as expired

/** {issuer, client_id, scope, audience, operate, signed}: what the server of this page says. Empty without sign-in. */
export const config = {};

/** Read the configuration, and end a sign-in that led back here. Gives words when that went wrong. */
export async function begin() {
  const answer = await fetch("console/config.json", { cache: "no-store", signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`The configuration cannot be read: ${answer.status}`);
  Object.assign(config, await answer.json());
  const given = /^#key=([\w-]+)(\/.*)?$/.exec(location.hash);
  if (given) {
    localStorage.setItem(KEY, given[1]); // for this origin, with its port, and so for other tabs
    history.replaceState(null, "", `${location.pathname}#${given[2] ?? "/"}`);
  }
  return config.issuer ? comeBack() : "";
}

/** The token, or an empty text when there is none or it has expired. */
export function token() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) || "null");
  return kept && Date.now() < kept.until - EARLY ? kept.token : "";
}

/** The key of a server that signs requests on this machine; it came in the address that was opened first. */
export const key = () => localStorage.getItem(KEY) ?? "";

/** Whether somebody was signed in here before. */
export const wasSignedIn = () => sessionStorage.getItem(KEPT) !== null;

/** The API does not take the token any more. */
export function expire() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) || "null");
  if (kept) sessionStorage.setItem(KEPT, JSON.stringify({ ...kept, until: 0 }));
}

export function signOut() {
  sessionStorage.removeItem(KEPT);
  location.reload();
}

/** Go to the issuer, which leads back to this page. Throws an Error in words. */
export async function signIn() {
  const about = await discovered();
  const verifier = random();
  const state = random();
  const challenge = encoded(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
  sessionStorage.setItem(BEGUN, JSON.stringify({ verifier, state, hash: location.hash }));
  const asked = new URLSearchParams({
    response_type: "code",
    client_id: config.client_id,
    redirect_uri: here(),
    scope: config.scope || "openid",
    state,
    code_challenge: challenge,
    code_challenge_method: "S256",
  });
  if (config.audience) asked.set("audience", config.audience);
  const address = new URL(about.authorization_endpoint);
  for (const [name, value] of asked) address.searchParams.set(name, value);
  location.assign(address);
}

async function comeBack() {
  const given = new URLSearchParams(location.search);
  if (!given.has("state")) return "";
  const begun = JSON.parse(sessionStorage.getItem(BEGUN) || "null");
  sessionStorage.removeItem(BEGUN);
  history.replaceState(null, "", location.pathname + (begun?.hash ?? ""));
  if (!begun || given.get("state") !== begun.state) return "This sign-in was not begun here. Sign in again.";
  if (given.has("error")) return `The issuer refused: ${given.get("error_description") || given.get("error")}`;
  try {
    const about = await discovered();
    const answer = await fetch(about.token_endpoint, {
      method: "POST",
      body: new URLSearchParams({
        grant_type: "authorization_code",
        code: given.get("code") ?? "",
        redirect_uri: here(),
        client_id: config.client_id,
        code_verifier: begun.verifier,
      }),
    });
    const got = await answer.json();
    if (!answer.ok) return `The issuer refused: ${got.error_description || got.error || answer.status}`;
    const until = Date.now() + 1000 * (got.expires_in ?? 3600);
    sessionStorage.setItem(KEPT, JSON.stringify({ token: got.access_token, until }));
    return "";
  } catch {
    return "The issuer does not answer. Try again.";
  }
}

async function discovered() {
  const issuer = config.issuer.replace(/\/$/, "");
  let about;
  try {
    about = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
  } catch {
    throw new Error("The issuer does not answer. Try again.");
  }
  if (about.issuer?.replace(/\/$/, "") !== issuer) throw new Error("What answers for the issuer names another one.");
  return about;
}

const here = () => location.origin + location.pathname;
const random = () => encoded(crypto.getRandomValues(new Uint8Array(32)));
const encoded = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
