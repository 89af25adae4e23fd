"""Whether a session's tokens fit a cookie, asked when the app sets what is in them.

A browser drops a cookie that is too large without a word (spec/fdi.md P-51). So the largest token that the session can
ever have is measured beforehand, and no later refresh can fail on size.
"""

from __future__ import annotations

from typing import Final

import msgspec

from tallystick.config import MAX_COOKIE_BYTES
from tallystick.errors import BadInput
from tallystick.protocol.access_token import MAX_ACCESS_TOKEN, AccessToken
from tallystick.protocol.front_token import make_front_token
from tallystick.types import Json

ANTI_CSRF: Final = 24
"""Characters of our own anti-CSRF tokens."""

_HEADER: Final = 127
"""An encoded header with the longest key id."""
_SIGNATURE: Final = 342
"""An encoded RS256 signature, the longest of all algorithms'."""
_MAX_FRONT_TOKEN: Final = MAX_COOKIE_BYTES - len("sFrontToken")
"""The browser SDK keeps the front token in a cookie of this name."""


def check_fits(
    user_id: str, handle: str, tenant_id: str, jwt_payload: Json, *, longest_anti_csrf: int = ANTI_CSRF
) -> None:
    """Raise :class:`BadInput` (``too_large``), with the sizes, where a token of this session would not fit."""
    largest = _largest_token(user_id, handle, tenant_id, jwt_payload, longest_anti_csrf)
    access = _HEADER + _base64_length(len(msgspec.json.encode(largest.claims()))) + _SIGNATURE + 2
    front = len(make_front_token(largest))
    for name, size, limit in (
        ("access token", access, MAX_ACCESS_TOKEN),
        ("front token", front, _MAX_FRONT_TOKEN),
    ):
        if size > limit:
            payload_size = len(msgspec.json.encode(jwt_payload))
            raise BadInput(
                f"the {name} would be {size} bytes, but only {limit} fit a cookie of {MAX_COOKIE_BYTES} bytes: "
                f"jwt_payload is {payload_size} bytes as JSON. Keep what the browser need not see in session_data",
                reason="too_large",
            )


def _largest_token(user_id: str, handle: str, tenant_id: str, jwt_payload: Json, longest_anti_csrf: int) -> AccessToken:
    return AccessToken(
        handle=handle,
        user_id=user_id,
        tenant_id=tenant_id,
        created_at=9_999_999_999_000,
        expires_at=9_999_999_999_000,
        refresh_hash1="0" * 64,
        parent_hash1="0" * 64,
        anti_csrf_token="0" * longest_anti_csrf,
        jwt_payload=jwt_payload,
    )


def _base64_length(size: int) -> int:
    return (size * 4 + 2) // 3
