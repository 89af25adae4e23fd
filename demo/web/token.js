// The front token is the SDK's own cookie: user, expiry and claims, readable and no proof of anything. An app asks the
// SDK for them (`getAccessTokenPayloadSecurely`); that would refresh first, and this page wants to watch the token die.

/** `{ uid, ate, up }` of the present session, or null. */
export function readFrontToken() {
  const found = document.cookie.split("; ").find((pair) => pair.startsWith("sFrontToken="));
  if (!found) return null;
  const bytes = Uint8Array.from(atob(decodeURIComponent(found.slice("sFrontToken=".length))), (c) => c.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

/** The names of the cookies that scripts can see. */
export function visibleCookies() {
  return document.cookie.split("; ").filter(Boolean).map((pair) => pair.split("=")[0]);
}
