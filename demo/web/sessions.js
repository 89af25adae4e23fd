// The signed-in user's sessions, with a way to end each of them.
import { $, h } from "./dom.js";

export async function showSessions() {
  const response = await fetch("/api/sessions");
  if (!response.ok) return;
  const sessions = await response.json();
  $("sessions").replaceChildren(...sessions.map(row));
}

function row(one) {
  return h("li", { "data-handle": one.handle, "data-current": one.current },
    h("div", {},
      h("p", {}, h("b", {}, one.device), one.current ? h("span", { class: "badge" }, "this one") : null),
      h("p", { class: "faint" }, `began ${ago(one.created)}, last refresh used ${ago(one.seen)} · `,
        h("code", {}, one.handle.slice(0, 8)))),
    h("button", { type: "button", class: "quiet", onclick: () => end(one.handle) }, "Sign out"));
}

async function end(handle) {
  await fetch(`/api/sessions/${handle}`, { method: "DELETE" });
  await showSessions();
}

function ago(at) {
  const seconds = Math.max(0, Math.round((Date.now() - at) / 1000));
  if (seconds < 2) return "just now";
  if (seconds < 100) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min ago` : `${Math.round(minutes / 60)} h ago`;
}
