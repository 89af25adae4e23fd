"""Sessions in a Starlette app, and in any other that is built on Starlette.

::

    app.add_middleware(SessionMiddleware, sessions=AsyncSessions("sqlite:///sessions.db"))
    app.add_middleware(CORSMiddleware, ...)   # added after it, so that it stands outside

The middleware answers ``POST /auth/session/refresh``, ``POST /auth/signout`` and ``GET /auth/jwt/jwks.json`` itself,
makes the changes to every other response that its session asks for, and turns :class:`SessionError` into the right
answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from logging import getLogger
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.aio import AsyncSessions
from tallystick.config import PUBLIC
from tallystick.errors import GeneralError, SessionError
from tallystick.protocol.claims import OverrideValidators
from tallystick.transport.changes import Changes
from tallystick.transport.claims import AsyncClaims, ignore_claims
from tallystick.transport.cors import get_all_cors_headers, get_cors_expose_headers
from tallystick.transport.decisions import (
    Answer,
    add_issuer,
    decide_creation,
    decide_refresh,
    decide_verification,
)
from tallystick.transport.exchange import Exchange
from tallystick.transport.request import identify_client
from tallystick.transport.session import gone, hand_over_created, hand_over_found
from tallystick.types import Json, SessionInformation

__all__ = [
    "Session",
    "SessionMiddleware",
    "create_new_session",
    "get_all_cors_headers",
    "get_cors_expose_headers",
    "get_session",
]

T = TypeVar("T")

_SCOPE_KEY: Final = "tallystick"
_logger = getLogger("tallystick")
_RawHeaders: TypeAlias = list[tuple[bytes, bytes]]


class _ScopeRequest:
    """A request as transport sees it. Headers are looked up, not parsed: most routes need none."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def method(self) -> str:
        method: str = self._scope["method"]
        return method

    @property
    def is_https(self) -> bool:
        return bool(self._scope.get("scheme") == "https")

    @property
    def address(self) -> str | None:
        client: tuple[str, int] | None = self._scope.get("client")
        return client[0] if client else None

    def header(self, name: str) -> str | None:
        wanted = name.encode("ascii")
        values = [value for key, value in self._scope["headers"] if key == wanted]
        if not values:
            return None
        # HTTP/2 may split the Cookie header (RFC 9113 section 8.2.3).
        return (b"; ".join(values) if name == "cookie" else values[0]).decode("latin-1")


class _Slot:
    """What the middleware leaves in the scope for the request's own code."""

    __slots__ = ("exchange", "sessions")

    def __init__(self, sessions: AsyncSessions, scope: Scope) -> None:
        self.sessions = sessions
        self.exchange = Exchange(_ScopeRequest(scope), sessions.config)


class Session(AsyncClaims):
    """The session of one request. What only looks at the token answers at once; what needs the store is awaited and
    raises :class:`Unauthorised` where the session has ended meanwhile."""

    async def revoke_session(self) -> None:
        """End the session and take the client's tokens away."""
        await self._sessions.revoke_session(self.get_handle())
        self._clear()

    async def get_session_data_from_database(self) -> Json:
        """The session's data."""
        return (await self._information()).session_data

    async def get_time_created(self) -> int:
        """When the session was created, in ms since the epoch."""
        return (await self._information()).time_created

    async def get_expiry(self) -> int:
        """When the session ends unless it is used, in ms since the epoch."""
        return (await self._information()).expiry

    async def update_session_data_in_database(self, data: Mapping[str, Any]) -> None:
        """Replace the session's data, whole."""
        if not await self._noting(self._sessions.update_session_data(self.get_handle(), data)):
            await self._noting(_raise_gone())

    async def merge_into_access_token_payload(self, update: Mapping[str, Any]) -> None:
        """Merge into the top level of the JWT payload; a null value removes a key. The client gets a token that shows
        it with this response (unless its token has expired meanwhile: then with the next refresh)."""
        if not await self._noting(self._sessions.merge_into_jwt_payload(self.get_handle(), update)):
            await self._noting(_raise_gone())
        self._take(await self._noting(self._sessions.regenerate_access_token(self.get_access_token())))

    async def _information(self) -> SessionInformation:
        found = await self._noting(self._sessions.get_session_information(self.get_handle()))
        return found if found is not None else await self._noting(_raise_gone())

    async def _noting(self, call: Awaitable[T]) -> T:
        return await _noting(self._exchange, call)


