// The console: which page is shown, the banner, and signing in.

import { connection } from "./api.js";
import * as board from "./board.js";
import { ZONE, el, linkTo, say } from "./dom.js";
import * as mission from "./mission.js";
import * as operators from "./operators.js";
import * as overview from "./overview.js";
import { begin, config, signIn, signOut, token, wasSignedIn } from "./sign_in.js";

const ID = /^(?!\.{1,2}$)(?!(health|stats|openapi\.json)$)[A-Za-z0-9._~-]{1,128}$/;
const PAGES = { board, overview, mission, operators }; // all at once: a page that is open stays of one version

const main = document.getElementById("main");
const banner = document.getElementById("banner");
const go = document.querySelector("form.go");
let shown = { route: "", stop() {} };
let lastBoard = "#/"; // with its filters

/** The page that an address names, with what it is about. */
function read(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [first, second] = path.split("/");
  if (!first) return { page: "board", route: "board", query: new URLSearchParams(query) };
  if (first === "overview" && !second) return { page: "overview", route: "overview", query: new URLSearchParams(query) };
  if (first === "operators" && !second && config.operate) return { page: "operators", route: "operators" };
  if (first === "missions" && second) {
    let id = second;
    try {
      id = decodeURIComponent(second);
    } catch {
      // then it is no id, either
    }
    return { page: ID.test(id) ? "mission" : "", route: `missions/${id}`, id };
  }
  return { page: "", route: hash };
}

function show() {
  const asked = read(location.hash);
  if (asked.page === "board") document.querySelector('nav [data-page="board"]').href = lastBoard = location.hash || "#/";
  if (shown.route === asked.route && shown.change) return shown.change(asked);
  const first = !shown.route;
  shown.stop();
  shown = { route: asked.route, stop() {} };
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === asked.page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!asked.page) {
    document.title = "Not found · Missions";
    const words = asked.id === undefined ? "There is no such page." : "This is no id of a mission.";
    main.replaceChildren(
      el("h1", { tabindex: -1 }, "Not found"),
      el("p", {}, words, " An id has 1 to 128 characters: letters, digits, and . _ ~ -"),
      el("p", {}, el("a", { href: "#/" }, "To the board")),
    );
  } else {
    main.replaceChildren();
    main.className = asked.page;
    scrollTo(0, 0);
    Object.assign(shown, PAGES[asked.page].show(main, { ...asked, board: lastBoard }));
  }
  if (!first) main.querySelector("h1").focus(); // a screen reader tells that the page is another one
}

// The banner

let trouble = ""; // of signing in

function tell() {
  const since = new Date(connection.lastOk).toLocaleTimeString();
  banner.className = connection.kind === "ok" ? "" : connection.kind.replace(" ", "-");
  if (connection.kind === "away") {
    banner.replaceChildren(el("p", {}, `${connection.words} What you see is of ${since}. The page tries again by itself.`));
  } else if (connection.kind === "signed out") {
    const again = wasSignedIn();
    const words = trouble || (again ? `Your sign-in has ended. What you see is of ${since}.` : "Sign in to see missions.");
    const button = el("button", { type: "button" }, again ? "Sign in again" : "Sign in");
    const text = el("p", {}, words);
    button.addEventListener("click", () => signIn().catch((error) => say(text, error.message)));
    banner.replaceChildren(text, button);
  } else banner.replaceChildren();
  document.getElementById("sign-out").hidden = !(config.issuer && token());
}

go.addEventListener("submit", (event) => {
  event.preventDefault();
  const id = go.elements.id.value.trim();
  if (!id) return;
  go.reset();
  location.hash = linkTo(id);
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.getElementById("sign-out").addEventListener("click", signOut);
connection.addEventListener("change", tell);

async function start() {
  for (;;) {
    try {
      trouble = await begin();
      break;
    } catch {
      banner.className = "away";
      banner.replaceChildren(el("p", {}, "The server of this page does not answer. The page tries again by itself."));
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
  banner.className = "";
  banner.replaceChildren();
  document.querySelector('[data-page="operators"]').hidden = !config.operate;
  tell();
  addEventListener("hashchange", show);
  show();
}

document.getElementById("zone").textContent = `Times are in ${ZONE}.`;
start();
