"""Sessions in any WSGI app: Falcon, Bottle, Pyramid, or none of them. No event loop is involved.

::

    app = SessionMiddleware(app, sessions=Sessions("sqlite:///sessions.db"))

    session = get_session(environ)      # also in environ["tallystick.session"] from then on

The middleware answers ``POST /auth/session/refresh``, ``POST /auth/signout`` and ``GET /auth/jwt/jwks.json`` itself,
makes the changes to every other response that its session asks for, and turns :class:`SessionError` into the right
answer. Look at the session before ``start_response`` is called: from then on the headers are the server's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, overload

from tallystick.config import PUBLIC, FeedSilence
from tallystick.errors import GeneralError, SessionError
from tallystick.protocol.claims import OverrideValidators, SessionClaim, SessionClaimValidator
from tallystick.sessions import Sessions
from tallystick.transport.changes import NO_CHANGES
from tallystick.transport.cors import get_all_cors_headers, get_cors_expose_headers
from tallystick.transport.decisions import Answer
from tallystick.transport.dialogue import Dialogue, Question, check_sessions, hold
from tallystick.transport.exchange import Exchange, OfRequest
from tallystick.transport.routes import Routes
from tallystick.transport.session import Held, SessionContent, create, verify
from tallystick.transport.usual import UsualRequests
from tallystick.types import Json

if TYPE_CHECKING:
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication

    ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

__all__ = [
    "Session",
    "SessionMiddleware",
    "answer_error",
    "create_new_session",
    "get_all_cors_headers",
    "get_cors_expose_headers",
    "get_session",
]

T = TypeVar("T")
V = TypeVar("V")

Environ: TypeAlias = MutableMapping[str, Any]

SESSION_KEY: Final = "tallystick.session"
_TICKET_KEY: Final = "tallystick.ticket"


class EnvironRequest(OfRequest):
    """A request as transport sees it. Looked up when it is asked for, so that what a layer within has changed counts,
    such as one that takes a proxy's word for the scheme."""

    environ: Mapping[str, Any]

    @property
    def method(self) -> str:
        method: str = self.environ["REQUEST_METHOD"]
        return method

    @property
    def path(self) -> str:
        path: str = self.environ.get("PATH_INFO", "")
        return path

    @property
    def is_https(self) -> bool:
        return bool(self.environ.get("wsgi.url_scheme") == "https")

    @property
    def address(self) -> str | None:
        return self.environ.get("REMOTE_ADDR") or None

    def header(self, name: str) -> str | None:
        value: str | None = self.environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        return value

    def credentials(self) -> tuple[str | None, str | None]:
        environ = self.environ
        return environ.get("HTTP_COOKIE"), environ.get("HTTP_AUTHORIZATION")


class Session(SessionContent):
    """The session of one request. What only looks at the token costs nothing; what needs the store raises
    :class:`Unauthorised` where the session has ended meanwhile."""

    _slot: Slot

    def revoke_session(self) -> None:
        """End the session and take the client's tokens away."""
        self._slot.hold(self._end())

    def get_session_data_from_database(self) -> Json:
        """The session's data."""
        return self._slot.hold(self._inform()).session_data

    def get_time_created(self) -> int:
        """When the session was created, in ms since the epoch."""
        return self._slot.hold(self._inform()).time_created

    def get_expiry(self) -> int:
        """When the session ends unless it is used, in ms since the epoch."""
        return self._slot.hold(self._inform()).expiry

    def update_session_data_in_database(self, data: Mapping[str, Any]) -> None:
        """Replace the session's data, whole."""
        self._slot.hold(self._update_data(data))

    def fetch_and_set_claim(self, claim: SessionClaim[Any]) -> None:
        """Fetch a claim and put it into the payload. As with all that changes the payload, the response carries a token
        that shows it."""
        self._slot.hold(self._fetch_and_set(claim))

    def set_claim_value(self, claim: SessionClaim[V], value: V) -> None:
        """Put a claim's value into the payload."""
        self._slot.hold(self._set(claim, value))

    def remove_claim(self, claim: SessionClaim[Any]) -> None:
        """Take a claim out of the payload."""
        self._slot.hold(self._remove(claim))

    def assert_claims(self, validators: Sequence[SessionClaimValidator]) -> None:
        """Check claims, after those that are missing or too old were fetched. Raises :class:`InvalidClaims`."""
        self._slot.hold(self._assert(validators))

    def merge_into_access_token_payload(self, update: Mapping[str, Any]) -> None:
        """Merge into the top level of the JWT payload; a null value removes a key. The client gets a token that shows
        it with this response (unless its token has expired meanwhile: then with the next refresh)."""
        self._slot.hold(self._merge(update))


