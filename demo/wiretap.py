"""Demo only: listens to every answer of the app and writes down the tokens in it.

This is what a thief would need to achieve, and what no app should ever do: the refresh token's cookie is HttpOnly and
goes to one path only, so neither a script in the page nor the app's own routes see it. The demo needs it to lend the
thief a copy of your jar, and to draw the rotation. Tokens stay in this process; the page gets short names for them.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any, Literal, TypeAlias

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick import AsyncSessions, ClientInfo, CreatedSession, TokenTheftDetected

Actor: TypeAlias = Literal["you", "thief"]

THIEF_AGENT = "the thief"
"""The User-Agent by which the thief's requests are told from yours."""
NODES_KEPT = 24


@dataclass
class Jar:
    """What one actor holds."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


@dataclass
class Node:
    """One refresh token, under a short name."""

    name: str
    parent: str | None
    owner: Actor
    shared: bool = False
    """Both hold it: it was in the jar that was copied."""
    used: bool = False
    """The access token that came with it has been used."""


@dataclass
class Watched:
    """One session, as the wire shows it."""

    handle: str
    jars: dict[Actor, Jar] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    line: str | None = None
    presented: str | None = None
    """What gave the theft away."""
    theft: str | None = None
    """Which kind of reuse."""
    caught: Actor | None = None
    """Who presented it."""
    is_over: bool = False
    last: dict[Actor, str] = field(default_factory=dict)
    is_closing: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def steal(self) -> Jar:
        """Copy your jar."""
        mine = self.jars["you"]
        self.nodes[name_token(mine.refresh_token)].shared = True
        self.jars["thief"] = Jar(mine.access_token, mine.refresh_token)
        self.last = {"thief": "has a copy of your cookies"}
        self.tell()
        return self.jars["thief"]

    def issue(self, actor: Actor, parent: str | None, given: dict[str, str]) -> None:
        """A sign-in or a refresh was answered with new tokens."""
        jar = self.jars[actor] = Jar(given["sAccessToken"], given["sRefreshToken"])
        name = name_token(jar.refresh_token)
        self.nodes[name] = Node(name, parent, actor)
        self.line = parent or name
        self.last[actor] = f"refreshed with {parent} and got {name}" if parent else "signed in"
        for old in list(self.nodes)[:-NODES_KEPT]:
            del self.nodes[old]

    def use(self, actor: Actor, given: dict[str, str]) -> None:
        """The first use of an access token: it was replaced by one without its parent's mark."""
        jar = self.jars[actor]
        jar.access_token = given["sAccessToken"]
        if node := self.nodes.get(name_token(jar.refresh_token)):
            node.used = True

    def end(self, actor: Actor, presented: str | None) -> None:
        self.is_over = True
        if self.theft is not None and self.caught is None:
            self.caught, self.presented = actor, presented

    def describe(self) -> dict[str, Any]:
        """Everything that the page draws."""
        return {
            "nodes": [vars(node) for node in self.nodes.values()],
            "holds": {actor: name_token(jar.refresh_token) for actor, jar in self.jars.items()},
            "line": self.line,
            "presented": self.presented,
            "theft": self.theft,
            "caught": self.caught,
            "over": self.is_over,
            "last": self.last,
        }

    def tell(self) -> None:
        """Wake everyone who follows."""
        woken, self._changed = self._changed, asyncio.Event()
        woken.set()

    async def follow(self) -> AsyncIterator[str]:
        """The description now and after each change, as server-sent events."""
        while not self.is_closing:
            changed = self._changed
            yield f"data: {json.dumps(self.describe())}\n\n"
            await changed.wait()


class Wiretap:
    """All sessions since the demo was started."""

    def __init__(self) -> None:
        self.sessions: dict[str, Watched] = {}
        self._handles: dict[str, str] = {}

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Stands around the session middleware, so that it hears what the network would."""

        async def tapped(scope: Scope, receive: Receive, send: Send) -> None:
            async def listen(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._hear(HTTPConnection(scope), message["status"], Headers(raw=message["headers"]))
                await send(message)

            await app(scope, receive, listen if scope["type"] == "http" else send)

        return tapped

    def report_theft(self, handle: str, kind: str) -> None:
        if handle in self.sessions:
            self.sessions[handle].theft = kind

    def close(self) -> None:
        """Let every follower go."""
        for watched in self.sessions.values():
            watched.is_closing = True
            watched.tell()

    def _hear(self, request: HTTPConnection, status: int, answer: Headers) -> None:
        actor: Actor = "thief" if request.headers.get("user-agent") == THIEF_AGENT else "you"
        given = read_set_cookies(answer)
        brought = request.cookies.get("sRefreshToken")
        presented = name_token(brought) if brought else None
        watched = self._find(answer.get("front-token"), presented)
        if watched is None:
            return
        if given.get("sRefreshToken"):
            watched.issue(actor, presented, given)
            self._handles[name_token(given["sRefreshToken"])] = watched.handle
        elif given.get("sAccessToken"):
            watched.use(actor, given)
        elif status == 401 and presented:
            watched.end(actor, presented)
        else:
            return
        watched.tell()

    def _find(self, front_token: str | None, presented: str | None) -> Watched | None:
        if front_token is not None and front_token != "remove":
            handle: str = json.loads(base64.b64decode(front_token))["up"]["sessionHandle"]
            return self.sessions.setdefault(handle, Watched(handle))
        known = self._handles.get(presented or "")
        return None if known is None else self.sessions[known]


class TappedSessions(AsyncSessions):
    """Sessions that tell the wiretap of a theft. An app would alert its user in the same place."""

    def __init__(self, wiretap: Wiretap, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - handed on as they are
        super().__init__(*args, **settings)
        self._wiretap = wiretap

    async def refresh_session(
        self,
        refresh_token: str,
        anti_csrf_token: str | None = None,
        *,
        enable_anti_csrf: bool | None = None,
        client: ClientInfo | None = None,
    ) -> CreatedSession:
        try:
            return await super().refresh_session(
                refresh_token, anti_csrf_token, enable_anti_csrf=enable_anti_csrf, client=client
            )
        except TokenTheftDetected as theft:
            self._wiretap.report_theft(theft.session_handle, theft.reason)
            raise


def name_token(token: str) -> str:
    """A short name for a token, from which the token cannot be told."""
    return hashlib.sha256(token.encode()).hexdigest()[:4]


def read_set_cookies(headers: Headers) -> dict[str, str]:
    """The cookies that an answer sets, by name."""
    cookies: SimpleCookie = SimpleCookie()
    for line in headers.getlist("set-cookie"):
        cookies.load(line)
    return {name: morsel.value for name, morsel in cookies.items()}