class SessionMiddleware:
    """Pure ASGI middleware. Add the CORS layer after it, so that its own answers get CORS headers too."""

    def __init__(self, app: ASGIApp, sessions: AsyncSessions) -> None:
        if not isinstance(sessions, AsyncSessions):
            raise GeneralError(
                f"SessionMiddleware needs AsyncSessions, not {type(sessions).__name__}: "
                "from tallystick import AsyncSessions. It takes the same arguments",
                reason="bad_config",
            )
        self.app = app
        self.sessions = sessions
        auth = sessions.config.auth_path
        self._routes: dict[tuple[str, str], Callable[[_Slot], Awaitable[Answer]]] = {
            ("POST", sessions.config.refresh_path): _answer_refresh,
            ("POST", f"{auth}/signout"): _answer_sign_out,
            ("GET", f"{auth}/jwt/jwks.json"): _answer_jwks,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        slot = _Slot(self.sessions, scope)
        scope[_SCOPE_KEY] = slot
        has_started = False

        async def send_changed(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                changes = slot.exchange.changes
                if changes:
                    message["headers"] = _change(message.get("headers", ()), changes)
            await send(message)

        route = self._routes.get((scope["method"], _path(scope)))
        try:
            if route is None:
                await self.app(scope, receive, send_changed)
                return
            answer = await route(slot)
        except SessionError as error:
            if has_started:
                raise
            answer = slot.exchange.note(error)
            if answer.status >= 500:
                # The path in quotes: whoever asks may have put a line's end into it.
                _logger.exception("%s %r failed: %s", scope["method"], scope["path"], error.reason)
        await _respond(answer)(scope, receive, send_changed)


async def create_new_session(
    request: HTTPConnection,
    user_id: str,
    jwt_payload: Mapping[str, Any] | None = None,
    session_data: Mapping[str, Any] | None = None,
    *,
    tenant_id: str = PUBLIC,
) -> Session:
    """Sign a user in whom the app has just authenticated. The response to ``request`` carries the tokens. The session
    that the client has had before ends: whatever was planted or copied of it is worth nothing any more."""
    slot = _slot(request)
    creation = decide_creation(slot.exchange.request, slot.exchange.policy)
    created = await slot.sessions.create_new_session(
        user_id,
        add_issuer(jwt_payload, slot.exchange.policy),
        session_data,
        tenant_id=tenant_id,
        enable_anti_csrf=creation.enable_anti_csrf,
        client=identify_client(slot.exchange.request),
        replaces=creation.replaces,
    )
    slot.exchange.add(creation.first)
    held = hand_over_created(slot.exchange, creation.method, created)
    return _remember(request, Session(slot.sessions, slot.exchange, creation.method, held))


@overload
async def get_session(
    request: HTTPConnection,
    session_required: Literal[True] = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
) -> Session: ...


@overload
async def get_session(
    request: HTTPConnection,
    session_required: bool,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
) -> Session | None: ...


async def get_session(
    request: HTTPConnection,
    session_required: bool = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
) -> Session | None:
    """The verified session of a request; None where there is none and ``session_required`` is false.

    ``anti_csrf_check`` None checks all methods but GET. ``check_database`` asks the store whether the session still is.
    ``override_global_claim_validators`` makes this route's claim validators of the sessions' own and the session.
    Raises :class:`Unauthorised`, :class:`TryRefreshToken` or :class:`InvalidClaims`, which the middleware answers.
    """
    slot = _slot(request)
    verification = _verify(slot, session_required, anti_csrf_check, check_database, override_global_claim_validators)
    return _remember(request, await _noting(slot.exchange, verification))


async def _verify(
    slot: _Slot,
    session_required: bool,
    anti_csrf_check: bool | None,
    check_database: bool,
    override_global_claim_validators: OverrideValidators | None,
) -> Session | None:
    exchange = slot.exchange
    verification = decide_verification(
        exchange.request,
        exchange.policy,
        session_required=session_required,
        anti_csrf_check=anti_csrf_check,
    )
    if verification is None:
        return None
    found = await slot.sessions.get_session(
        verification.access_token,
        verification.anti_csrf_token,
        verification.do_anti_csrf_check,
        check_database=check_database,
        override_global_claim_validators=override_global_claim_validators,
    )
    held = hand_over_found(exchange, verification.method, verification.access_token, found)
    return Session(slot.sessions, exchange, verification.method, held)


async def _answer_refresh(slot: _Slot) -> Answer:
    refreshing = decide_refresh(slot.exchange.request, slot.exchange.policy)
    if isinstance(refreshing, Answer):
        slot.exchange.add(refreshing.changes)
        return refreshing
    created = await slot.sessions.refresh_session(
        refreshing.refresh_token,
        refreshing.anti_csrf_token,
        enable_anti_csrf=refreshing.enable_anti_csrf,
        client=identify_client(slot.exchange.request),
    )
    slot.exchange.add(refreshing.also)
    hand_over_created(slot.exchange, refreshing.method, created)
    return Answer(200, {})


async def _answer_sign_out(slot: _Slot) -> Answer:
    session = await _verify(
        slot,
        session_required=True,
        anti_csrf_check=None,
        check_database=False,
        override_global_claim_validators=ignore_claims,
    )
    if session is not None:
        await session.revoke_session()
    return Answer(200, {"status": "OK"}, headers=(("cache-control", "no-store"),))


async def _answer_jwks(slot: _Slot) -> Answer:
    headers = (("access-control-allow-origin", "*"), ("cache-control", "max-age=60, must-revalidate"))
    return Answer(200, await slot.sessions.get_jwks(), headers=headers)


async def _noting(exchange: Exchange, call: Awaitable[T]) -> T:
    """Await; what an error clears is cleared whoever answers it."""
    try:
        return await call
    except SessionError as error:
        exchange.note(error)
        raise


async def _raise_gone() -> Any:  # noqa: ANN401 - it never returns
    raise gone()


def _slot(request: HTTPConnection) -> _Slot:
    slot = request.scope.get(_SCOPE_KEY)
    if not isinstance(slot, _Slot):
        raise GeneralError(
            "there is no SessionMiddleware around this route: app.add_middleware(SessionMiddleware, sessions=...)",
            reason="no_middleware",
        )
    return slot


def _remember(request: HTTPConnection, session: T) -> T:
    """Leave the session where the app's other code finds it; None too, so that nothing has to ask whether it is set."""
    request.state.session = session
    return session


def _path(scope: Scope) -> str:
    """The path within the app: without what it is mounted at (P-38), and without a slash at its end."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    inside = path[len(root) :] if root and path.startswith(f"{root}/") else path
    return inside.rstrip("/")


def _change(headers: Iterable[tuple[bytes, bytes]], changes: Changes) -> _RawHeaders:
    text = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in headers]
    return [(key.encode("latin-1"), value.encode("latin-1")) for key, value in changes.apply_to(text)]


def _respond(answer: Answer) -> JSONResponse:
    return JSONResponse(answer.body, answer.status, dict(answer.headers), media_type="application/json; charset=utf-8")