class Slot(OfRequest):
    """What a middleware leaves with the request for the app's own code: how to ask the sessions on its behalf."""

    exchange: Exchange
    _usual: UsualRequests
    _answer: Callable[[Question], Any]

    def hold(self, dialogue: Dialogue[T]) -> T:
        """Ask what ``dialogue`` asks."""
        return hold(self.exchange, dialogue, self._answer)

    def create_new_session(
        self,
        user_id: str,
        jwt_payload: Mapping[str, Any] | None,
        session_data: Mapping[str, Any] | None,
        tenant_id: str,
    ) -> Session:
        """See :func:`create_new_session`."""
        held = self.hold(create(self.exchange, user_id, jwt_payload, session_data, tenant_id))
        return Session(self.exchange, held, self)

    def get_session(
        self,
        session_required: bool,
        anti_csrf_check: bool | None,
        check_database: bool,
        override: OverrideValidators | None,
        silence: FeedSilence | None,
    ) -> Session | None:
        """See :func:`get_session`."""
        return self.session_of(self.verify(session_required, anti_csrf_check, check_database, override, silence))

    def verify(
        self,
        session_required: bool,
        anti_csrf_check: bool | None,
        check_database: bool,
        override: OverrideValidators | None,
        silence: FeedSilence | None,
    ) -> Held | None:
        """What the request holds."""
        held = None
        if not check_database and override is None:
            held = self._usual.verify(self.exchange, anti_csrf_check)
        if held is None:
            held = self.hold(
                verify(self.exchange, session_required, anti_csrf_check, check_database, override, silence)
            )
        return held

    def session_of(self, held: Held | None) -> Session | None:
        """What a request's code sees of what the request holds."""
        return None if held is None else Session(self.exchange, held, self)


class Ticket(OfRequest):
    """What a middleware leaves with each request. There is no slot before the app's code asks for one: most routes need
    none."""

    _carrier: Carrier
    slot: Slot | None = None

    def open(self, environ: Environ) -> Slot:
        """The slot, made now if need be."""
        if self.slot is None:
            self.slot = self._carrier.make_slot(environ)
        return self.slot


class Carrier:
    """Leaves a ticket with each request and makes the changes to its response; answers nothing itself."""

    def __init__(self, app: WSGIApplication, sessions: Sessions) -> None:
        self.app = app
        self.sessions = sessions
        self._config = sessions.config
        self._usual = UsualRequests(sessions)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        ticket = environ[_TICKET_KEY] = Ticket(self)
        environ.pop(SESSION_KEY, None)  # of a server that uses its dict again (P-36)

        def start_changed(
            status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
        ) -> Callable[[bytes], object]:
            slot = ticket.slot
            if slot is not None and slot.exchange.changes is not NO_CHANGES:
                headers = slot.exchange.changes.apply_to(headers)
            return start_response(status, headers, *(() if exc_info is None else (exc_info,)))

        return self.app(environ, start_changed)

    def make_slot(self, environ: Environ) -> Slot:
        """A slot for a request."""
        return Slot(Exchange(EnvironRequest(environ), self._config), self._usual, self._answer)

    def _answer(self, question: Question) -> Any:  # noqa: ANN401 - as the question has it
        return question.put_to(self.sessions)


