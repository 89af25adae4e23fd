"""What to ask of the sessions for a request, and what to answer. The order of the checks is spec/fdi.md 2.2 to 2.7."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tallystick.config import AntiCsrf
from tallystick.errors import (
    GeneralError,
    InvalidClaims,
    SessionError,
    TokenTheftDetected,
    TryRefreshToken,
    Unauthorised,
)
from tallystick.protocol.access_token import parse_access_token
from tallystick.transport.changes import Changes
from tallystick.transport.cookies import ID_REFRESH_COOKIE
from tallystick.transport.policy import Policy, check_can_set_cookies
from tallystick.transport.request import Request
from tallystick.transport.tokens import (
    METHODS,
    Method,
    attach_access_token,
    choose_access_token,
    clear,
    clear_everything,
    clear_legacy,
    clear_older_domain,
    count_cookies,
    find_access_tokens,
    find_refresh_tokens,
)
from tallystick.types import FoundSession, Json

_SAFE_METHODS: Final = frozenset({"GET"})
"""HEAD is checked like any other (spec/fdi.md 2.3)."""
WITHOUT_TOKENS: Final = frozenset({"OPTIONS", "TRACE"})
"""Browsers send no tokens with these."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response: status, JSON body, and the changes to its headers."""

    status: int
    body: Json
    changes: Changes = field(default_factory=Changes)
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def content(self) -> bytes:
        """The body as it is sent."""
        return msgspec.json.encode(self.body)

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        """The headers, with those that say what the body is."""
        length = str(len(self.content))
        return [*self.headers, ("content-type", "application/json; charset=utf-8"), ("content-length", length)]


@dataclass(frozen=True, slots=True)
class Creation:
    """How a new session is to be made and handed over."""

    method: Method
    enable_anti_csrf: bool
    first: Changes
    """To be made before the new tokens are attached."""
    replaces: str | None = field(default=None, repr=False)
    """The access token that the client presents: its session is to end."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What to verify."""

    access_token: str = field(repr=False)
    method: Method
    anti_csrf_token: str | None = field(repr=False)
    do_anti_csrf_check: bool


@dataclass(frozen=True, slots=True)
class Refreshing:
    """What to refresh with."""

    refresh_token: str = field(repr=False)
    method: Method
    anti_csrf_token: str | None = field(repr=False)
    enable_anti_csrf: bool
    also: Changes
    """To be made besides attaching the new tokens."""


def decide_creation(request: Request, policy: Policy) -> Creation:
    """How the session of a user who has just signed in is to be made.

    The client chooses with ``st-auth-mode`` where the settings let it; a client that does not say gets headers, as no
    browser SDK is there to send the cookies' companions. Raises :class:`GeneralError` for cookies that no browser
    keeps.
    """
    method = _method_for_creation(request, policy)
    presented = find_access_tokens(request, policy)
    if method == "cookie":
        check_can_set_cookies(policy)
        # A Bearer token of some other system is not ours to clear (P-57).
        has_other = "header" in presented
    else:
        # Whatever it holds: a cookie of this name is no one else's.
        has_other = count_cookies(request, policy.config.access_cookie) > 0
    other: Method = "header" if method == "cookie" else "cookie"
    return Creation(
        method,
        method == "cookie" and policy.anti_csrf is AntiCsrf.VIA_TOKEN,
        clear(other, policy) if has_other else Changes(),
        presented.get(method, presented.get(other)),
    )


def needs_anti_csrf(verb: str, method: Method, anti_csrf_check: bool | None) -> bool:
    """Whether a request must show that it was not sent by another site."""
    if method != "cookie":
        return False
    return verb not in _SAFE_METHODS if anti_csrf_check is None else anti_csrf_check


def decide_verification(
    request: Request, policy: Policy, *, session_required: bool, anti_csrf_check: bool | None
) -> Verification | None:
    """What of a request is to be verified; None where there is no session and none is required.

    Raises :class:`TryRefreshToken` or :class:`Unauthorised`.
    """
    if request.method in WITHOUT_TOKENS:
        if session_required:
            raise GeneralError(
                f"a session cannot be verified on {request.method}: browsers send no tokens with it. "
                "Let the CORS layer answer it, outside of the session layer",
                reason="bad_method",
            )
        return None
    has_marker = count_cookies(request, ID_REFRESH_COOKIE) > 0
    is_classic = policy.config.is_classic
    if has_marker and not is_classic:
        raise TryRefreshToken("the client has a cookie of an older interface", reason="legacy_cookie")
    presented = choose_access_token(request, policy)
    if is_classic:
        presented = _check_marker(presented, has_marker, session_required)
    if presented is None:
        if session_required:
            # Another response may be setting tokens at this very moment, so none are cleared (P-8).
            raise Unauthorised("there is no access token", reason="missing_token", clear_tokens=False)
        return None
    method, text = presented
    needed = needs_anti_csrf(request.method, method, anti_csrf_check)
    if needed and policy.anti_csrf is AntiCsrf.VIA_CUSTOM_HEADER and request.header("rid") is None:
        raise TryRefreshToken("the request has no rid header", reason="anti_csrf_failed")
    via_token = needed and policy.anti_csrf is AntiCsrf.VIA_TOKEN
    if via_token and (parse_access_token(text) or {}).get("antiCsrfToken") is None:
        # Before the store is asked, which would take the request for the token's first use. A refresh gives it one.
        raise TryRefreshToken("the session has no anti-CSRF token yet", reason="anti_csrf_failed")
    return Verification(text, method, request.header("anti-csrf"), via_token)


