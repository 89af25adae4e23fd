"""What a deployment decides, checked once when it is made.

Durations are ``timedelta`` here and integer milliseconds inside. Every default is written beside its reason or source.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from reprlib import Repr
from typing import Final, Literal, TypeAlias, TypedDict, get_args
from urllib.parse import urlsplit

from tallystick.errors import GeneralError

Algorithm: TypeAlias = Literal["RS256", "ES256", "EdDSA"]
SameSite: TypeAlias = Literal["lax", "strict", "none"]
CookiePrefix: TypeAlias = Literal["__Host-", "__Secure-"]
BrowserInterface: TypeAlias = Literal["fdi", "classic"]
TransferMethod: TypeAlias = Literal["cookie", "header", "any"]
LimitPolicy: TypeAlias = Literal["evict_oldest", "reject"]
FeedSilence: TypeAlias = Literal["check_store", "refuse", "accept"]

Duration: TypeAlias = timedelta
"""For the protocol's signatures: it may not reach for ``datetime`` itself, as that tells the time too."""

PUBLIC: Final = "public"
"""The default app and the default tenant (spec/cdi.md 1.4)."""

MAX_COOKIE_BYTES: Final = 4096
"""Name and value of one cookie together (RFC 6265bis section 5.6; ASVS V3.3.5)."""

MAX_SESSIONS_PER_USER: Final = 100_000
"""A higher cap is none."""

_brief: Final = Repr()
"""How a value is shown in a message."""
_brief.maxstring = _brief.maxlong = _brief.maxother = 200
_brief.maxlevel = 2

_APP_ID = re.compile(r"[a-z0-9-]{1,64}")


class AntiCsrf(StrEnum):
    """How a cookie-borne request proves that the app's own page sent it (spec/fdi.md 2.4)."""

    VIA_TOKEN = "VIA_TOKEN"
    VIA_CUSTOM_HEADER = "VIA_CUSTOM_HEADER"
    NONE = "NONE"


class Retirement(StrEnum):
    """When a parent's grace begins to run (shared/rotation.md)."""

    ON_FIRST_USE = "on_first_use"
    """When a child is first seen in use. A lost answer costs nothing."""
    AT_REFRESH = "at_refresh"
    """When a child is first handed out, for fleets that verify by JWKS alone, where nobody sees the first use."""


