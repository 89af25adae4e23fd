"""What stays open: who may open a WebSocket with cookies, and how one is closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tallystick.errors import InvalidClaims, SessionError, TokenTheftDetected, TryRefreshToken, Unauthorised
from tallystick.transport.exchange import Exchange
from tallystick.transport.tokens import choose_access_token

SESSION_ENDED: Final = 4401
"""The close code for "there is no session (any more)", in the range of codes for apps (RFC 6455 section 7.4.2)."""
INVALID_CLAIMS: Final = 4403
_INTERNAL_ERROR: Final = 1011


@dataclass(frozen=True, slots=True)
class Closing:
    """How a WebSocket is closed: the code, and a reason that a page may read."""

    code: int
    reason: str


ENDED: Final = Closing(SESSION_ENDED, "unauthorised")


def check_origin(exchange: Exchange) -> None:
    """Refuse a WebSocket that another site's page opens with our user's cookies: browsers send those along, and CORS
    does not hold for WebSockets (RFC 6455 section 10.2). A client that sends the token in a header needs no Origin.

    Raises :class:`Unauthorised` (``foreign_origin``), :class:`TryRefreshToken`.
    """
    request, config = exchange.request, exchange.config
    presented = choose_access_token(request, exchange.policy)
    if presented is None or presented[0] == "header":
        return
    known = {config.website_domain, config.api_domain, *config.websocket_origins} - {None}
    if not known:
        known = {f"{'https' if request.is_https else 'http'}://{request.header('host')}"}
    origin = request.header("origin")
    if origin is None or origin.lower() not in {str(one).lower().rstrip("/") for one in known}:
        raise Unauthorised(
            "a WebSocket with cookies needs an Origin that is website_domain, api_domain or one of websocket_origins",
            reason="foreign_origin",
            clear_tokens=False,
        )


def decide_closing(error: SessionError) -> Closing | None:
    """How to answer an error; None: not even by opening the connection, as its page is none of ours."""
    match error:
        case Unauthorised(reason="foreign_origin"):
            return None
        case TryRefreshToken():
            return Closing(SESSION_ENDED, "try refresh token")
        case TokenTheftDetected():
            return Closing(SESSION_ENDED, "token theft detected")
        case Unauthorised():
            return ENDED
        case InvalidClaims():
            return Closing(INVALID_CLAIMS, "invalid claim")
        case _:
            return Closing(_INTERNAL_ERROR, "sessions are not available at the moment")
