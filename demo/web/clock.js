// How much of the access token is left, as a tally stick that loses a notch each second.
import { $, h } from "./dom.js";

let lifetime = 5;

export function makeClock(seconds) {
  lifetime = seconds;
  const notches = Array.from({ length: Math.max(1, Math.round(seconds)) }, () => h("i"));
  $("tally").replaceChildren(...notches);
}

/** Draw what is left until `expiresAt`, ms since the epoch. */
export function drawClock(expiresAt) {
  const left = Math.max(0, (expiresAt - Date.now()) / 1000);
  const notches = [...$("tally").children];
  const each = lifetime / notches.length;
  notches.forEach((notch, index) => {
    const filled = Math.min(1, Math.max(0, left / each - index));
    notch.style.setProperty("--left", filled.toFixed(3));
  });
  const phase = left === 0 ? "over" : left < lifetime * 0.3 ? "low" : "fresh";
  const clock = $("clock");
  if (clock.dataset.phase !== phase) {
    clock.dataset.phase = phase;
    $("clock-label").textContent = phase === "over" ? "Run out: the next call refreshes it" : "Access token is good for";
  }
  $("seconds").textContent = left.toFixed(1);
}
