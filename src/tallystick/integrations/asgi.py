"""Sessions in any ASGI app: Starlette, FastAPI, Litestar, Quart, Falcon, or none of them.

::

    app = SessionMiddleware(app, sessions=AsyncSessions("sqlite:///sessions.db"))

    session = await get_session(scope)      # or a framework's own request, if that has its scope in .scope

The middleware answers ``POST /auth/session/refresh``, ``POST /auth/signout`` and ``GET /auth/jwt/jwks.json`` itself,
makes the changes to every other response that its session asks for, and turns :class:`SessionError` into the right
answer.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    MutableMapping,
    Sequence,
)
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar, overload

from tallystick.aio import AsyncSessions
from tallystick.config import PUBLIC, FeedSilence
from tallystick.errors import GeneralError, SessionError
from tallystick.integrations.streams import Connection, end_with
from tallystick.integrations.watching import Watches
from tallystick.protocol.claims import OverrideValidators, SessionClaim, SessionClaimValidator
from tallystick.transport.changes import NO_CHANGES, Changes
from tallystick.transport.cors import get_all_cors_headers, get_cors_expose_headers
from tallystick.transport.decisions import Answer
from tallystick.transport.dialogue import Dialogue, Question, check_sessions, hold_async
from tallystick.transport.exchange import Exchange, OfRequest
from tallystick.transport.routes import Routes
from tallystick.transport.session import Held, SessionContent, create, verify
from tallystick.transport.streams import check_origin
from tallystick.transport.usual import UsualRequests
from tallystick.types import Json

__all__ = [
    "Session",
    "SessionMiddleware",
    "answer_error",
    "create_new_session",
    "get_all_cors_headers",
    "get_cors_expose_headers",
    "get_session",
    "until_session_ends",
]

T = TypeVar("T")
V = TypeVar("V")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
_RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

_SCOPE_KEY: Final = "tallystick"
_CREDENTIALS: Final = (b"cookie", b"authorization")


class HasScope(Protocol):
    """A framework's request."""

    @property
    def scope(self) -> Scope:
        """The ASGI scope that it was made of."""
        ...


class ScopeRequest(OfRequest):
    """A request as transport sees it. Headers are looked up, not parsed: most routes need none."""

    _scope: Scope

    @property
    def method(self) -> str:
        # A WebSocket begins as a GET, and its scope does not say so.
        method: str = self._scope.get("method", "GET")
        return method

    @property
    def path(self) -> str:
        path: str = self._scope["path"]
        root: str = self._scope.get("root_path", "")
        return path[len(root) :] if root and path.startswith(f"{root}/") else path

    @property
    def is_https(self) -> bool:
        return self._scope.get("scheme") in ("https", "wss")

    @property
    def address(self) -> str | None:
        client: tuple[str, int] | None = self._scope.get("client")
        return client[0] if client else None

    def header(self, name: str) -> str | None:
        wanted, found = name.encode("ascii"), None
        for key, value in self._scope["headers"]:
            if key == wanted:
                if found is None:
                    found = value
                elif name == "cookie":  # HTTP/2 may split it (RFC 9113 section 8.2.3)
                    found += b"; " + value
        return None if found is None else found.decode("latin-1")

    def credentials(self) -> tuple[str | None, str | None]:
        cookie = authorization = None
        for key, value in self._scope["headers"]:
            if key in _CREDENTIALS:
                text = value.decode("latin-1")
                if key == b"cookie":
                    cookie = text if cookie is None else f"{cookie}; {text}"  # as above
                elif authorization is None:
                    authorization = text
        return cookie, authorization


OVER: Final = ScopeRequest({"path": "", "headers": ()})
"""In the place of a request that has had its answer: whatever its session does from now on, no response will tell."""


