"""The anti-CSRF token: a second value, which a page must read and send by itself, beside a cookie that any site can
make a browser send."""

from __future__ import annotations

import hmac

from tallystick.errors import TryRefreshToken, Unauthorised
from tallystick.protocol.encoding import encode_base64url

_BYTES = 18


def mint_anti_csrf_token(key: bytes, refresh_token: str) -> str:
    """The anti-CSRF token that belongs to ``refresh_token``.

    It is derived, not drawn: so a refresh can check it although neither the store nor the refresh token holds it.
    """
    return encode_base64url(hmac.digest(key, refresh_token.encode("ascii"), "sha256")[:_BYTES])


def check_anti_csrf(expected: str | None, presented: object) -> None:
    """Refuse a request whose anti-CSRF token is not the access token's.

    A session created without one (``expected`` is None) is not checked. Raises :class:`TryRefreshToken`.
    """
    if expected is not None and not _matches(expected, presented):
        raise TryRefreshToken("the anti-CSRF token is missing or not this session's", reason="anti_csrf_failed")


def check_anti_csrf_at_refresh(expected: str | None, presented: object) -> None:
    """Refuse a refresh whose anti-CSRF token is not the refresh token's (spec/fdi.md 2.4).

    None for ``presented`` means that the caller does not check it (the 1.0.X interface has no such argument); an empty
    text means that the client sent none. Raises :class:`Unauthorised`.
    """
    if expected is not None and presented is not None and not _matches(expected, presented):
        raise Unauthorised("the anti-CSRF token is missing or not this session's", reason="anti_csrf_failed")


def _matches(expected: str, presented: object) -> bool:
    return isinstance(presented, str) and hmac.compare_digest(
        expected.encode("ascii"), presented.encode("utf-8", "surrogatepass")
    )
