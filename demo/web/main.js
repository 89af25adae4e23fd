// What an app does is `SuperTokens.init`; from then on `fetch` refreshes by itself. All else here is to show it.
import SuperTokens from "supertokens-website";
import { drawClock, makeClock } from "./clock.js";
import { $, h } from "./dom.js";
import { tell, watchNetwork } from "./network.js";
import { showSessions } from "./sessions.js";
import { follow, prepareThief, theftOf } from "./thief.js";
import { readFrontToken, visibleCookies } from "./token.js";

watchNetwork(); // before init, so that it stands below the SDK
SuperTokens.init({
  apiDomain: location.origin,
  tokenTransferMethod: "cookie",
  onHandleEvent: (event) => {
    if (event.action === "ACCESS_TOKEN_PAYLOAD_UPDATED") return; // with every new token, as its times differ
    tell("SDK", event.action);
    if (event.action === "REFRESH_SESSION") setTimeout(showSessions, 0);
  },
});

const ENDED = "You were signed out: in another tab or on another device, or the session is over.";
const STOLEN = "Thrown out: your session was stolen, and the thief has lost it too. See below.";
let left = null; // why this tab is no longer signed in, where it knows
let entered = null; // the session it was last signed in to
let handle = null;
let isCalling = false;

async function start() {
  const settings = await (await fetch("/api/settings")).json();
  $("lifetime").textContent = `${settings.lifetime} seconds`;
  makeClock(settings.lifetime);
  prepareThief(settings, sayWhy);
  $("people").replaceChildren(...settings.users.map(person));
  $("call").addEventListener("click", call);
  $("poll").addEventListener("change", () => $("poll").checked && call());
  $("sign-out").addEventListener("click", signOut);
  $("sign-out-everywhere").addEventListener("click", signOutEverywhere);
  $("theme").addEventListener("click", switchTheme);
  await SuperTokens.doesSessionExist(); // refreshes where the token ran out while the tab was closed
  look();
  setInterval(look, 100);
  setInterval(() => $("poll").checked && handle && call(), 1000);
}

/** Compare the page with what the browser's jar says: another tab may have signed in or out. */
function look() {
  const token = readFrontToken();
  if (token) drawClock(token.ate);
  const visible = visibleCookies().filter((name) => /^s[A-Z]|^st-/.test(name));
  if ($("visible").dataset.names !== String(visible)) {
    $("visible").dataset.names = String(visible);
    $("visible").replaceChildren(...visible.map((name) => h("code", {}, name)));
  }
  const found = token?.up.sessionHandle ?? null;
  if (found === handle && $("main").dataset.state !== "loading") return;
  if (found) enter(token);
  else leave();
  handle = found;
}

function enter(token) {
  // An answer that was under way at a sign-out can bring the ended session's front token back for a moment.
  if (token.up.sessionHandle !== entered) left = null;
  entered = token.up.sessionHandle;
  $("session-title").textContent = token.up.name;
  $("avatar").textContent = token.up.name[0];
  $("identity").textContent = `${token.up.role} · session ${token.up.sessionHandle.slice(0, 8)}`;
  say("Wait until the token has run out, then call.");
  turn("in");
  follow(token.up.sessionHandle);
  showSessions();
}

function leave() {
  turn("out");
  $("poll").checked = false;
  $("notice").hidden = handle === null;
  sayWhy();
}

/** Why this tab is no longer signed in. The news of a theft may come before or after its 401. */
function sayWhy() {
  const isTheft = theftOf() !== null;
  $("notice").textContent = isTheft ? STOLEN : (left ?? ENDED);
  $("notice").dataset.kind = isTheft ? "bad" : "";
  if (isTheft && $("main").dataset.state === "out") $("verdict").scrollIntoView({ block: "center" });
}

function turn(state) {
  $("main").dataset.state = state;
  for (const part of document.querySelectorAll("[data-when]")) {
    const when = part.dataset.when;
    part.hidden = when === "known" ? state === "out" && handle === null : when !== state;
  }
}

function person(user) {
  const signIn = () => fetch(`/api/sign-in/${user.id}`, { method: "POST" }).then(look);
  return h("button", { type: "button", class: "person", onclick: signIn },
    h("span", { class: "avatar", "aria-hidden": "true" }, user.name[0]),
    h("span", {}, h("b", {}, user.name), h("small", {}, user.role)));
}

async function call() {
  if (isCalling) return;
  isCalling = true;
  const started = performance.now();
  try {
    const response = await fetch("/api/hello");
    const body = await response.json();
    const took = Math.round(performance.now() - started);
    if (response.ok) say(`200 in ${took} ms: “${body.message}”, from a route for whoever is signed in`, "ok");
    else say(`${response.status}: ${body.message}`, "bad");
  } catch (error) {
    say(`No answer: ${error.message}`, "bad");
  } finally {
    isCalling = false;
  }
}

async function signOut() {
  left = "You signed out.";
  await SuperTokens.signOut();
  look();
}

async function signOutEverywhere() {
  left = "You signed out everywhere.";
  await fetch("/api/sessions", { method: "DELETE" });
  look();
}

function switchTheme() {
  const root = document.documentElement;
  const present = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = present === "dark" ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
}

function say(text, kind = "") {
  $("result").textContent = text;
  $("result").dataset.kind = kind;
}

start();