class Session(SessionContent):
    """The session of one request. What only looks at the token answers at once; what needs the store is awaited and
    raises :class:`Unauthorised` where the session has ended meanwhile."""

    _slot: Slot

    async def revoke_session(self) -> None:
        """End the session and take the client's tokens away."""
        await self._slot.hold(self._end())

    async def get_session_data_from_database(self) -> Json:
        """The session's data."""
        return (await self._slot.hold(self._inform())).session_data

    async def get_time_created(self) -> int:
        """When the session was created, in ms since the epoch."""
        return (await self._slot.hold(self._inform())).time_created

    async def get_expiry(self) -> int:
        """When the session ends unless it is used, in ms since the epoch."""
        return (await self._slot.hold(self._inform())).expiry

    async def update_session_data_in_database(self, data: Mapping[str, Any]) -> None:
        """Replace the session's data, whole."""
        await self._slot.hold(self._update_data(data))

    async def fetch_and_set_claim(self, claim: SessionClaim[Any]) -> None:
        """Fetch a claim and put it into the payload. As with all that changes the payload, the response carries a token
        that shows it."""
        await self._slot.hold(self._fetch_and_set(claim))

    async def set_claim_value(self, claim: SessionClaim[V], value: V) -> None:
        """Put a claim's value into the payload."""
        await self._slot.hold(self._set(claim, value))

    async def remove_claim(self, claim: SessionClaim[Any]) -> None:
        """Take a claim out of the payload."""
        await self._slot.hold(self._remove(claim))

    async def assert_claims(self, validators: Sequence[SessionClaimValidator]) -> None:
        """Check claims, after those that are missing or too old were fetched. Raises :class:`InvalidClaims`."""
        await self._slot.hold(self._assert(validators))

    async def merge_into_access_token_payload(self, update: Mapping[str, Any]) -> None:
        """Merge into the top level of the JWT payload; a null value removes a key. The client gets a token that shows
        it with this response (unless its token has expired meanwhile: then with the next refresh)."""
        await self._slot.hold(self._merge(update))


class Slot(OfRequest):
    """What a middleware leaves with the request for the app's own code: how to ask the sessions on its behalf."""

    exchange: Exchange
    _usual: UsualRequests
    _answer: Callable[[Question], Awaitable[Any]]
    watches: Watches | None

    async def hold(self, dialogue: Dialogue[T]) -> T:
        """Ask what ``dialogue`` asks."""
        return await hold_async(self.exchange, dialogue, self._answer)

    async def create_new_session(
        self,
        user_id: str,
        jwt_payload: Mapping[str, Any] | None,
        session_data: Mapping[str, Any] | None,
        tenant_id: str,
    ) -> Session:
        """See :func:`create_new_session`."""
        held = await self.hold(create(self.exchange, user_id, jwt_payload, session_data, tenant_id))
        return Session(self.exchange, held, self)

    def find_session(
        self, anti_csrf_check: bool | None, check_database: bool, override: OverrideValidators | None
    ) -> Session | None:
        """The session of a usual request, for which nothing is awaited; None where it takes :meth:`ask_for_session`."""
        if check_database or override is not None:
            return None
        return self.session_of(self._usual.verify(self.exchange, anti_csrf_check))

    async def ask_for_session(
        self,
        session_required: bool,
        anti_csrf_check: bool | None,
        check_database: bool,
        override: OverrideValidators | None,
        silence: FeedSilence | None,
    ) -> Session | None:
        """See :func:`get_session`."""
        return self.session_of(
            await self.hold(verify(self.exchange, session_required, anti_csrf_check, check_database, override, silence))
        )

    async def get_session(
        self,
        session_required: bool,
        anti_csrf_check: bool | None,
        check_database: bool,
        override: OverrideValidators | None,
        silence: FeedSilence | None,
    ) -> Session | None:
        """Both."""
        session = self.find_session(anti_csrf_check, check_database, override)
        if session is None:
            session = await self.ask_for_session(session_required, anti_csrf_check, check_database, override, silence)
        return session

    def session_of(self, held: Held | None) -> Session | None:
        """What a request's code sees of what the request holds."""
        return None if held is None else Session(self.exchange, held, self)


