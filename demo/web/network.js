// The log shows what really goes over the wire: it wraps `window.fetch` before the SDK does, so it stands below it.
import { $, h } from "./dom.js";
import { readFrontToken } from "./token.js";

const LIMIT = 200;
const entries = [];

export function watchNetwork() {
  const below = window.fetch.bind(window);
  window.fetch = async (input, init) => {
    const url = new URL(typeof input === "string" ? input : input.url, location.href);
    const method = (init?.method ?? input.method ?? "GET").toUpperCase();
    if (url.pathname.startsWith("/demo/") || url.pathname === "/api/settings") return below(input, init);
    const row = begin(method, url.pathname);
    const started = performance.now();
    try {
      const response = await below(input, init);
      finish(row, response, performance.now() - started);
      return response;
    } catch (error) {
      row.status.textContent = "failed";
      row.item.dataset.kind = "bad";
      throw error;
    }
  };
  $("clear").addEventListener("click", () => {
    entries.length = 0;
    $("log").replaceChildren();
  });
}

/** A line that is no request: what the SDK or the server says. */
export function tell(who, text, kind = "event") {
  const words = [h("span", { class: "who-says" }, who), h("span", { class: "path" }, text)];
  append(h("li", { "data-kind": kind }, time(), ...words));
}

function begin(method, path) {
  const isRefresh = path.endsWith("/session/refresh");
  const [refused, refresh] = entries.slice(-2);
  const isRetry = refresh?.isRefresh && refresh.code === 200 && refused.path === path && refused.code === 401;
  const row = { method, path, isRefresh, isRetry, code: null, hadSession: readFrontToken() !== null };
  row.status = h("span", { class: "status" }, "…");
  row.took = h("span", { class: "took" });
  row.note = h("span", { class: "note" }, isRetry ? "repeated by the SDK" : isRefresh ? "sent by the SDK" : "");
  row.item = h("li", { "data-kind": "pending", "data-path": path, "data-refresh": isRefresh, "data-retry": isRetry },
    time(), row.status, h("span", { class: "method" }, method), h("span", { class: "path" }, path), row.took, row.note);
  entries.push(row);
  entries.splice(0, entries.length - LIMIT);
  append(row.item);
  return row;
}

function finish(row, response, milliseconds) {
  row.code = response.status;
  row.status.textContent = String(response.status);
  row.took.textContent = `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
  row.item.dataset.kind = response.ok ? "ok" : response.status === 401 ? "expired" : "bad";
  row.item.dataset.status = response.status;
  const front = response.headers.get("front-token");
  const said = row.note.textContent;
  row.note.textContent = [said, explain(row, response, front)].filter(Boolean).join(" · ");
}

function explain(row, response, front) {
  if (front === "remove" && row.isRefresh && !row.hadSession) return "nobody is signed in here";
  if (front === "remove") return "the browser lets go of its tokens";
  if (front && row.isRefresh) return "new access and refresh token";
  if (front && row.path.startsWith("/api/sign-in")) return "first tokens";
  if (front) return "first use: the access token is replaced";
  if (response.status === 401 && !row.isRefresh) return "the access token has run out";
  return "";
}

function time() {
  const now = new Date();
  const text = now.toTimeString().slice(3, 8) + "." + Math.floor(now.getMilliseconds() / 100);
  return h("time", { datetime: now.toISOString() }, text);
}

function append(item) {
  const log = $("log");
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  log.append(item);
  while (log.childElementCount > LIMIT) log.firstElementChild.remove();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}
