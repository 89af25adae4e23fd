"""How a WebSocket is closed for each error: the codes that a page acts upon."""

from __future__ import annotations

import pytest

from tallystick.errors import (
    GeneralError,
    InvalidClaims,
    SessionError,
    TokenTheftDetected,
    TryRefreshToken,
    Unauthorised,
)
from tallystick.transport.streams import Closing, decide_closing
from tallystick.types import ClaimValidationError


@pytest.mark.parametrize(
    ("error", "closing"),
    [
        (Unauthorised("there is no session", reason="no_session"), Closing(4401, "unauthorised")),
        (TryRefreshToken("expired", reason="expired"), Closing(4401, "try refresh token")),
        (TokenTheftDetected("handle", "user", reason="sibling"), Closing(4401, "token theft detected")),
        (InvalidClaims([ClaimValidationError("role")]), Closing(4403, "invalid claim")),
    ],
)
def test_a_page_can_tell_from_the_close_code_what_to_do(error: SessionError, closing: Closing):
    assert decide_closing(error) == closing


def test_what_is_broken_closes_with_an_internal_error_and_tells_nothing_of_it():
    closing = decide_closing(GeneralError("postgresql://user:password@host is down", reason="store_failed"))
    assert closing == Closing(1011, "sessions are not available at the moment")


def test_a_page_of_another_site_gets_no_connection_at_all():
    assert decide_closing(Unauthorised("foreign", reason="foreign_origin")) is None