class WebSocketSlot(Slot):
    """The same for a WebSocket, which is watched from the moment that its session is known."""

    _connection: Connection

    def find_session(
        self, anti_csrf_check: bool | None, check_database: bool, override: OverrideValidators | None
    ) -> Session | None:
        """See :meth:`Slot.find_session`."""
        check_origin(self.exchange)
        return self._watch(super().find_session(False, check_database, override))

    async def ask_for_session(
        self,
        session_required: bool,
        anti_csrf_check: bool | None,
        check_database: bool,
        override: OverrideValidators | None,
        silence: FeedSilence | None,
    ) -> Session | None:
        """See :func:`get_session`."""
        return self._watch(await super().ask_for_session(session_required, False, check_database, override, silence))

    def _watch(self, session: Session | None) -> Session | None:
        if session is not None:
            self._connection.watch(session.get_handle())
        return session


class Ticket(OfRequest):
    """What the middleware leaves with each request. There is no slot before the app's code asks for one: most routes
    need none."""

    _middleware: SessionMiddleware
    slot: Slot | None = None

    def open(self, scope: Scope) -> Slot:
        """The slot, made now if need be."""
        if self.slot is None:
            self.slot = self._middleware.make_slot(scope)
        return self.slot

    def close(self) -> None:
        """The request is over. A scope has the session, which would have its request, which has the scope: each request
        would leave a ring to the garbage collector."""
        if self.slot is not None:
            self.slot.exchange.request = OVER
            self.slot = None


