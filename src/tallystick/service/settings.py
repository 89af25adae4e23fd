"""The service's configuration: one table, the body of :class:`CoreSettings`.

Names, defaults and ranges of the first part are the Core Driver Interface's (spec/cdi.md 5.1), so that a configuration
file, the environment of a container and the ``coreConfig`` of an app mean here what they mean there. The rest is ours.
Where values come from is told in :mod:`tallystick.service.sources`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from typing import Any, Final, TypeVar, cast

from tallystick.config import Config
from tallystick.errors import GeneralError
from tallystick.service.kinds import BasePath, Choice, Flag, Kind, Number, Pattern, Several, Text, Whole

T = TypeVar("T")

CDI_VERSIONS: Final = (
    *("2.7", "2.8", "2.9", "2.10", "2.11", "2.12", "2.13", "2.14", "2.15", "2.16", "2.17", "2.18", "2.19", "2.20"),
    *("2.21", "3.0", "3.1", "4.0", "5.0", "5.1", "5.2", "5.3", "5.4", "5.5", "5.6"),
)
"""The versions of the interface, oldest first (spec/cdi.md 1.1.1)."""

MINUTES_PER_YEAR: Final = 525_600

ALIASES: Final = {"access_token_signing_key_update_interval": "access_token_dynamic_signing_key_update_interval"}
"""Other names that spec/cdi.md 5.1 has for a setting."""

_ELSEWHERE: Final = {
    "postgresql_connection_uri": "url",
    "mysql_connection_uri": "url",
    "postgresql_connection_pool_size": "max_server_pool_size",
}
"""What a SuperTokens core's configuration calls differently. Not aliases: the tables behind it are other ones."""

_SECOND_IN_HOURS: Final = 0.0003
"""A little more, as the shortest that may be asked for."""


class Scope(StrEnum):
    """Where a setting may be set besides the service's own configuration."""

    BASE = "base"
    """Nowhere."""
    APP = "app"
    """In an app's ``coreConfig``; all its tenants have the same."""
    TENANT = "tenant"
    """In a tenant's too."""


class Group(StrEnum):
    """The headings of ``tallystick serve --help`` and of the reference."""

    LISTENING = "Listening"
    STORE = "Store and secret"
    TOKENS = "Tokens and keys"
    ACCESS = "Who may call"
    FIRST = "Drivers of the first interface"
    """What later drivers configure themselves."""
    LOAD = "Load and limits"
    OPERATION = "Operation"
    COMPATIBILITY = "Taken for compatibility"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    kind: Kind
    default: object
    group: Group
    scope: Scope
    variable: str
    """Its environment variable."""
    is_secret: bool
    """Whether its value must not be shown."""
    help: str


