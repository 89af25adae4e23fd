"""Session management for Python: short signed access tokens, rotating refresh tokens, theft detection.

::

    from tallystick import Sessions

    sessions = Sessions("sqlite:///sessions.db")
    created = sessions.create_new_session("user-1", {"role": "admin"})
    found = sessions.get_session(created.access_token.token)
    found.session.user_id
"""

from tallystick.aio import AsyncSessions
from tallystick.config import AntiCsrf, Config, Retirement
from tallystick.errors import (
    BadInput,
    ClientAction,
    GeneralError,
    InvalidClaims,
    SessionError,
    TokenTheftDetected,
    TooManySessions,
    TryRefreshToken,
    Unauthorised,
    is_error_from_auth,
)
from tallystick.protocol.claims import (
    BooleanClaim,
    PrimitiveArrayClaim,
    PrimitiveClaim,
    SessionClaim,
    SessionClaimValidator,
    fresh_within,
)
from tallystick.sessions import Sessions
from tallystick.types import (
    ClaimValidationError,
    ClientInfo,
    CookieTokenInfo,
    CreatedSession,
    Ending,
    FoundSession,
    RegeneratedToken,
    SessionInfo,
    SessionInformation,
    TheftEvent,
    TokenInfo,
)

__all__ = [
    "AntiCsrf",
    "AsyncSessions",
    "BadInput",
    "BooleanClaim",
    "ClaimValidationError",
    "ClientAction",
    "ClientInfo",
    "Config",
    "CookieTokenInfo",
    "CreatedSession",
    "Ending",
    "FoundSession",
    "GeneralError",
    "InvalidClaims",
    "PrimitiveArrayClaim",
    "PrimitiveClaim",
    "RegeneratedToken",
    "Retirement",
    "SessionClaim",
    "SessionClaimValidator",
    "SessionError",
    "SessionInfo",
    "SessionInformation",
    "Sessions",
    "TheftEvent",
    "TokenInfo",
    "TokenTheftDetected",
    "TooManySessions",
    "TryRefreshToken",
    "Unauthorised",
    "__version__",
    "fresh_within",
    "is_error_from_auth",
]

__version__ = "0.1.0"