class SessionMiddleware:
    """Pure ASGI middleware. Add the CORS layer after it, so that its own answers get CORS headers too."""

    def __init__(self, app: ASGIApp, sessions: AsyncSessions) -> None:
        self.app = app
        self.sessions = check_sessions(sessions, AsyncSessions, type(self).__name__)
        self.routes = Routes(sessions.config)
        self._config = sessions.config
        self._usual = UsualRequests(self.sessions)
        self._watches = Watches(self.sessions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one WebSocket."""
        if scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        ticket = scope[_SCOPE_KEY] = Ticket(self)
        has_started = False

        def send_changed(message: Message) -> Awaitable[None]:  # no coroutine of its own, as the server's is one
            nonlocal has_started
            if not has_started and message["type"] == "http.response.start":
                has_started = True
                slot = ticket.slot
                if slot is not None and slot.exchange.changes is not NO_CHANGES:
                    message["headers"] = _change(message.get("headers", ()), slot.exchange.changes)
            return send(message)

        # In front of it may stand what the app is mounted at.
        route = self.routes.find(ScopeRequest(scope)) if self.routes.prefix in scope["path"] else None
        try:
            if route is None:
                await self.app(scope, receive, send_changed)
            else:
                slot = ticket.open(scope)
                await _respond(await slot.hold(route(slot.exchange)), send_changed)
        except SessionError as error:
            if has_started:
                raise
            await _respond(ticket.open(scope).exchange.answer(error), send_changed)
        finally:
            ticket.close()

    def make_slot(self, scope: Scope) -> Slot:
        """A slot for a request."""
        return Slot(Exchange(ScopeRequest(scope), self._config), self._usual, self._answer, self._watches)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(ScopeRequest(scope), self._config)

        def change_headers(message: Message) -> None:
            if exchange.changes:
                message["headers"] = _change(message.get("headers", ()), exchange.changes)

        connection = Connection(exchange, self._watches, receive, send, change_headers)
        slot = WebSocketSlot(exchange, self._usual, self._answer, self._watches, connection)
        scope[_SCOPE_KEY] = Ticket(self, slot)
        try:
            await self.app(scope, connection.receive, connection.send)
        except SessionError as error:
            await connection.refuse(error)
        finally:
            await connection.release()

    async def _answer(self, question: Question) -> Any:  # noqa: ANN401 - as the question has it
        return await question.put_to(self.sessions)


async def create_new_session(
    request: HasScope | Scope,
    user_id: str,
    jwt_payload: Mapping[str, Any] | None = None,
    session_data: Mapping[str, Any] | None = None,
    *,
    tenant_id: str = PUBLIC,
) -> Session:
    """Sign a user in whom the app has just authenticated. The response to ``request`` carries the tokens. The session
    that the client has had before ends: whatever was planted or copied of it is worth nothing any more."""
    scope = _scope(request)
    return _remember(scope, await _slot(scope).create_new_session(user_id, jwt_payload, session_data, tenant_id))


@overload
async def get_session(
    request: HasScope | Scope,
    session_required: Literal[True] = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session: ...


@overload
async def get_session(
    request: HasScope | Scope,
    session_required: bool,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session | None: ...


async def get_session(
    request: HasScope | Scope,
    session_required: bool = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session | None:
    """The verified session of a request; None where there is none and ``session_required`` is false.

    ``anti_csrf_check`` None checks all methods but GET. ``check_database`` asks the store whether the session still is.
    ``override_global_claim_validators`` makes this route's claim validators of the sessions' own and the session.
    ``on_feed_silence`` is the setting of that name, for this route. Raises :class:`Unauthorised`,
    :class:`TryRefreshToken` or :class:`InvalidClaims`, which the middleware answers.
    """
    scope = _scope(request)
    slot = _slot(scope)
    session = slot.find_session(anti_csrf_check, check_database, override_global_claim_validators)
    if session is None:
        session = await slot.ask_for_session(
            session_required, anti_csrf_check, check_database, override_global_claim_validators, on_feed_silence
        )
    return _remember(scope, session)


def until_session_ends(request: HasScope | Scope, events: AsyncIterable[T]) -> AsyncIterator[T]:
    """What ``events`` has, until it ends or the request's session does: revoked or over, as the store says every
    ``stream_check_interval``. For event streams and other long answers; WebSockets are watched without it.

    Raises :class:`GeneralError` (``not_verified``) where :func:`get_session` has not found one before.
    """
    scope = _scope(request)
    watches, session = _slot(scope).watches, scope.get("state", {}).get("session")
    if watches is None or not isinstance(session, Session):
        raise GeneralError("get_session has found no session of this request to watch", reason="not_verified")
    return end_with(watches, session.get_handle(), events)


def answer_error(request: HasScope | Scope, error: SessionError) -> Answer:
    """What the middleware would answer: ``status``, ``all_headers`` and ``content``. For the error handlers of
    frameworks that let no exception through to it."""
    return _slot(_scope(request)).exchange.answer(error)


def _scope(request: HasScope | Scope) -> Scope:
    # Not by its type: a Starlette request is a mapping too.
    given: Any = request
    scope: Scope = getattr(given, "scope", given)
    return scope


def _slot(scope: Scope) -> Slot:
    ticket = scope.get(_SCOPE_KEY)
    if not isinstance(ticket, Ticket):
        raise GeneralError(
            "there is no SessionMiddleware around this route: app.add_middleware(SessionMiddleware, sessions=...), "
            "or app = SessionMiddleware(app, sessions=...)",
            reason="no_middleware",
        )
    return ticket.slot or ticket.open(scope)


def _remember(scope: Scope, session: T) -> T:
    """Leave the session where the app's other code finds it, ``request.state.session`` in Starlette; None too, so that
    nothing has to ask whether it is set (P-41)."""
    scope.setdefault("state", {})["session"] = session
    return session


def _change(headers: Iterable[tuple[bytes, bytes]], changes: Changes) -> _RawHeaders:
    return _encode(changes.apply_to((key.decode("latin-1"), value.decode("latin-1")) for key, value in headers))


def _encode(headers: Iterable[tuple[str, str]]) -> _RawHeaders:
    return [(key.encode("latin-1"), value.encode("latin-1")) for key, value in headers]


async def _respond(answer: Answer, send: Send) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": _encode(answer.all_headers)})
    await send({"type": "http.response.body", "body": answer.content})
