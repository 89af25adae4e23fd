// The rotation as a drawing: time runs to the right, your tokens above, the thief's below.
import { s } from "./dom.js";

const STEP = 112;
const LANE = 62;
const LEFT = 58;
const MIDDLE = 126;

export function drawRotation(place, state) {
  const spots = lay(state);
  const width = Math.max(...spots.values().map((spot) => spot.x), 0) + LEFT + 12;
  const svg = s("svg", { viewBox: `0 0 ${width} ${MIDDLE * 2}`, width, height: MIDDLE * 2, "aria-hidden": true });
  for (const node of state.nodes) {
    const parent = spots.get(node.parent);
    if (parent) svg.append(edge(parent, spots.get(node.name), node.owner));
  }
  for (const node of state.nodes) svg.append(mark(node, spots.get(node.name), state));
  const hadMore = place.firstElementChild?.getAttribute("width");
  place.replaceChildren(svg);
  place.setAttribute("aria-label", describe(state));
  if (hadMore !== String(width)) place.scrollLeft = place.scrollWidth;
}

/** Where each token stands: a column for each generation, a lane for each owner, siblings further out. */
function lay(state) {
  const spots = new Map();
  const taken = new Map();
  const hasThief = state.nodes.some((node) => node.owner === "thief" || node.shared);
  for (const node of state.nodes) {
    const depth = spots.has(node.parent) ? spots.get(node.parent).depth + 1 : 0;
    const side = node.owner === "thief" ? 1 : -1;
    const key = `${depth}/${side}`;
    const nth = taken.get(key) ?? 0;
    taken.set(key, nth + 1);
    const isSpine = node.shared || !hasThief || !afterCopy(node, state);
    const y = isSpine && nth === 0 ? MIDDLE : MIDDLE + side * Math.min(LANE + nth * 26, MIDDLE - 34);
    spots.set(node.name, { x: LEFT + depth * STEP, y, depth });
  }
  return spots;
}

/** Whether a token was handed out after the jar was copied. */
function afterCopy(node, state) {
  const copied = state.nodes.findIndex((one) => one.shared);
  return copied >= 0 && state.nodes.indexOf(node) > copied;
}

function edge(from, to, owner) {
  const middle = (from.x + to.x) / 2;
  const d = `M${from.x} ${from.y} C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`;
  return s("path", { d, class: `edge ${owner}` });
}

function mark(node, { x, y }, state) {
  const isLine = state.line === node.name;
  const isCaught = state.theft && state.presented === node.name;
  const classes = ["node", node.shared ? "both" : node.owner];
  if (isLine) classes.push("is-line");
  if (node.used) classes.push("is-used");
  if (isCaught) classes.push("is-caught");
  const group = s("g", { class: classes.join(" "), transform: `translate(${x} ${y})` });
  if (isLine || isCaught) group.append(s("circle", { r: 23, class: "halo" }));
  if (node.shared) {
    group.append(s("path", { d: "M-13 0a13 13 0 0 1 26 0z", class: "upper" }));
    group.append(s("path", { d: "M-13 0 0 13 13 0z", class: "lower" }));
  } else if (node.owner === "thief") group.append(s("path", { d: "M0-15 15 0 0 15-15 0z", class: "body" }));
  else group.append(s("circle", { r: 13, class: "body" }));
  if (isCaught) group.append(s("path", { d: "M-5-5 5 5M5-5-5 5", class: "cross" }));
  group.append(s("text", { y: 41 }, node.name));
  const held = Object.entries(state.holds).filter(([, name]) => name === node.name).map(([actor]) => actor);
  if (held.length && !state.over) {
    const holder = held.length > 1 ? "both" : held[0];
    group.append(s("text", { y: -31, class: `holder ${holder}` }, { you: "you hold", thief: "thief holds", both: "both hold" }[holder]));
  }
  return group;
}

function describe(state) {
  const holders = Object.entries(state.holds).map(([actor, name]) => `${actor === "you" ? "you hold" : "the thief holds"} ${name}`);
  const verdict = state.theft ? ` Theft detected: ${state.theft}.` : "";
  return `${state.nodes.length} refresh tokens; the line is ${state.line}; ${holders.join("; ")}.${verdict}`;
}
