"""A browser with the SDK in it, as far as a server can tell: a cookie jar, and the headers of spec/fdi.md 1.7."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

from tests.integrations.exchange import Headers, Reply, check_reply, tokens_of

REFRESH = "/auth/session/refresh"
SIGN_OUT = "/auth/signout"


class Client(Protocol):
    """Sends one request to an app. Each framework's adapter has one."""

    def send(self, method: str, path: str, headers: Headers, body: bytes = b"") -> Reply: ...

    def send_all(self, requests: Iterable[tuple[str, str, Headers]]) -> list[Reply]: ...


class Browser:
    """Keeps what responses give it and sends it back; scans every response on the way."""

    def __init__(
        self,
        client: Client,
        clock: Callable[[], int],
        mode: Literal["cookie", "header"] | None = "cookie",
        *,
        rid: str | None = "anti-csrf",
        sends_anti_csrf: bool = True,
    ) -> None:
        self.client = client
        self.clock = clock
        self.mode = mode
        self.rid = rid
        self.sends_anti_csrf = sends_anti_csrf
        self.jar: dict[tuple[str, str], str] = {}
        self.kept: dict[str, str] = {}
        self.seen: set[str] = set()

    def copy(self) -> "Browser":
        """A thief's: the same jar, on another machine."""
        other = Browser(self.client, self.clock, self.mode, rid=self.rid, sends_anti_csrf=self.sends_anti_csrf)
        other.jar, other.kept, other.seen = dict(self.jar), dict(self.kept), set(self.seen)
        return other

    @property
    def is_signed_in(self) -> bool:
        return "front-token" in self.kept

    @property
    def access_token(self) -> str:
        return self.jar.get(("sAccessToken", "/")) or self.kept["st-access-token"]

    @property
    def refresh_token(self) -> str:
        found = [value for (name, _), value in self.jar.items() if name == "sRefreshToken"]
        return found[0] if found else self.kept["st-refresh-token"]

    def send(self, method: str, path: str, headers: Headers | None = None, body: bytes = b"", **also: Any) -> Reply:
        """One request, with nothing done about a 401. A given header replaces the SDK's own of that name."""
        given = [*(headers or []), *((name.replace("_", "-"), value) for name, value in also.items())]
        names = {name for name, _ in given}
        own = self._own_headers(path, REFRESH in path)
        sent = [*((name, value) for name, value in own if name not in names), *given]
        reply = self.client.send(method, path, sent, body)
        check_reply(reply, self.seen)
        self._keep(reply)
        return reply

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, **headers)

    def post(self, path: str, **headers: str) -> Reply:
        return self.send("POST", path, **headers)

    def sign_in(self, user: str = "ada") -> Reply:
        reply = self.post(f"/login/{user}")
        assert reply.status == 200, reply.body
        return reply

    def refresh(self, **headers: str) -> Reply:
        return self.post(REFRESH, **headers)

    def sign_out(self) -> Reply:
        return self.post(SIGN_OUT)

    def call(self, method: str, path: str) -> Reply:
        """One request as the page makes it: on a 401, refresh once and repeat."""
        reply = self.send(method, path)
        if reply.status == 401 and self.refresh().status == 200:
            return self.send(method, path)
        return reply

    def _own_headers(self, path: str, is_refresh: bool) -> Headers:
        headers: Headers = []
        cookies = [f"{name}={value}" for (name, at), value in self.jar.items() if _covers(at, path)]
        if cookies:
            # The SDK's own cookies come along too, where page and API share a host (spec/fdi.md 1.3).
            headers.append(("cookie", "; ".join([*cookies, "sFrontToken=x", "st-last-access-token-update=1"])))
        if self.mode is not None:
            headers.append(("st-auth-mode", self.mode))
        if self.rid is not None:
            headers.append(("rid", "session" if is_refresh else self.rid))
        if self.sends_anti_csrf and "anti-csrf" in self.kept:
            headers.append(("anti-csrf", self.kept["anti-csrf"]))
        bearer = self.kept.get("st-refresh-token" if is_refresh else "st-access-token")
        if bearer:
            headers.append(("authorization", f"Bearer {bearer}"))
        return headers

    def _keep(self, reply: Reply) -> None:
        self.seen |= tokens_of(reply)
        for cookie in reply.cookies.values():
            place = (cookie.name, cookie.path)
            if cookie.expires_at <= self.clock():
                self.jar.pop(place, None)
            else:
                self.jar[place] = cookie.value
        self.kept.update(reply.session_headers)
        self.kept = {name: value for name, value in self.kept.items() if value}
        if reply.header("front-token") == "remove":
            self.kept.clear()


def _covers(cookie_path: str, path: str) -> bool:
    """RFC 6265 section 5.1.4."""
    return path == cookie_path or path.startswith(cookie_path.rstrip("/") + "/")