def decide_refresh(request: Request, policy: Policy) -> Refreshing | Answer:
    """What to refresh with, or the answer where it does not come to that. Raises :class:`Unauthorised`."""
    allowed = policy.config.token_transfer_method
    if allowed != "header":
        names = [
            n for n in (policy.config.access_cookie, policy.config.refresh_cookie) if count_cookies(request, n) > 1
        ]
        if names:
            return _answer_duplicates(names, policy)
    tokens = find_refresh_tokens(request, policy)
    method: Method | None = next((m for m in ("header", "cookie") if allowed in ("any", m) and m in tokens), None)
    if method is None:
        raise Unauthorised("there is no refresh token", reason="missing_token")
    is_cookie = method == "cookie"
    if is_cookie and policy.anti_csrf is AntiCsrf.VIA_CUSTOM_HEADER and request.header("rid") is None:
        raise Unauthorised("the request has no rid header", reason="anti_csrf_failed")
    via_token = is_cookie and policy.anti_csrf is AntiCsrf.VIA_TOKEN
    # Classic clients send none with a refresh: its cookie goes to that route alone (spec/fdi.md 3.1).
    presents = via_token and not policy.config.is_classic
    also = clear_legacy(request, policy)
    for other in METHODS:
        if other != method and other in tokens:
            also = clear(other, policy).then(also)
    return Refreshing(
        tokens[method],
        method,
        (request.header("anti-csrf") or "") if presents else None,
        via_token,
        also,
    )


def answer_error(error: SessionError, policy: Policy, request: Request) -> Answer:
    """The response for an error, with the client's tokens cleared where that is right (spec/fdi.md 2.7)."""
    expired = policy.config.session_expired_status_code
    match error:
        case Unauthorised(clear_tokens=clear_tokens):
            changes = _clear_all(request, policy) if clear_tokens else Changes()
            return Answer(expired, {"message": "unauthorised"}, changes)
        case TokenTheftDetected():
            return Answer(expired, {"message": "token theft detected"}, _clear_all(request, policy))
        case TryRefreshToken():
            return Answer(expired, {"message": "try refresh token"})
        case InvalidClaims(errors=errors, found=found):
            listed = [{"id": e.id} if e.reason is None else {"id": e.id, "reason": e.reason} for e in errors]
            body = {"message": "invalid claim", "claimValidationErrors": listed}
            return Answer(error.http_status, body, _attach_found(found, request, policy))
        case _:
            return _answer_general(error)


def _answer_general(error: SessionError) -> Answer:
    """What is broken is for the log; a client learns no more than that it is (and nothing is cleared, P-14)."""
    if error.http_status < 500:
        return Answer(error.http_status, {"message": error.message})
    if error.http_status == 503:
        return Answer(503, {"message": "sessions are not available at the moment"}, headers=(("retry-after", "1"),))
    return Answer(error.http_status, {"message": "internal error"})


def _answer_duplicates(names: list[str], policy: Policy) -> Answer:
    if policy.config.older_cookie_domain is None:
        return Answer(
            500,
            {
                "message": f"the request has several {' and '.join(names)} cookies. If cookie_domain was changed, "
                "set older_cookie_domain to what it was"
            },
        )
    return Answer(200, {"message": "cookies of the older domain cleared"}, clear_older_domain(names, policy))


def _method_for_creation(request: Request, policy: Policy) -> Method:
    configured = policy.config.token_transfer_method
    if configured != "any":
        return configured
    return "cookie" if (request.header("st-auth-mode") or "").lower() == "cookie" else "header"


def _check_marker(
    presented: tuple[Method, str] | None, has_marker: bool, session_required: bool
) -> tuple[Method, str] | None:
    """The classic order (spec/fdi.md 3.2): a missing access token asks for a refresh, as its cookie goes when it runs
    out; a token without ``sIdRefreshToken`` is of a session that has been signed out."""
    if presented is None:
        if session_required or has_marker:
            raise TryRefreshToken("there is no access token", reason="missing_token")
        return None
    if has_marker:
        return presented
    if session_required:
        raise Unauthorised("there is no sIdRefreshToken cookie", reason="no_id_refresh_token")
    return None


def _attach_found(found: FoundSession | None, request: Request, policy: Policy) -> Changes:
    """A verified session's replacement, the way that its token came. Nothing where it has none, or where it is not this
    request's own session: nobody gets another's."""
    if found is None or found.access_token is None or found.front_token is None:
        return Changes()
    method, text = choose_access_token(request, policy) or ("header", "")
    if (parse_access_token(text) or {}).get("sessionHandle") != found.session.handle:
        return Changes()
    return attach_access_token(found.access_token, found.front_token, method, policy)


def _clear_all(request: Request, policy: Policy) -> Changes:
    return clear_everything(policy).then(clear_legacy(request, policy))


def add_issuer(jwt_payload: Mapping[str, Any] | None, policy: Policy) -> Mapping[str, Any] | None:
    """The app's payload with ``iss``, as browser SDKs expect it, where the API's domain is known and the app has not
    set it.

    What is no mapping is left for the check at the session's border to refuse.
    """
    domain = policy.config.api_domain
    payload: Mapping[str, Any] = {} if jwt_payload is None else jwt_payload
    if domain is None or not isinstance(payload, Mapping) or "iss" in payload:
        return jwt_payload
    return {**payload, "iss": f"{domain.lower().rstrip('/')}{policy.config.auth_path}"}
