"""The real world: the clock, the dice, new keys, and where the deployment's secret comes from.

Nothing below this module knows that any of them is real; tests put others in their place.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as new_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tallystick import core_flows, flows
from tallystick.config import Config, Settings, did_you_mean
from tallystick.core_deployment import CoreDeployment, make_core_deployment
from tallystick.core_endings import AsyncCoreLog, CoreLog
from tallystick.deployment import Deployment, make_deployment
from tallystick.errors import GeneralError, SessionError, TokenTheftDetected
from tallystick.feeds import AsyncFeed, AsyncLog, Log, SyncFeed
from tallystick.repertoire import Repertoire
from tallystick.storage.interface import AsyncCore, AsyncSessionStore, Core, SessionStore
from tallystick.storage.moving import AsyncMovingStore, MovingStore
from tallystick.storage.opening import (
    AsyncEngine,
    Engine,
    database_file,
    is_core,
    is_ephemeral,
    open_async_core,
    open_async_core_line,
    open_async_store,
    open_core,
    open_core_line,
    open_store,
)

Secret: TypeAlias = str | bytes | Sequence[str | bytes]

SECRET_VARIABLE: Final = "TALLYSTICK_SECRET"
API_KEY_VARIABLE: Final = "TALLYSTICK_API_KEY"
DEFAULT_URL: Final = "sqlite:///tallystick.db"

_RSA_BITS: Final = 2048
_logger = getLogger("tallystick")


def system_clock() -> int:
    """The present, in ms since the epoch."""
    return time.time_ns() // 1_000_000


steady_clock: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Seconds since some moment, by which a core's stream is dated. It never jumps, and goes on while the machine is
suspended, where the system has a clock that does."""


def new_private_key(algorithm: str) -> bytes:
    """A new private key as PKCS #8 DER."""
    key: RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
    match algorithm:
        case "RS256":
            key = new_rsa_key(public_exponent=65537, key_size=_RSA_BITS)
        case "ES256":
            key = new_ec_key(SECP256R1())
        case _:
            key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def deploy(
    url: object,
    secret: Secret | None,
    settings: Settings,
    clock: Callable[[], int] | None,
    entropy: Callable[[int], bytes] | None,
) -> Deployment:
    """Put a deployment together from what a facade was given."""
    return make_deployment(
        Config(**settings),
        secret if secret is not None else find_secret(url),
        clock=clock or system_clock,
        entropy=entropy or secrets.token_bytes,
        new_private_key=new_private_key,
        steady=time.monotonic,
    )


