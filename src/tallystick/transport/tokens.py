"""Tokens out of a request and into a response, in either transfer method (spec/fdi.md 1)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal, TypeAlias

from tallystick.config import milliseconds
from tallystick.errors import TryRefreshToken
from tallystick.protocol.access_token import parse_access_token
from tallystick.protocol.refresh_token import looks_like_refresh_token
from tallystick.transport import classic
from tallystick.transport.changes import ACCESS_HEADER, ANTI_CSRF, FRONT_TOKEN, REFRESH_HEADER, Changes
from tallystick.transport.cookies import ID_REFRESH_COOKIE, end_of_cookie, read_cookie
from tallystick.transport.policy import Policy, name_domain
from tallystick.transport.request import Request
from tallystick.types import CookieTokenInfo, CreatedSession

Method: TypeAlias = Literal["cookie", "header"]
METHODS: Final[tuple[Method, Method]] = ("cookie", "header")

_ACCESS_COOKIE_LIFE: Final = milliseconds(timedelta(days=365))
"""Not the token's own: an expired token that is present says that there probably is a session (spec/fdi.md 1.2)."""
_BEARER: Final = "Bearer "


# Out of a request


def find_access_tokens(request: Request, policy: Policy) -> dict[Method, str]:
    """The access tokens that look like ours, by method. A Bearer token of some other system is none (P-57).

    Of several cookies the first that looks like ours; whether there may be several is for the caller to say.
    """
    found: dict[Method, str] = {}
    bearer = read_bearer(request)
    if bearer is not None and parse_access_token(bearer) is not None:
        found["header"] = bearer
    for text in read_cookie(request.header("cookie"), policy.config.access_cookie):
        if parse_access_token(text) is not None:
            found["cookie"] = text
            break
    return found


def choose_access_token(request: Request, policy: Policy) -> tuple[Method, str] | None:
    """The access token that counts, and how it came. Raises :class:`TryRefreshToken` where there are several."""
    allowed = policy.config.token_transfer_method
    tokens = find_access_tokens(request, policy)
    if allowed in ("any", "header") and "header" in tokens:
        return "header", tokens["header"]
    if allowed in ("any", "cookie") and "cookie" in tokens:
        if count_cookies(request, policy.config.access_cookie) > 1:
            raise TryRefreshToken("the request has several access tokens", reason="duplicate_cookies")
        return "cookie", tokens["cookie"]
    return None


def find_refresh_tokens(request: Request, policy: Policy) -> dict[Method, str]:
    """The refresh tokens, by method. On a refresh the same header carries the refresh token (spec/fdi.md 2.1).

    Beside a cookie, a Bearer token that is none is passed over: an app that adds its own to every request, or the
    session's access token, would sign its user out. SuperTokens takes it for the refresh token (spec/fdi.md 2.4).
    """
    cookies = read_cookie(request.header("cookie"), policy.config.refresh_cookie)
    found: dict[Method, str] = {}
    bearer = read_bearer(request)
    if bearer is not None and (not cookies or looks_like_refresh_token(bearer)):
        found["header"] = bearer
    if cookies:
        found["cookie"] = cookies[0]
    return found


def read_bearer(request: Request) -> str | None:
    """The token of the Authorization header."""
    value = request.header("authorization")
    return None if value is None else parse_bearer(value)


def parse_bearer(value: str) -> str | None:
    """What stands after ``Bearer`` in an Authorization header's value, with a capital and one blank."""
    return value[len(_BEARER) :].strip() or None if value.startswith(_BEARER) else None


def count_cookies(request: Request, name: str) -> int:
    """How many cookies of this name the request has."""
    return len(read_cookie(request.header("cookie"), name))


# Into a response


def attach_created(created: CreatedSession, method: Method, policy: Policy) -> Changes:
    """Everything that a new or refreshed session gives its client."""
    if policy.config.is_classic:
        return classic.attach_created(created, policy)
    changes = attach_access_token(created.access_token, created.front_token, method, policy)
    refresh = created.refresh_token
    if method == "header":
        return changes.then(Changes(headers=((REFRESH_HEADER, refresh.token),)))
    ends_at = end_of_cookie(refresh)
    cookie = policy.make_cookie(policy.config.refresh_cookie, refresh.token, refresh.cookie_path, ends_at)
    anti_csrf = created.anti_csrf_token
    headers = () if anti_csrf is None else ((ANTI_CSRF, anti_csrf),)
    return changes.then(Changes((cookie,), headers))


def attach_access_token(token: CookieTokenInfo, front_token: str, method: Method, policy: Policy) -> Changes:
    """A new access token, and the front token that always goes with it."""
    if policy.config.is_classic:
        return classic.attach_access_token(token, policy)
    front = (FRONT_TOKEN, front_token)
    if method == "header":
        return Changes(headers=(front, (ACCESS_HEADER, token.token)))
    expires_at = token.created_time + _ACCESS_COOKIE_LIFE
    cookie = policy.make_cookie(policy.config.access_cookie, token.token, token.cookie_path, expires_at)
    return Changes((cookie,), (front,))


def clear(method: Method, policy: Policy) -> Changes:
    """Take a client's tokens of one method away.

    ``front-token: remove`` suffices for the browser SDK even where a proxy drops the empty headers (P-6).
    """
    if policy.config.is_classic:
        return classic.clear(policy) if method == "cookie" else Changes()
    gone: tuple[tuple[str, str | None], ...] = ((FRONT_TOKEN, "remove"), (ANTI_CSRF, None))
    if method == "header":
        return Changes(headers=(*gone, (ACCESS_HEADER, ""), (REFRESH_HEADER, "")))
    config = policy.config
    return Changes(
        (
            policy.make_cookie(config.access_cookie, "", config.access_token_path, 0),
            policy.make_cookie(config.refresh_cookie, "", config.refresh_cookie_path, 0),
        ),
        gone,
    )


def clear_everything(policy: Policy) -> Changes:
    """Take a client's tokens of both methods away."""
    return clear("cookie", policy).then(clear("header", policy))


def clear_legacy(request: Request, policy: Policy) -> Changes:
    """Take the cookie of interfaces before FDI 1.16 away, if the client has it and it is not in use (P-59)."""
    if policy.config.is_classic or not count_cookies(request, ID_REFRESH_COOKIE):
        return Changes()
    return Changes((policy.make_cookie(ID_REFRESH_COOKIE, "", "/", 0),))


def clear_older_domain(names: list[str], policy: Policy) -> Changes:
    """Take cookies of the former ``cookie_domain`` away (P-2)."""
    config = policy.config
    paths = {config.access_cookie: config.access_token_path, config.refresh_cookie: config.refresh_cookie_path}
    domain = name_domain(config.older_cookie_domain)
    return Changes(tuple(policy.make_cookie_of(domain, name, "", paths[name], 0) for name in names))