def _setting(
    default: T,
    kind: Kind,
    group: Group,
    help: str,
    *,
    scope: Scope = Scope.BASE,
    variable: str = "",
    is_ours: bool = False,
    is_secret: bool = False,
) -> T:
    about = {
        "kind": kind,
        "group": group,
        "help": help,
        "scope": scope,
        "variable": variable,
        "is_ours": is_ours,
        "is_secret": is_secret,
    }
    return field(default=default, metadata=about, repr=not is_secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSettings:
    """All settings of a service, or, after :func:`merge`, of one app or tenant of it. Raises :class:`GeneralError`
    (``bad_config``) where two settings do not go together; see :func:`parse_setting` for each by itself."""

    port: int = _setting(3567, Whole(1, 65535), Group.LISTENING, "Where to listen.", variable="SUPERTOKENS_PORT")
    host: str = _setting(
        "localhost",
        Text(),
        Group.LISTENING,
        "On which address or name to listen: 0.0.0.0 for every IPv4 address of the machine.",
        variable="SUPERTOKENS_HOST",
    )
    base_path: str = _setting("", BasePath(), Group.LISTENING, "A path before all endpoints, such as /sessions.")

    url: str = _setting(
        "sqlite:///tallystick.db",
        Text(),
        Group.STORE,
        "Where sessions live: sqlite:///file.db, postgresql://user:password@host/database, mysql://, mariadb:// "
        "or redis://.",
        is_ours=True,
        is_secret=True,
    )
    moving_from: str | None = _setting(
        None,
        Text(),
        Group.STORE,
        "Where they lived until now, while they move to the URL one by one; see tallystick move.",
        is_ours=True,
        is_secret=True,
    )
    secret: str | None = _setting(
        None,
        Text(),
        Group.STORE,
        "What keys are derived from and sealed with, at least 32 bytes; the same for all instances on one store. "
        "Several, with blanks between, newest first: older ones are still accepted. Make one with: tallystick secret",
        is_ours=True,
        is_secret=True,
    )
    secret_file: str | None = _setting(
        None,
        Text(),
        Group.STORE,
        "A file to read the secret from, instead: a container's or systemd's credential.",
        is_ours=True,
    )
    migrate: bool = _setting(
        True,
        Flag(),
        Group.STORE,
        "Whether to bring the database's tables up to date at the start. If not: tallystick migrate.",
        is_ours=True,
    )

    access_token_validity: int = _setting(
        3600,
        Whole(1, 86_400_000),
        Group.TOKENS,
        "For how long an access token is good, in seconds.",
        scope=Scope.APP,
    )
    access_token_validity_jitter: float = _setting(
        0.05,
        Number(0, 0.25),
        Group.TOKENS,
        "By which random fraction of it the validity may be shorter, so that clients do not refresh all at once.",
        scope=Scope.APP,
    )
    refresh_token_validity: float = _setting(
        144_000.0,
        Number(0.02, 1e9),
        Group.TOKENS,
        "How long a session lives without use, in minutes; longer than access_token_validity.",
        scope=Scope.APP,
    )
    absolute_lifetime: float | None = _setting(
        None,
        Number(0.02, 1e9),
        Group.TOKENS,
        "How long a session lives at the most, whatever its use, in minutes; longer than access_token_validity. "
        "By default a year, or refresh_token_validity where that is longer.",
        scope=Scope.APP,
        is_ours=True,
    )
    refresh_token_rotation_grace_period: int = _setting(
        30,
        Whole(0, 300),
        Group.TOKENS,
        "For how many seconds a refresh token may be used again after its successor was first used. "
        "0: not at all, as clients of CDI 5.5 and older expect.",
        scope=Scope.APP,
    )
    recent_token_reuse_behaviour: str = _setting(
        "TOKEN_THEFT",
        Choice("TOKEN_THEFT", "UNAUTHORISED"),
        Group.TOKENS,
        "What clients of CDI 5.6 are told when the grace is just over.",
    )
    access_token_dynamic_signing_key_update_interval: float = _setting(
        168.0,
        Number(_SECOND_IN_HOURS, 1e6),
        Group.TOKENS,
        "For how long a dynamic signing key signs, in hours; at least 1, with --dev at least a second.",
        scope=Scope.APP,
    )
    access_token_signing_key_dynamic: bool = _setting(
        True,
        Flag(),
        Group.TOKENS,
        "Whether tokens of CDI before 2.21 are signed with dynamic keys; later clients choose.",
        scope=Scope.APP,
    )
    access_token_blacklisting: bool = _setting(
        False,
        Flag(),
        Group.TOKENS,
        "Whether clients of CDI before 2.21 ask the store at each verification; later clients choose.",
        scope=Scope.APP,
    )
    former_core_jwks: str | None = _setting(
        None,
        Text(),
        Group.TOKENS,
        "The core that this one takes over from, by the URL of its /.well-known/jwks.json or a file of that: "
        "its access tokens are accepted until they expire.",
        is_ours=True,
    )
    max_session_data_bytes: int = _setting(
        65_536,
        Whole(2, 16 * 1024 * 1024),
        Group.TOKENS,
        "How large a session's data may be, as JSON.",
        scope=Scope.APP,
        is_ours=True,
    )

    api_keys: tuple[str, ...] = _setting(
        (),
        Several(r"[=\-A-Za-z0-9]{20,}", "keys of at least 20 characters of a-z, A-Z, 0-9, = and -"),
        Group.ACCESS,
        "The keys that callers must present one of, with commas between. None: everyone may call.",
        scope=Scope.APP,
        is_secret=True,
    )
    supertokens_saas_secret: str | None = _setting(
        None,
        Text(r".{40,}", "at least 40 characters"),
        Group.ACCESS,
        "One more key, which all apps accept; only beside api_keys.",
        is_secret=True,
    )
    ip_allow_regex: str | None = _setting(
        None,
        Pattern(),
        Group.ACCESS,
        "A regular expression that a caller's address must match.",
        scope=Scope.TENANT,
    )
    ip_deny_regex: str | None = _setting(
        None,
        Pattern(),
        Group.ACCESS,
        "A regular expression that a caller's address must not match.",
        scope=Scope.TENANT,
    )
    supertokens_max_cdi_version: str | None = _setting(
        None,
        Choice(*CDI_VERSIONS),
        Group.ACCESS,
        "The newest version of the interface to speak, and the one for callers that name none.",
        scope=Scope.APP,
    )
    supertokens_min_cdi_version: str | None = _setting(
        None, Choice(*CDI_VERSIONS), Group.ACCESS, "The oldest version of the interface to speak.", scope=Scope.APP
    )

    enable_anti_csrf: bool = _setting(
        False,
        Flag(),
        Group.FIRST,
        "Whether sessions have anti-CSRF tokens.",
        scope=Scope.APP,
    )
    cookie_domain: str | None = _setting(
        None,
        Text(r"\.?[A-Za-z0-9.-]{1,253}", "a domain, such as example.com"),
        Group.FIRST,
        "The cookies' domain. Without one, they belong to the API's host alone.",
        scope=Scope.APP,
    )
    cookie_secure: bool = _setting(False, Flag(), Group.FIRST, "Whether cookies go over https alone.", scope=Scope.APP)
    cookie_same_site: str = _setting(
        "lax", Choice("none", "lax", "strict"), Group.FIRST, "The cookies' SameSite.", scope=Scope.APP
    )
    access_token_path: str = _setting(
        "/", Text(r"/[!-:<-~]*", "a path that begins with /"), Group.FIRST, "The access token's path.", scope=Scope.APP
    )
    refresh_api_path: str = _setting(
        "/refresh",
        Text(r"/[!-:<-~]*", "a path that begins with /"),
        Group.FIRST,
        "The path of the app's route that refreshes, and of the refresh token's cookie.",
        scope=Scope.APP,
    )
    session_expired_status_code: int = _setting(
        440,
        Whole(400, 499),
        Group.FIRST,
        "The status of the app's answers without a session, as its browsers are told.",
        scope=Scope.APP,
    )

    workers: int = _setting(
        1,
        Whole(1, 64),
        Group.LOAD,
        "How many processes answer requests; about as many as there are processors.",
        is_ours=True,
    )
    max_server_pool_size: int = _setting(
        10, Whole(1, 500), Group.LOAD, "How many calls a worker has at the store at once, and so connections."
    )
    max_waiting_requests: int = _setting(
        1000,
        Whole(1, 100_000),
        Group.LOAD,
        "How many requests a worker has in hand; more are answered with 503 at once.",
        is_ours=True,
    )
    store_timeout: float = _setting(
        3.0,
        Number(0.05, 60),
        Group.LOAD,
        "For how many seconds a call waits for the store before it is answered with 503.",
        is_ours=True,
    )
    request_timeout: float = _setting(
        30.0,
        Number(0.1, 600),
        Group.LOAD,
        "For how many seconds a request may arrive and be worked on.",
        is_ours=True,
    )
    max_body_bytes: int = _setting(
        1024 * 1024,
        Whole(1024, 64 * 1024 * 1024),
        Group.LOAD,
        "How large a request's body may be; larger ones are answered with 413.",
        is_ours=True,
    )

    log_level: str = _setting(
        "INFO",
        Choice("DEBUG", "INFO", "WARN", "ERROR", "NONE"),
        Group.OPERATION,
        "What to log: with INFO each request, with WARN what an operator should look at.",
    )
    purge_interval: float = _setting(
        12.0,
        Number(_SECOND_IN_HOURS, 8760),
        Group.OPERATION,
        "How often expired sessions and keys are deleted, in hours.",
        is_ours=True,
    )
    shutdown_timeout: int = _setting(
        10,
        Whole(1, 3600),
        Group.OPERATION,
        "For how many seconds a stop waits for requests in hand.",
        is_ours=True,
    )
    dev: bool = _setting(
        False,
        Flag(),
        Group.OPERATION,
        "For development and for the test suites of SDKs: loopback alone, signing keys may be shorter-lived than an "
        "hour, and, unless a URL is given beside it, a throw-away database and secret.",
        is_ours=True,
    )

    disable_telemetry: bool = _setting(
        False, Flag(), Group.COMPATIBILITY, "Changes nothing: there is no telemetry.", scope=Scope.APP
    )
    supertokens_saas_load_only_cud: str | None = _setting(
        None, Text(), Group.COMPATIBILITY, "Changes nothing: every domain is answered alike."
    )

    def __post_init__(self) -> None:
        access_minutes = self.access_token_validity / 60
        for name in ("refresh_token_validity", "absolute_lifetime"):
            minutes = getattr(self, name)
            if minutes is not None and minutes <= access_minutes:
                raise _refused(name, minutes, f"longer than access_token_validity, {access_minutes:g} minutes")
        interval = self.access_token_dynamic_signing_key_update_interval
        if interval < 1 and not self.dev:
            name = "access_token_dynamic_signing_key_update_interval"
            raise _refused(name, interval, "at least 1 (hours), unless with --dev")
        if self.supertokens_saas_secret is not None and not self.api_keys:
            raise GeneralError("supertokens_saas_secret needs api_keys beside it", reason="bad_config")
        newest, oldest = self.supertokens_max_cdi_version, self.supertokens_min_cdi_version
        if newest and oldest and CDI_VERSIONS.index(oldest) > CDI_VERSIONS.index(newest):
            raise _refused(
                "supertokens_min_cdi_version", oldest, f"no newer than supertokens_max_cdi_version, {newest}"
            )
        if self.secret is not None and self.secret_file is not None:
            raise GeneralError("secret and secret_file are both set: which is it?", reason="bad_config")


@cache
def all_settings() -> Mapping[str, Setting]:
    """The table, by name."""
    return {each.name: _describe(each) for each in fields(CoreSettings)}


def find_setting(name: str) -> Setting:
    """The row of a name or alias. Raises :class:`GeneralError` (``bad_config``), with a near match, where there is
    none."""
    found = all_settings().get(ALIASES.get(name, name))
    if found is not None:
        return found
    near = [_ELSEWHERE[name]] if name in _ELSEWHERE else get_close_matches(name, all_settings(), n=1)
    hint = f": did you mean {near[0]}?" if near else ""
    raise GeneralError(f"there is no setting {name[:100]!r}{hint}", reason="bad_config")


def parse_setting(name: str, value: object) -> Any:  # noqa: ANN401 - as the table has it
    """A setting's value, from text or from what YAML or JSON made of it: numbers and booleans may be text too
    (spec/cdi.md 1.7). Raises :class:`GeneralError` (``bad_config``) with the name and what is accepted."""
    setting = find_setting(name)
    try:
        return setting.kind.parse(value)
    except ValueError:
        shown = "<not shown>" if setting.is_secret else value
        raise _refused(setting.name, shown, setting.kind.accepted) from None


def merge(settings: CoreSettings, core_config: Mapping[str, object], scope: Scope = Scope.APP) -> CoreSettings:
    """``settings`` with what an app (or, with ``scope``, a tenant) has set for itself; a null sets nothing.

    Raises :class:`GeneralError` (``bad_config``) for an unknown name, a bad value, and what only the service's own
    configuration may set.
    """
    changes: dict[str, Any] = {}
    for name, value in core_config.items():
        setting = find_setting(name)
        if setting.scope is Scope.BASE:
            raise GeneralError(f"{name} can only be set in the service's own configuration", reason="bad_config")
        if scope is Scope.TENANT and setting.scope is Scope.APP:
            raise GeneralError(f"{name} can only be set for a whole app, not for a tenant", reason="bad_config")
        if value is not None:
            changes[setting.name] = parse_setting(name, value)
    return replace(settings, **changes) if changes else settings


def config_for(settings: CoreSettings, app_id: str) -> Config:
    """The settings of an app's sessions, as the facades' flows take them."""
    year = max(float(MINUTES_PER_YEAR), settings.refresh_token_validity, settings.access_token_validity / 60 + 1)
    return Config(
        app_id=app_id,
        access_token_validity=timedelta(seconds=settings.access_token_validity),
        refresh_token_validity=timedelta(minutes=settings.refresh_token_validity),
        absolute_lifetime=timedelta(minutes=settings.absolute_lifetime or year),
        grace=timedelta(seconds=settings.refresh_token_rotation_grace_period),
        signing_key_interval=timedelta(hours=settings.access_token_dynamic_signing_key_update_interval),
        max_session_data_bytes=settings.max_session_data_bytes,
    )


def _describe(each: Field[Any]) -> Setting:
    about: Mapping[str, Any] = each.metadata
    prefix = "TALLYSTICK_" if about["is_ours"] else ""
    return Setting(
        name=each.name,
        kind=about["kind"],
        default=cast("object", each.default),
        group=about["group"],
        scope=about["scope"],
        variable=about["variable"] or prefix + each.name.upper(),
        is_secret=about["is_secret"],
        help=about["help"],
    )


def _refused(name: str, value: object, accepted: str) -> GeneralError:
    shown = repr(value)
    return GeneralError(f"{name} is {shown[:100]}, but must be {accepted}", reason="bad_config")