class Settings(TypedDict, total=False):
    """The keyword arguments of :class:`Config`, for the facades' signatures."""

    app_id: str
    access_token_validity: timedelta
    refresh_token_validity: timedelta
    idle_timeout: timedelta | None
    absolute_lifetime: timedelta
    max_sessions_per_user: int | None
    session_limit_policy: LimitPolicy
    grace: timedelta
    retirement: Retirement
    algorithm: Algorithm
    signing_key_interval: timedelta
    max_session_data_bytes: int
    verified_token_cache: int
    instant_revocation: bool
    feed_interval: timedelta
    feed_lease: timedelta
    on_feed_silence: FeedSilence
    keep_user_agent: bool
    keep_address: bool
    theft_retention: timedelta
    api_domain: str | None
    website_domain: str | None
    api_base_path: str
    access_token_path: str
    refresh_token_path: str | None
    cookie_domain: str | None
    older_cookie_domain: str | None
    cookie_secure: bool | None
    cookie_same_site: SameSite | None
    cookie_prefix: CookiePrefix | None
    cookie_partitioned: bool
    anti_csrf: AntiCsrf | None
    token_transfer_method: TransferMethod
    device_routes: bool
    stream_check_interval: timedelta
    websocket_origins: tuple[str, ...]
    session_expired_status_code: int
    browser_interface: BrowserInterface
    core_timeout: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of a deployment. Raises :class:`GeneralError` (reason ``bad_config``) that names the setting, what
    it was and what it may be.

    ``app_id``
        Which app's sessions these are, where several share one store.
    ``access_token_validity``
        How long an access token is accepted without asking the store: 1 hour. At least 1 second, whole seconds.
    ``refresh_token_validity``
        How long a session lives without use: 100 days. Each refresh that is put to use begins it anew.
    ``idle_timeout``
        How long a session lives without activity, where that is to be shorter than ``refresh_token_validity``. Activity
        is seen when the client refreshes, so it must be longer than ``access_token_validity``: a user who is active at
        least every (``idle_timeout`` - ``access_token_validity``) stays signed in. None: no limit of its own.
    ``absolute_lifetime``
        How long a session lives at the most, whatever its use: 365 days.
    ``max_sessions_per_user``
        How many living sessions a user may have, in all tenants together. None: any number.
    ``session_limit_policy``
        What a sign-in beyond that does: ``evict_oldest`` ends the user's oldest session, ``reject`` raises
        :class:`TooManySessions`.
    ``grace``
        For how long the refresh token's parent may still be refreshed after a child was first used: 10 seconds, 0 to
        300. With 0, none at all (the strict reading of ASVS V10.4.5).
    ``retirement``
        When ``grace`` begins to run, see :class:`Retirement`.
    ``algorithm``
        What new signing keys sign with: RS256 (2048 bits; the fastest to verify), ES256 or EdDSA.
    ``signing_key_interval``
        How long a signing key signs: 168 hours. It is published before that and verifies after it.
    ``max_session_data_bytes``
        How large a session's data may be as JSON: 64 KiB.
    ``verified_token_cache``
        How many verified access tokens a process remembers, so that it checks the signature of each once: 10,000, which
        takes 25 MB at the most. 0: none.
    ``instant_revocation``
        Whether each process follows the store's log of endings, so that a revoked session's access tokens are refused
        at once, and a changed payload shows at once, without asking the store for each verification. It takes a thread
        (or a task) and a connection in each process, so: False.
    ``feed_interval``
        How often the log is looked at where nothing says that there is something new: 0.5 seconds.
    ``feed_lease``
        For how long after a look at the log access tokens are accepted without asking the store: 2 seconds, at least
        twice ``feed_interval``. No ending goes unnoticed for longer.
    ``on_feed_silence``
        What to do when that is over, as the log cannot be read: ``check_store`` asks the store for each verification,
        ``refuse`` raises :class:`GeneralError` (``feed_silent``), ``accept`` goes on without knowing.
    ``keep_user_agent``, ``keep_address``
        Whether to keep with a session what its client last called itself, and the IP address that it came from.
    ``theft_retention``
        How long theft events are kept: 90 days. A purge deletes older ones.
    ``api_domain``, ``website_domain``
        Origins such as ``https://api.example.com``. From the two follow ``Secure``, ``SameSite`` and the anti-CSRF
        mode. Without them the pages and the API are taken to be one site and ``Secure`` follows each request's
        scheme.
    ``api_base_path``
        Where the middleware's own routes are: ``/auth``.
    ``access_token_path``, ``refresh_token_path``, ``cookie_domain``, ``cookie_secure``, ``cookie_same_site``
        Cookie attributes. The refresh token's cookie goes to the refresh route alone, unless told otherwise.
    ``cookie_prefix``
        ``__Secure-`` or ``__Host-`` before the cookies' names, by which browsers keep out cookies that others have
        planted (RFC 6265bis section 4.1.3). What ``__Host-`` cannot name (the refresh token's cookie, with its narrow
        path) gets ``__Secure-``. To change it on a running deployment signs cookie clients out.
    ``cookie_partitioned``
        Give the cookies the attribute ``Partitioned`` (CHIPS), for an app in other sites' frames.
    ``older_cookie_domain``
        What ``cookie_domain`` was before it was changed ("" for none), so that browsers that still hold the old cookies
        beside the new ones get rid of them (spec/fdi.md P-2).
    ``anti_csrf``
        None for the computed default: VIA_CUSTOM_HEADER with ``SameSite=None``, else NONE (spec/fdi.md 2.4).
    ``token_transfer_method``
        ``cookie`` or ``header`` allows only that; ``any`` lets each client choose (spec/fdi.md 2.1).
    ``device_routes``
        Whether the middleware answers ``/auth/session/devices`` too: a user's own sessions, and their ends.
    ``stream_check_interval``
        How often the store is asked whether the sessions of open WebSockets and event streams still are: 5 seconds.
    ``websocket_origins``
        The origins of pages, besides ``website_domain`` and ``api_domain``, that may open a WebSocket with cookies.
    ``session_expired_status_code``
        The status of an answer without a session: 401. The browser SDK must be told of any other.
    ``browser_interface``
        What browsers are spoken to with: ``fdi`` for the browser SDK of today, ``classic`` for the 1.0.X interface
        (spec/fdi.md 1.9). For all that goes with the latter see :func:`tallystick.presets.classic`.
    ``core_timeout``
        How long to wait for a remote core at the most, with all that is tried when a host fails: 5 seconds, at least
        100 milliseconds.
    """

    app_id: str = PUBLIC
    access_token_validity: timedelta = timedelta(hours=1)
    refresh_token_validity: timedelta = timedelta(days=100)
    idle_timeout: timedelta | None = None
    absolute_lifetime: timedelta = timedelta(days=365)
    max_sessions_per_user: int | None = None
    session_limit_policy: LimitPolicy = "evict_oldest"
    grace: timedelta = timedelta(seconds=10)
    retirement: Retirement = Retirement.ON_FIRST_USE
    algorithm: Algorithm = "RS256"
    signing_key_interval: timedelta = timedelta(hours=168)
    max_session_data_bytes: int = 64 * 1024
    verified_token_cache: int = 10_000
    instant_revocation: bool = False
    feed_interval: timedelta = timedelta(milliseconds=500)
    feed_lease: timedelta = timedelta(seconds=2)
    on_feed_silence: FeedSilence = "check_store"
    keep_user_agent: bool = True
    keep_address: bool = True
    theft_retention: timedelta = timedelta(days=90)
    api_domain: str | None = None
    website_domain: str | None = None
    api_base_path: str = "/auth"
    access_token_path: str = "/"
    refresh_token_path: str | None = None
    cookie_domain: str | None = None
    older_cookie_domain: str | None = None
    cookie_secure: bool | None = None
    cookie_same_site: SameSite | None = None
    cookie_prefix: CookiePrefix | None = None
    cookie_partitioned: bool = False
    anti_csrf: AntiCsrf | None = None
    token_transfer_method: TransferMethod = "any"
    device_routes: bool = False
    stream_check_interval: timedelta = timedelta(seconds=5)
    websocket_origins: tuple[str, ...] = ()
    session_expired_status_code: int = 401
    browser_interface: BrowserInterface = "fdi"
    core_timeout: timedelta = timedelta(seconds=5)

    def __post_init__(self) -> None:
        self._check_durations()
        self._check_feed()
        self._check_choices()
        self._check_web()

    def _check_durations(self) -> None:
        for name in (
            "access_token_validity",
            "refresh_token_validity",
            "absolute_lifetime",
            "grace",
            "signing_key_interval",
            "theft_retention",
        ):
            value = getattr(self, name)
            if not isinstance(value, timedelta):
                raise _refused(name, value, "a datetime.timedelta")
        access = self.access_token_validity
        if access < timedelta(seconds=1) or access % timedelta(seconds=1):
            raise _refused("access_token_validity", access, "whole seconds, at least 1")
        if self.refresh_token_validity <= access:
            raise _refused(
                "refresh_token_validity",
                self.refresh_token_validity,
                f"longer than access_token_validity ({access})",
            )
        if self.absolute_lifetime <= access:
            raise _refused(
                "absolute_lifetime",
                self.absolute_lifetime,
                f"longer than access_token_validity ({access})",
            )
        if self.idle_timeout is not None and (
            not isinstance(self.idle_timeout, timedelta) or self.idle_timeout <= access
        ):
            raise _refused(
                "idle_timeout",
                self.idle_timeout,
                f"a datetime.timedelta longer than access_token_validity ({access}), or None",
            )
        if not timedelta(0) <= self.grace <= timedelta(seconds=300):
            raise _refused("grace", self.grace, "0 to 300 seconds")
        if self.signing_key_interval < timedelta(seconds=1):
            raise _refused("signing_key_interval", self.signing_key_interval, "at least 1 second")
        interval = self.stream_check_interval
        if not isinstance(interval, timedelta) or not timedelta(milliseconds=10) <= interval <= timedelta(hours=1):
            raise _refused("stream_check_interval", interval, "a datetime.timedelta from 10 milliseconds to 1 hour")
        wait = self.core_timeout
        if not isinstance(wait, timedelta) or not timedelta(milliseconds=100) <= wait <= timedelta(minutes=5):
            raise _refused("core_timeout", wait, "a datetime.timedelta from 100 milliseconds to 5 minutes")
        if self.theft_retention < timedelta(0):
            raise _refused("theft_retention", self.theft_retention, "0 or longer")

    def _check_feed(self) -> None:
        interval, lease = self.feed_interval, self.feed_lease
        if not isinstance(interval, timedelta) or not timedelta(milliseconds=10) <= interval <= timedelta(minutes=1):
            raise _refused("feed_interval", interval, "a datetime.timedelta from 10 milliseconds to 1 minute")
        if not isinstance(lease, timedelta) or not 2 * interval <= lease <= timedelta(hours=1):
            raise _refused("feed_lease", lease, f"a datetime.timedelta from {2 * interval} (two looks) to 1 hour")
        check_silence(self.on_feed_silence)

    def _check_choices(self) -> None:
        if not isinstance(self.app_id, str) or not _APP_ID.fullmatch(self.app_id):
            raise _refused("app_id", self.app_id, "1 to 64 characters of a-z, 0-9 and -")
        if self.algorithm not in get_args(Algorithm):
            raise _refused("algorithm", self.algorithm, "one of RS256, ES256, EdDSA")
        limit = self.max_sessions_per_user
        if limit is not None and (type(limit) is not int or not 1 <= limit <= MAX_SESSIONS_PER_USER):
            raise _refused("max_sessions_per_user", limit, f"1 to {MAX_SESSIONS_PER_USER:,}, or None")
        if self.session_limit_policy not in get_args(LimitPolicy):
            raise _refused("session_limit_policy", self.session_limit_policy, "'evict_oldest' or 'reject'")
        if not isinstance(self.retirement, Retirement):
            raise _refused("retirement", self.retirement, "a tallystick.Retirement")
        if self.anti_csrf is not None and not isinstance(self.anti_csrf, AntiCsrf):
            raise _refused("anti_csrf", self.anti_csrf, "a tallystick.AntiCsrf, or None")
        if self.cookie_same_site not in (None, *get_args(SameSite)):
            raise _refused("cookie_same_site", self.cookie_same_site, "'lax', 'strict', 'none', or None")
        if self.token_transfer_method not in get_args(TransferMethod):
            raise _refused("token_transfer_method", self.token_transfer_method, "'cookie', 'header' or 'any'")
        if not isinstance(self.max_session_data_bytes, int) or self.max_session_data_bytes < 2:
            raise _refused("max_session_data_bytes", self.max_session_data_bytes, "at least 2")
        if type(self.verified_token_cache) is not int or not 0 <= self.verified_token_cache <= 1_000_000:
            raise _refused("verified_token_cache", self.verified_token_cache, "0 to 1,000,000")
        for name in (
            "instant_revocation",
            "keep_user_agent",
            "keep_address",
            "cookie_partitioned",
            "device_routes",
        ):
            if not isinstance(getattr(self, name), bool):
                raise _refused(name, getattr(self, name), "True or False")

    def _check_web(self) -> None:
        for name in ("api_domain", "website_domain"):
            value = getattr(self, name)
            if value is not None and not _is_origin(value):
                raise _refused(name, value, "an origin such as 'https://example.com', or None")
        origins = self.websocket_origins
        if not isinstance(origins, tuple) or not all(_is_origin(origin) for origin in origins):
            raise _refused("websocket_origins", origins, "a tuple of origins such as 'https://example.com'")
        for name in ("api_base_path", "access_token_path", "refresh_token_path"):
            value = getattr(self, name)
            if value is None and name == "refresh_token_path":
                continue  # it follows api_base_path
            if not _is_path(value):
                raise _refused(name, value, "a path that begins with /")
        if self.cookie_domain is not None and not _is_cookie_domain(self.cookie_domain):
            raise _refused("cookie_domain", self.cookie_domain, "a domain such as 'example.com'")
        if self.older_cookie_domain not in (None, "") and not _is_cookie_domain(self.older_cookie_domain):
            raise _refused("older_cookie_domain", self.older_cookie_domain, "a domain, '' or None")
        if self.cookie_secure is not None and not isinstance(self.cookie_secure, bool):
            raise _refused("cookie_secure", self.cookie_secure, "True, False or None")
        if not isinstance(self.session_expired_status_code, int) or not (
            400 <= self.session_expired_status_code <= 499 and self.session_expired_status_code != 403
        ):
            raise _refused(
                "session_expired_status_code",
                self.session_expired_status_code,
                "a status from 400 to 499 other than 403, which is that of invalid claims",
            )
        self._check_browser_interface()
        self._check_cookie_names()

    def _check_browser_interface(self) -> None:
        if self.browser_interface not in get_args(BrowserInterface):
            raise _refused("browser_interface", self.browser_interface, "'fdi' or 'classic'")
        if self.browser_interface == "fdi":
            return
        if self.token_transfer_method != "cookie":
            raise _refused("token_transfer_method", self.token_transfer_method, "'cookie' with the classic interface")
        if self.cookie_prefix is not None:
            raise _refused(
                "cookie_prefix", self.cookie_prefix, "None with the classic interface, whose names are fixed"
            )
        if self.anti_csrf not in (AntiCsrf.VIA_TOKEN, AntiCsrf.NONE):
            raise _refused(
                "anti_csrf", self.anti_csrf, "VIA_TOKEN or NONE with the classic interface, whose clients send no rid"
            )

    def _check_cookie_names(self) -> None:
        prefix = self.cookie_prefix
        if prefix not in (None, *get_args(CookiePrefix)):
            raise _refused("cookie_prefix", prefix, "'__Host-', '__Secure-' or None")
        if prefix is None and not self.cookie_partitioned:
            return
        if self.secure is not True:
            name = "cookie_partitioned" if prefix is None else "cookie_prefix"
            raise _refused(
                name,
                getattr(self, name),
                "left out unless cookies are Secure: api_domain with https, or cookie_secure=True",
            )
        if prefix == "__Host-" and (self.cookie_domain is not None or self.access_token_path != "/"):
            raise _refused(
                "cookie_prefix", prefix, "'__Secure-' with a cookie_domain or another access_token_path than /"
            )

    @property
    def access_cookie(self) -> str:
        """The name of the access token's cookie."""
        return f"{self.cookie_prefix or ''}sAccessToken"

    @property
    def refresh_cookie(self) -> str:
        """The name of the refresh token's cookie; browsers take ``__Host-`` with the path ``/`` only."""
        prefix = "__Secure-" if self.cookie_prefix and self.refresh_cookie_path != "/" else self.cookie_prefix
        return f"{prefix or ''}sRefreshToken"

    @property
    def inactivity_limit(self) -> timedelta:
        """How long a session lives without use: the shorter of ``refresh_token_validity`` and ``idle_timeout``."""
        idle = self.idle_timeout
        return self.refresh_token_validity if idle is None else min(self.refresh_token_validity, idle)

    @property
    def is_classic(self) -> bool:
        """Whether browsers are spoken to with the 1.0.X interface."""
        return self.browser_interface == "classic"

    @property
    def auth_path(self) -> str:
        """``api_base_path`` without a slash at its end; empty for the root."""
        return self.api_base_path.rstrip("/")

    @property
    def refresh_path(self) -> str:
        """The refresh route, and the path of the refresh token's cookie unless that is set."""
        return f"{self.auth_path}/session/refresh"

    @property
    def refresh_cookie_path(self) -> str:
        """The path of the refresh token's cookie."""
        return self.refresh_path if self.refresh_token_path is None else self.refresh_token_path

    @property
    def secure(self) -> bool | None:
        """What ``Secure`` is to be, or None where only the request can tell."""
        if self.cookie_secure is not None:
            return self.cookie_secure
        return None if self.api_domain is None else self.api_domain.lower().startswith("https://")