class SessionMiddleware:
    """WSGI middleware. Put the CORS layer around it, so that its own answers get CORS headers too."""

    def __init__(self, app: WSGIApplication, sessions: Sessions) -> None:
        self.app = app
        self.sessions = check_sessions(sessions, Sessions, type(self).__name__)
        self.routes = Routes(sessions.config)
        self._carrier = Carrier(self._serve, sessions)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        return self._carrier(environ, start_response)

    def _serve(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        is_near = self.routes.prefix in environ.get("PATH_INFO", "")
        route = self.routes.find(EnvironRequest(environ)) if is_near else None
        has_started = False

        def start(*args: Any) -> Callable[[bytes], object]:  # noqa: ANN401 - start_response's own
            nonlocal has_started
            has_started = True
            return start_response(*args)

        try:
            if route is None:
                body = self.app(environ, start)
                return body if has_started else _Begun(body)
            slot = slot_of(environ)
            answer = slot.hold(route(slot.exchange))
            start_response(_status(answer), answer.all_headers)
        except SessionError as error:
            answer = slot_of(environ).exchange.answer(error)
            # With exc_info the server takes back a response that was begun, and raises again where it is too late.
            exc_info = (sys.exc_info(),) if has_started else ()
            start_response(_status(answer), answer.all_headers, *exc_info)
        return () if environ["REQUEST_METHOD"] == "HEAD" else (answer.content,)


class _Begun:
    """The body of an app that is a generator, with its first chunk, as only that makes the app run."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        chunks = iter(body)
        try:
            self._chunks = chain((next(chunks, b""),), chunks)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """Let go of what the app holds (PEP 3333)."""
        close: Callable[[], object] | None = getattr(self._body, "close", None)
        if close is not None:
            close()


def create_new_session(
    environ: Environ,
    user_id: str,
    jwt_payload: Mapping[str, Any] | None = None,
    session_data: Mapping[str, Any] | None = None,
    *,
    tenant_id: str = PUBLIC,
) -> Session:
    """Sign a user in whom the app has just authenticated. The response to the request carries the tokens. The session
    that the client has had before ends: whatever was planted or copied of it is worth nothing any more."""
    return _remember(environ, slot_of(environ).create_new_session(user_id, jwt_payload, session_data, tenant_id))


@overload
def get_session(
    environ: Environ,
    session_required: Literal[True] = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session: ...


@overload
def get_session(
    environ: Environ,
    session_required: bool,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session | None: ...


def get_session(
    environ: Environ,
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
    return _remember(
        environ,
        slot_of(environ).get_session(
            session_required, anti_csrf_check, check_database, override_global_claim_validators, on_feed_silence
        ),
    )


def answer_error(environ: Environ, error: SessionError) -> Answer:
    """What the middleware would answer: ``status``, ``all_headers`` and ``content``. For the error handlers of
    frameworks that let no exception through to it."""
    return slot_of(environ).exchange.answer(error)


def slot_of(environ: Environ) -> Slot:
    """How to ask on a request's behalf. Raises :class:`GeneralError` (``no_middleware``) where there is none."""
    ticket = environ.get(_TICKET_KEY)
    if not isinstance(ticket, Ticket):
        raise GeneralError(
            "no session middleware is around this request: app = SessionMiddleware(app, sessions=...), "
            "or in Flask: Tallystick(app, sessions=...)",
            reason="no_middleware",
        )
    return ticket.slot or ticket.open(environ)


def _remember(environ: Environ, session: T) -> T:
    """Leave the session where the app's other code finds it; None too, so that nothing has to ask whether it is set
    (P-41)."""
    environ[SESSION_KEY] = session
    return session


def _status(answer: Answer) -> str:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Session Expired"  # 440, or whatever else the app has chosen
    return f"{answer.status} {phrase}"
