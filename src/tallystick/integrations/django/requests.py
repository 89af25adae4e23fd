"""What the middleware leaves with a request, and the session that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async

from tallystick.aio import AsyncSessions
from tallystick.config import PUBLIC, FeedSilence
from tallystick.errors import GeneralError
from tallystick.integrations import asgi, wsgi
from tallystick.integrations.asgi import OVER, Scope, ScopeRequest
from tallystick.integrations.wsgi import EnvironRequest, Session
from tallystick.protocol.claims import OverrideValidators
from tallystick.sessions import Sessions
from tallystick.transport.changes import NO_CHANGES, Changes
from tallystick.transport.dialogue import Question
from tallystick.transport.exchange import Exchange, OfRequest
from tallystick.transport.usual import UsualRequests

if TYPE_CHECKING:
    from django.http import HttpRequest

T = TypeVar("T")

_SESSION: Final = "tallystick"
_ATTACHED: Final = "_tallystick"


class _DjangoRequest(OfRequest):
    """A request as transport sees it."""

    _request: HttpRequest

    @property
    def _given(self) -> EnvironRequest | ScopeRequest:
        # The server's own words: under ASGI, Django joins the cookies that HTTP/2 has split with commas.
        scope: Scope | None = vars(self._request).get("scope")
        return EnvironRequest(self._request.META) if scope is None else ScopeRequest(scope)

    @property
    def method(self) -> str:
        return self._request.method or ""

    @property
    def path(self) -> str:
        return self._request.path_info

    @property
    def is_https(self) -> bool:
        return self._request.is_secure()  # which knows SECURE_PROXY_SSL_HEADER

    @property
    def address(self) -> str | None:
        return self._given.address

    def header(self, name: str) -> str | None:
        return self._given.header(name)

    def credentials(self) -> tuple[str | None, str | None]:
        return self._given.credentials()


class Attached(OfRequest):
    """One request's exchange, and how to ask the sessions on its behalf.

    The server decides which facade there is, and the view whether it is awaited; all four pairs work, and none starts
    an event loop: under ASGI a sync view's thread has its questions answered by the server's own loop, and under WSGI
    an async view, for which Django has made a loop, has them answered by the server's own thread.
    """

    exchange: Exchange
    _sessions: Sessions | AsyncSessions
    _usual: UsualRequests

    def slot(self) -> wsgi.Slot:
        """For code that waits."""
        is_awaited = isinstance(self._sessions, AsyncSessions)
        return wsgi.Slot(self.exchange, self._usual, async_to_sync(self._await) if is_awaited else self._put)

    def async_slot(self) -> asgi.Slot:
        """For code that awaits."""
        is_awaited = isinstance(self._sessions, AsyncSessions)
        return asgi.Slot(self.exchange, self._usual, self._await if is_awaited else sync_to_async(self._put), None)

    def _put(self, question: Question) -> Any:  # noqa: ANN401 - as the question has it
        return question.put_to(self._sessions)

    async def _await(self, question: Question) -> Any:  # noqa: ANN401 - as the question has it
        return await question.put_to(self._sessions)


def is_async(function: Callable[..., object]) -> bool:
    """Whether calling it gives an awaitable. Python 3.11's own ``inspect`` does not know functions that were marked."""
    return iscoroutinefunction(function)  # pyright: ignore[reportDeprecated] - which asgiref sees to


class Attachment:
    """What a middleware leaves with all requests. It becomes one's own when its view asks: most views of most projects
    do not, and a request that knows what knows the request is left to the garbage collector."""

    def __init__(self, sessions: Sessions | AsyncSessions) -> None:
        self._sessions = sessions
        self._usual = UsualRequests(sessions)

    def leave_with(self, request: HttpRequest) -> None:
        """Leave it with a request."""
        setattr(request, _ATTACHED, self)
        setattr(request, _SESSION, None)  # P-41

    def attach(self, request: HttpRequest) -> Attached:
        """Make a request its own."""
        attached = Attached(Exchange(_DjangoRequest(request), self._sessions.config), self._sessions, self._usual)
        setattr(request, _ATTACHED, attached)
        return attached

    def release(self, request: HttpRequest) -> Changes:
        """What the response to a request is to be told. From here on the request and its session do not know each
        other, and whoever asks again is attached anew."""
        found = getattr(request, _ATTACHED, None)
        if not isinstance(found, Attached):
            return NO_CHANGES
        found.exchange.request = OVER
        setattr(request, _ATTACHED, self)
        return found.exchange.changes


def attached_to(request: HttpRequest) -> Attached:
    """How to ask on a request's behalf. Raises :class:`GeneralError` (``no_middleware``) where no middleware is."""
    found = getattr(request, _ATTACHED, None)
    if isinstance(found, Attached):
        return found
    if isinstance(found, Attachment):
        return found.attach(getattr(request, "_request", request))  # of Django REST framework's, the one within
    raise GeneralError(
        'there is no SessionMiddleware around this view: add "tallystick.integrations.django.SessionMiddleware" '
        "to MIDDLEWARE",
        reason="no_middleware",
    )


def remember(request: HttpRequest, session: T) -> T:
    """Leave the session in ``request.tallystick``; of a request of Django REST framework, in the one within too, which
    is the middleware's and other code's (P-37)."""
    setattr(request, _SESSION, session)
    inner = getattr(request, "_request", None)
    if inner is not None:
        setattr(inner, _SESSION, session)
    return session


def create_new_session(
    request: HttpRequest,
    user_id: str,
    jwt_payload: Mapping[str, Any] | None = None,
    session_data: Mapping[str, Any] | None = None,
    *,
    tenant_id: str = PUBLIC,
) -> Session:
    """Sign a user in whom the app has just authenticated. The response to ``request`` carries the tokens."""
    slot = attached_to(request).slot()
    return remember(request, slot.create_new_session(user_id, jwt_payload, session_data, tenant_id))


@overload
def get_session(
    request: HttpRequest,
    session_required: Literal[True] = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session: ...


@overload
def get_session(
    request: HttpRequest,
    session_required: bool,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session | None: ...


def get_session(
    request: HttpRequest,
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
    slot = attached_to(request).slot()
    return remember(
        request,
        slot.get_session(
            session_required, anti_csrf_check, check_database, override_global_claim_validators, on_feed_silence
        ),
    )