def milliseconds(duration: timedelta) -> int:
    """A duration as the whole milliseconds that are reckoned with inside."""
    return duration // timedelta(milliseconds=1)


def check_age(name: str, value: object) -> int:
    """A maximum age, in ms. Raises :class:`GeneralError` (``bad_config``)."""
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise _refused(name, value, "a datetime.timedelta of 0 or more")
    return milliseconds(value)


def check_silence(value: FeedSilence) -> FeedSilence:
    """What to do about a silent feed. Raises :class:`GeneralError` (``bad_config``)."""
    if value not in get_args(FeedSilence):
        raise _refused("on_feed_silence", value, "'check_store', 'refuse' or 'accept'")
    return value


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that there is not; empty where none is near."""
    from difflib import get_close_matches  # noqa: PLC0415 - for a mistake alone

    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _refused(name: str, value: object, accepted: str) -> GeneralError:
    return GeneralError(f"{name} is {_show(value)}, but must be {accepted}", reason="bad_config")


def _show(value: object) -> str:
    """A value in a message, in bounds."""
    try:
        return _brief.repr(value)
    except ValueError:  # a number too long to write
        return f"a {type(value).__name__}"


def _is_origin(value: object) -> bool:
    # urlsplit passes over line breaks and tabs, but a header that the value is put into would not.
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
        return False
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and parts.path in ("", "/")
        and not (parts.query or parts.fragment or "@" in parts.netloc)
    )


def _is_path(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"/[!-:<-~]*", value) is not None


def _is_cookie_domain(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\.?[A-Za-z0-9.-]{1,253}", value) is not None