def deploy_core(
    settings: Settings,
    clock: Callable[[], int] | None,
    entropy: Callable[[int], bytes] | None,
) -> CoreDeployment:
    """The same where a core keeps the sessions."""
    return make_core_deployment(
        settings, clock=clock or system_clock, entropy=entropy or secrets.token_bytes, steady=time.monotonic
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a facade's sessions are, and the sequences that go with it."""

    flows: Repertoire[Any]
    deployment: Deployment | CoreDeployment
    api_key: str | None = field(default=None, repr=False)
    """Of a core."""

    @property
    def is_core(self) -> bool:
        """Whether a core keeps the sessions, and no store."""
        return isinstance(self.deployment, CoreDeployment)


def find_place(
    url: object,
    *,
    secret: Secret | None,
    migrate: bool | None,
    api_key: str | None,
    settings: Settings,
    clock: Callable[[], int] | None,
    entropy: Callable[[int], bytes] | None,
) -> Place:
    """From what a facade was given, what it runs on. Raises :class:`GeneralError` (``bad_config``) where something of
    it does not go with the URL, and :class:`TypeError` for a setting that there is not."""
    _check_names(settings)
    local: Repertoire[Deployment] = flows
    remote: Repertoire[CoreDeployment] = core_flows
    if not is_core(url):
        if api_key is not None:
            raise GeneralError("api_key is a core's: it goes with a URL such as http://core:3567", reason="bad_config")
        return Place(local, deploy(url, secret, settings, clock, entropy))
    for name, value in (("secret", secret), ("migrate", migrate)):
        if value is not None:
            raise GeneralError(
                f"{name} is not for the app to say where a core keeps the sessions: the core has its own",
                reason="bad_config",
            )
    key = api_key if api_key is not None else os.environ.get(API_KEY_VARIABLE, "").strip() or None
    return Place(remote, deploy_core(settings, clock, entropy), key)


def _check_names(settings: Settings) -> None:
    known = Config.__dataclass_fields__
    for name in settings:
        if name not in known:
            raise TypeError(f"there is no setting {name!r}{did_you_mean(name, known)}")


def open_place(place: Place, url: str | Engine | SessionStore, migrate: bool | None) -> SessionStore | Core:
    """The store or the core, for synchronous code. It connects when it is first used."""
    if place.is_core:
        return open_core(str(url), place.deployment.config, place.api_key)
    return open_store(url, migrate=migrate)


def open_async_place(
    place: Place, url: str | AsyncEngine | AsyncSessionStore, migrate: bool | None
) -> AsyncSessionStore | AsyncCore:
    """The same for asynchronous code."""
    if place.is_core:
        return open_async_core(str(url), place.deployment.config, place.api_key)
    return open_async_store(url, migrate=migrate)


def open_feed(
    place: Place, url: str | Engine | SessionStore, migrate: bool | None, store: SessionStore | Core
) -> SyncFeed | None:
    """The feed of endings, if the settings want it; it starts when it is first needed. From a URL it has connections of
    its own, so that it need not wait for those of a busy app."""
    d = place.deployment
    if d.view is None:
        return None

    def make_log() -> tuple[Log, bool]:
        if place.is_core:
            return CoreLog(open_core_line(str(url), d.config, place.api_key), steady_clock), True
        return (open_store(url, migrate=migrate), True) if _is_elsewhere(url) else (cast("SessionStore", store), False)

    return SyncFeed(d, d.view, make_log)


def open_async_feed(
    place: Place, url: str | AsyncEngine | AsyncSessionStore, migrate: bool | None, store: AsyncSessionStore | AsyncCore
) -> AsyncFeed | None:
    """The same for asynchronous code."""
    d = place.deployment
    if d.view is None:
        return None

    def make_log() -> tuple[AsyncLog, bool]:
        if place.is_core:
            return AsyncCoreLog(open_async_core_line(str(url), d.config, place.api_key), steady_clock), True
        if _is_elsewhere(url):
            return open_async_store(url, migrate=migrate), True
        return cast("AsyncSessionStore", store), False

    return AsyncFeed(d, d.view, make_log)


def _is_elsewhere(url: object) -> bool:
    return isinstance(url, str) and not is_ephemeral(url)


def find_secret(url: object) -> Secret:
    """The secret of a deployment that was given none.

    From the environment (several, newest first, with blanks between); else, for an SQLite file, from a file beside it
    that is made when it is missing; else, where the sessions end with the process, a random one. Any other store is
    shared by several processes, which must agree: raises :class:`GeneralError` (``no_secret``).
    """
    from_environment = os.environ.get(SECRET_VARIABLE, "").split()
    if from_environment:
        return from_environment
    database = database_file(url)
    if database is not None:
        return _secret_beside(database)
    if is_ephemeral(url):
        return secrets.token_bytes(48)
    if isinstance(url, MovingStore | AsyncMovingStore):
        raise GeneralError(
            f'to move sessions takes the secret that they have had: pass secret="..." or set {SECRET_VARIABLE}. '
            "Where an SQLite file had none, it is in the file beside it whose name ends in .secret",
            reason="no_secret",
        )
    raise GeneralError(
        f'a secret is needed: pass secret="..." or set {SECRET_VARIABLE}. '
        'Make one with: python -c "import secrets; print(secrets.token_urlsafe(48))". '
        "Keep it out of the database and give all processes the same one",
        reason="no_secret",
    )


def report(error: SessionError) -> None:
    """Log what an operator must hear of. Handles are no secrets; tokens and user ids do not appear."""
    if isinstance(error, TokenTheftDetected):
        _logger.warning("token theft detected: session %s revoked (%s)", error.session_handle, error.reason)
    elif error.reason == "ahead":
        _logger.error("a refresh token is newer than its session: %s", error.message)


def _secret_beside(database: Path) -> str:
    path = database.with_name(f"{database.name}.secret")
    try:
        if not path.exists():
            _make_secret(path)
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            _logger.warning("%s can be read by others: chmod 600 it", path)
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise GeneralError(
            f"the secret in {path} cannot be read or made ({type(error).__name__}): "
            f'see that its directory exists and is writable, or pass secret="..."',
            reason="no_secret",
        ) from error


def _make_secret(path: Path) -> None:
    """Write the file whole and then link it into place, so that of two processes at once both read one secret."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
        _logger.warning(
            "made a secret for this database in %s. Keep it with the database, and out of version control",
            path,
        )
    except FileExistsError:
        pass  # another process was faster, and its secret is as good
    finally:
        Path(draft).unlink()
