"""From the deployment's secret, every key that is not a signing key.

HKDF-SHA256 (RFC 5869), one label for each use, so that no key tells anything of another. The app's id is in the label:
what one app has sealed is foreign to the next, though they share secret and store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tallystick.errors import GeneralError

MIN_SECRET_BYTES: Final = 32
"""RFC 8725 section 3.5: as many bytes as the hash puts out; no passwords."""

_HOW = 'make one with: python -c "import secrets; print(secrets.token_urlsafe(48))"'


@dataclass(frozen=True, slots=True)
class DerivedKeys:
    """The keys that one secret gives, 32 bytes each."""

    envelope: bytes = field(repr=False)
    """Tags refresh tokens so that foreign ones are refused unread."""
    refresh: bytes = field(repr=False)
    """With a session's nonce, tags its refresh tokens."""
    anti_csrf: bytes = field(repr=False)
    """Makes anti-CSRF tokens from refresh tokens."""
    wrapping: bytes = field(repr=False)
    """Encrypts private signing keys at rest."""
    kid: bytes = field(repr=False)
    """Tags key ids so that foreign ones are refused unread."""


def derive_keys(secret: str | bytes, app_id: str) -> DerivedKeys:
    """Derive all keys from one secret. Raises :class:`GeneralError` (``weak_secret``) for a short one."""
    raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    if not isinstance(raw, bytes):
        raise GeneralError(f"secret must be a str or bytes; {_HOW}", reason="bad_secret")
    if len(raw) < MIN_SECRET_BYTES:
        raise GeneralError(
            f"secret is {len(raw)} bytes long, but must be at least {MIN_SECRET_BYTES}; {_HOW}",
            reason="weak_secret",
        )

    def derive(use: str) -> bytes:
        label = f"tallystick/1/{use}/{app_id}".encode("ascii")
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=label).derive(raw)

    return DerivedKeys(
        envelope=derive("refresh-envelope"),
        refresh=derive("refresh-token"),
        anti_csrf=derive("anti-csrf"),
        wrapping=derive("signing-key"),
        kid=derive("kid"),
    )


def derive_all(secret: str | bytes | Sequence[str | bytes], app_id: str) -> tuple[DerivedKeys, ...]:
    """Derive for each secret in turn, newest first. The first one makes, all of them open."""
    if not isinstance(secret, Sequence):
        raise GeneralError(f"secret must be a str or bytes, or a list of them; {_HOW}", reason="bad_secret")
    secrets = (secret,) if isinstance(secret, str | bytes) else tuple(secret)
    if not secrets:
        raise GeneralError(f"secret is an empty list; {_HOW}", reason="bad_secret")
    return tuple(derive_keys(one, app_id) for one in secrets)
