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
from logging import getLogger
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as new_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tallystick.config import Config, Settings
from tallystick.deployment import Deployment, make_deployment
from tallystick.errors import GeneralError, SessionError, TokenTheftDetected
from tallystick.storage.opening import database_file, is_ephemeral

Secret: TypeAlias = str | bytes | Sequence[str | bytes]

SECRET_VARIABLE: Final = "TALLYSTICK_SECRET"
DEFAULT_URL: Final = "sqlite:///tallystick.db"

_RSA_BITS: Final = 2048
_logger = getLogger("tallystick")


def system_clock() -> int:
    """The present, in ms since the epoch."""
    return time.time_ns() // 1_000_000


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
    )


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
