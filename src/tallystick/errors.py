"""Every way in which Tallystick refuses, and the one way in which it is broken.

::

    SessionError                 catch this one to catch them all
    ├── GeneralError      1000   broken: the store, the configuration, a bug. Never a sign-out
    │   ├── BadInput             what the app passed in cannot be a session's (also a ValueError)
    │   └── TooManySessions      the user has as many sessions as the settings allow
    ├── Unauthorised      2000   there is no such session: sign in again
    ├── TryRefreshToken   3000   the access token does not do: refresh, then repeat the request
    ├── TokenTheftDetected 4000  a refresh token was used twice: the session has been ended
    └── InvalidClaims     5000   the session is fine, but must not do this

The numbers are those of the 1.0.X interface. ``reason`` is a stable, machine-readable word for logs and tests;
the message is for people and may change.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallystick.types import ClaimValidationError, FoundSession, TheftEvent

__all__ = [
    "BadInput",
    "ClientAction",
    "GeneralError",
    "InvalidClaims",
    "SessionError",
    "TokenTheftDetected",
    "TooManySessions",
    "TryRefreshToken",
    "Unauthorised",
    "is_error_from_auth",
]


class ClientAction(StrEnum):
    """What the client should do about an error."""

    NONE = "none"
    SIGN_IN = "sign_in"
    REFRESH = "refresh"
    RETRY_LATER = "retry_later"


class SessionError(Exception):
    """The root of all that Tallystick raises on purpose.

    ``err_type`` is the number of the 1.0.X interface, ``http_status`` the status that an answer should have,
    ``client_action`` what the client should do, ``reason`` a stable word that says which case it is.
    """

    err_type: ClassVar[int] = 1000
    http_status: int = 500
    client_action: ClientAction = ClientAction.NONE

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason

    def __repr__(self) -> str:
        return f"{type(self).__name__}(reason={self.reason!r}, message={self.message!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(kind: type[SessionError], args: tuple[object, ...], state: dict[str, object]) -> SessionError:
    """Unpickle without ``__init__``, whose keyword-only arguments pickle does not know."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class GeneralError(SessionError):
    """Something is broken: the store cannot be reached, the configuration is wrong, a key is missing.

    It says nothing about the session, so it must never clear a client's tokens. The cause, if there is one,
    is in ``__cause__``.
    """

    err_type = 1000
    http_status = 500

    def __init__(self, message: str, *, reason: str = "general") -> None:
        super().__init__(message, reason=reason)
        if reason in ("store_failed", "feed_silent"):
            self.http_status = 503
            self.client_action = ClientAction.RETRY_LATER


class BadInput(GeneralError, ValueError):
    """The app passed something that a session cannot hold. Nothing was changed.

    Reasons: ``bad_user_id``, ``bad_tenant_id``, ``not_json``, ``not_an_object``, ``reserved_claim``,
    ``too_large``, ``bad_handle``, ``bad_client``, ``bad_limit``, ``bad_claim``, ``bad_claim_value``; with a remote core
    also ``bad_anti_csrf`` and ``unknown_tenant``.
    """

    http_status = 400


class TooManySessions(GeneralError):
    """The user has ``limit`` living sessions already, and the settings say ``reject``. Nothing was changed."""

    http_status = 409

    def __init__(self, limit: int, *, reason: str = "too_many_sessions") -> None:
        super().__init__(f"this user has {limit} {'session' if limit == 1 else 'sessions'} already", reason=reason)
        self.limit = limit


class Unauthorised(SessionError):
    """There is no session: it was revoked, it expired, or the token was never one of ours.

    ``clear_tokens`` says whether the client's tokens should be removed. It is false where none was presented: another
    response may be setting them at this very moment (spec/fdi.md P-8).
    """

    err_type = 2000
    http_status = 401
    client_action = ClientAction.SIGN_IN

    def __init__(
        self,
        message: str = "unauthorised",
        *,
        reason: str = "no_session",
        clear_tokens: bool = True,
    ) -> None:
        super().__init__(message, reason=reason)
        self.clear_tokens = clear_tokens


class TryRefreshToken(SessionError):
    """The access token is missing, expired, malformed or wrongly signed, or the anti-CSRF check failed.

    The session may well be alive: the client should refresh and repeat the request. Never clear tokens on this.
    """

    err_type = 3000
    http_status = 401
    client_action = ClientAction.REFRESH

    def __init__(self, message: str = "try refresh token", *, reason: str = "bad_token") -> None:
        super().__init__(message, reason=reason)


class TokenTheftDetected(SessionError):
    """Two holders have used one chain of refresh tokens, so one of them is a thief (shared/rotation.md).

    The session is already revoked when this is raised. ``reason`` is the kind of reuse: ``retired``, ``sibling`` or
    ``ancestor``. ``event`` is what was recorded; None where another request found the same theft first, and recorded
    it.
    """

    err_type = 4000
    http_status = 401
    client_action = ClientAction.SIGN_IN

    def __init__(
        self, session_handle: str, user_id: str, *, reason: str = "reuse", event: TheftEvent | None = None
    ) -> None:
        super().__init__("token theft detected", reason=reason)
        self.session_handle = session_handle
        self.user_id = user_id
        self.event = event


class InvalidClaims(SessionError):
    """The session is valid, but its claims do not permit this request.

    ``errors`` says which, in validator order. ``found`` is the session, where it was :meth:`Sessions.get_session` that
    raised: if it has an ``access_token``, the response must set it all the same.
    """

    err_type = 5000
    http_status = 403

    def __init__(
        self,
        errors: Sequence[ClaimValidationError] = (),
        *,
        found: FoundSession | None = None,
        reason: str = "invalid_claims",
    ) -> None:
        super().__init__("invalid claim", reason=reason)
        self.errors = tuple(errors)
        self.found = found


def is_error_from_auth(exc: object) -> TypeGuard[SessionError]:
    """Tell whether ``exc`` was raised by Tallystick (the 1.0.X interface's ``isErrorFromAuth``)."""
    return isinstance(exc, SessionError)
