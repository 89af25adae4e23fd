"""The 1.0.X interface: what its browsers are given and what of theirs is cleared (spec/fdi.md 1.9 and 3.2)."""

from __future__ import annotations

from typing import Final

from tallystick.transport.changes import ANTI_CSRF, Changes
from tallystick.transport.cookies import ID_REFRESH_COOKIE, end_of_cookie
from tallystick.transport.policy import Policy
from tallystick.types import CookieTokenInfo, CreatedSession

ID_REFRESH_HEADER: Final = "id-refresh-token"


def attach_created(created: CreatedSession, policy: Policy) -> Changes:
    """The three cookies, and the two headers that a page's script reads."""
    refresh, marker = created.refresh_token, created.id_refresh_token
    access_path = created.access_token.cookie_path
    cookies = (
        policy.make_cookie(policy.config.refresh_cookie, refresh.token, refresh.cookie_path, end_of_cookie(refresh)),
        policy.make_cookie(ID_REFRESH_COOKIE, marker.token, access_path, end_of_cookie(marker)),
    )
    headers: tuple[tuple[str, str | None], ...] = ((ID_REFRESH_HEADER, f"{marker.token};{marker.expiry}"),)
    if created.anti_csrf_token is not None:
        headers = (*headers, (ANTI_CSRF, created.anti_csrf_token))
    return attach_access_token(created.access_token, policy).then(Changes(cookies, headers))


def attach_access_token(token: CookieTokenInfo, policy: Policy) -> Changes:
    """A new access token, in a cookie that goes when the token does; nothing in a header tells of it."""
    ends_at = end_of_cookie(token)
    return Changes((policy.make_cookie(policy.config.access_cookie, token.token, token.cookie_path, ends_at),))


def clear(policy: Policy) -> Changes:
    """Take all three cookies away, and tell the page."""
    config = policy.config
    paths = (
        (config.access_cookie, config.access_token_path),
        (config.refresh_cookie, config.refresh_cookie_path),
        (ID_REFRESH_COOKIE, config.access_token_path),
    )
    return Changes(
        tuple(policy.make_cookie(name, "", path, 0) for name, path in paths),
        ((ID_REFRESH_HEADER, "remove"), (ANTI_CSRF, None)),
    )
