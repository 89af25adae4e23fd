// The thief's side: buttons, the live drawing, and what it all means.
import SuperTokens from "supertokens-website";
import { $, h } from "./dom.js";
import { tell } from "./network.js";
import { drawRotation } from "./rotation.js";

const WHY = {
  sibling: "Two children of one parent were presented. A browser has one cookie jar, which keeps one of them; so somebody else holds a copy of it.",
  retired: "A token was presented again although its child had been in use for longer than the grace of {grace} s. A browser that has a child in use holds it, and would present that.",
  ancestor: "A token was presented that the rotation had left behind long ago. A browser’s jar never goes back.",
};

let followed = null;
let feed = null;
let grace = 10;
let latest = null;
let onTheft = () => {};

export function prepareThief(settings, whenDetected) {
  grace = settings.grace;
  onTheft = whenDetected;
  $("steal").addEventListener("click", async () => {
    if ((await fetch("/demo/thief", { method: "POST" })).ok) say("The thief has a copy of your cookies. Nothing shows it yet.");
  });
  for (const id of ["thief-refresh", "again"]) $(id).addEventListener("click", () => act("refresh"));
  for (const id of ["refresh", "reveal"]) $(id).addEventListener("click", () => SuperTokens.attemptRefreshingSession());
  $("thief-call").addEventListener("click", () => act("call"));
}

/** Follow a session's rotation. The feed goes on after the session has ended, so that one sees why. */
export function follow(handle) {
  if (followed === handle) return;
  followed = handle;
  feed?.close();
  latest = null;
  $("verdict").hidden = true;
  say("In any order you like: with “Every second” on, your side refreshes by itself.");
  feed = new EventSource(`/demo/feed/${handle}`);
  feed.onmessage = (event) => show(JSON.parse(event.data));
}

/** Whether this session ended by a theft: its kind, or null. */
export const theftOf = () => latest?.theft ?? null;

async function act(what) {
  const response = await fetch(`/demo/thief/${followed}/${what}`, { method: "POST" });
  const seen = await response.json();
  if (!response.ok) return say(seen.detail, "bad");
  const outcome = seen.message ?? "he has new tokens";
  say(`${seen.method} ${seen.path} → ${seen.status}, ${outcome} (${seen.milliseconds} ms)`, seen.status === 200 ? "ok" : "bad");
}

function show(state) {
  const isNews = state.theft && !latest?.theft;
  latest = state;
  drawRotation($("rotation"), state);
  guide(state);
  for (const id of ["thief-refresh", "again", "thief-call"]) $(id).disabled = !state.holds.thief;
  for (const id of ["steal", "refresh", "reveal"]) $(id).disabled = state.over;
  if (!state.theft) return;
  if (isNews) {
    tell("server", `TokenTheftDetected (${state.theft}): session revoked`, "bad");
    say("He is out too: try his buttons.");
  }
  const who = state.caught === "thief" ? "The thief" : "You";
  $("verdict").replaceChildren(
    h("h3", {}, "Theft detected: both are thrown out"),
    h("p", {}, `${who} presented `, h("code", {}, state.presented ?? "?"), `, and the server answered `,
      h("code", {}, `TokenTheftDetected, kind “${state.theft}”`), `. ${WHY[state.theft]?.replace("{grace}", grace) ?? ""}`),
    h("p", {}, "Who of the two is honest, the server cannot know. So the session is gone for both, and you sign in again. An access token that the thief still holds dies within seconds; routes with ",
      h("code", {}, "check_database=True"), " refuse it at once."),
  );
  $("verdict").hidden = false;
  if (isNews) onTheft();
}

/** Point at the step that comes next. */
function guide(state) {
  const steps = [...$("steps").children];
  const next = state.over ? steps.length : nextStep(state);
  steps.forEach((step, index) => {
    step.dataset.step = index < next ? "done" : index === next ? "next" : "later";
    if (index === next) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  });
}

function nextStep(state) {
  if (!state.holds.thief) return 0;
  const node = (name) => state.nodes.find((one) => one.name === name);
  const [yours, his] = [node(state.holds.you), node(state.holds.thief)];
  if (!his || his.shared) return 1;
  if (!yours || yours.shared) return 2;
  return state.line === his.parent && his.parent !== yours.parent ? 4 : 3;
}

function say(text, kind = "") {
  $("thief-result").textContent = text;
  $("thief-result").dataset.kind = kind;
}
