"""Signing keys: which one signs, which ones verify, and when the next one is due.

Every process holds a :class:`Keyring`, a frozen picture of the store's keys, and looks again when it falls due. The
life of a key, with I = signing interval, V = validity of an access token, O = overlap (spec/cdi.md 3.3)::

    created        created + O                created + I            created + I + 2V
       │ published      │ signs                    │ verifies only           │ retired
       └────────────────┴──────────────────────────┴─────────────────────────┘
                                  next key created ┘ O before that

So a verifier that reads the published keys at least once every O never meets a key it does not know, and nothing is
retired before the last token it signed has expired.

Besides those *dynamic* keys there can be a *static* one, which is never rotated (spec/cdi.md 3.4).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tallystick.errors import GeneralError
from tallystick.protocol.derivation import DerivedKeys
from tallystick.protocol.encoding import encode_base64url
from tallystick.protocol.signing import Signer, load_signer
from tallystick.types import KeyRow

MAX_OVERLAP: Final = 60_000
"""How long a key is published before it signs, in ms, unless the interval is short."""

TIMELESS: Final = 253_402_300_799_000
"""What a static key's row has for its creation: the last second of the year 9999, which no purge reaches."""

WRAP_NONCE_BYTES: Final = 12
_KID_TAG_BYTES: Final = 12
# No leading zeros, so that no second text stands for the same key.
_KID = re.compile(r"([ds])-(0|[1-9][0-9]{0,14})-([1-9][0-9]{0,9})-([A-Za-z0-9_-]{16})")


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long keys live, in ms."""

    interval: int
    token_validity: int
    lifetime: int = field(init=False)
    """From a key's creation to its retirement."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lifetime", self.interval + 2 * self.token_validity)

    @property
    def overlap(self) -> int:
        """A fifth of a short interval, so that keys do not fall due faster than they are used."""
        return min(MAX_OVERLAP, self.interval // 5)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key, ready for use. ``header`` is the encoded JWS header of every token it signs."""

    kid: str
    sequence: int
    created_at: int
    signer: Signer = field(repr=False)
    header: str

    @property
    def is_static(self) -> bool:
        """Whether it is never rotated."""
        return self.created_at == TIMELESS


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of one app, newest first."""

    schedule: Schedule
    algorithm: str
    keys: tuple[SigningKey, ...]
    by_header: dict[str, SigningKey] = field(repr=False)
    """A token's key, found by the very text of its header: a header that is not ours to the letter finds none."""
    highest_sequence: int
    """The highest in the store, readable here or not."""

    def signing_key(self, now: int) -> SigningKey | None:
        """The key that signs at ``now``: the newest that has been published for long enough, else the newest."""
        usable = [key for key in self.keys if key.signer.algorithm == self.algorithm and self._may_sign(key, now)]
        ripe = [key for key in usable if now >= key.created_at + self.schedule.overlap]
        return ripe[0] if ripe else (usable[0] if usable else None)

    def is_due(self, now: int) -> bool:
        """Whether it is time to look for, or make, the next key."""
        newest = self.newest_dynamic
        return newest is None or now >= self.due_at(newest)

    @property
    def newest_dynamic(self) -> SigningKey | None:
        """The newest key that is rotated, of the algorithm that is signed with."""
        return next((k for k in self.keys if k.signer.algorithm == self.algorithm and not k.is_static), None)

    @property
    def static_key(self) -> SigningKey | None:
        """The newest static key."""
        return next((k for k in self.keys if k.is_static), None)

    def due_at(self, key: SigningKey) -> int:
        """When the key after ``key`` is made: the overlap before it is needed."""
        return key.created_at + self.schedule.interval - self.schedule.overlap + 1

    def find(self, header: str, now: int) -> SigningKey | None:
        """The key that signed a token with this encoded header, or None if it is not here or retired."""
        key = self.by_header.get(header)
        return key if key is not None and now <= key.created_at + self.schedule.lifetime else None

    def has_key_at(self, now: int) -> bool:
        """Whether any key verifies at ``now``. Where none does, a token that is not known may be ours all the same."""
        return any(now <= key.created_at + self.schedule.lifetime for key in self.keys)

    def next_retirement(self, now: int) -> int:
        """The last instant at which all keys that verify at ``now`` still do. Without any: now."""
        ends = (key.created_at + self.schedule.lifetime for key in self.keys)  # a static key's is beyond all others
        return min((end for end in ends if end >= now), default=now)

    def jwks(self, now: int) -> dict[str, Any]:
        """The public keys as a JWK Set (RFC 7517 section 5), newest first, static ones last."""
        return {
            "keys": [
                {
                    **key.signer.public_members(),
                    "kid": key.kid,
                    "alg": key.signer.algorithm,
                    "use": "sig",
                }
                for key in sorted(self.keys, key=lambda key: key.is_static)
                if not self._is_retired(key.created_at, now)
            ]
        }

    def _may_sign(self, key: SigningKey, now: int) -> bool:
        return not key.is_static and now < key.created_at + self.schedule.interval

    def _is_retired(self, created_at: int, now: int) -> bool:
        return now > created_at + self.schedule.lifetime


class JwtHeader(msgspec.Struct, forbid_unknown_fields=True):
    """The header of an access token, whole: nothing else may stand in it (RFC 8725 section 3.10)."""

    alg: str
    kid: str
    typ: str
    version: str


def empty_keyring(schedule: Schedule, algorithm: str) -> Keyring:
    """A ring that is due: what a process has before it first asks the store."""
    return Keyring(schedule, algorithm, (), {}, 0)


def encode_header(header: JwtHeader) -> str:
    """The one text that a header has."""
    return encode_base64url(msgspec.json.encode(header))


def open_keyring(
    rows: Iterable[KeyRow],
    secrets: Sequence[DerivedKeys],
    schedule: Schedule,
    algorithm: str,
    known: Keyring,
    now: int,
) -> Keyring:
    """Make a ring of the store's rows. Keys that ``known`` has are not decrypted again.

    Rows that no secret opens are passed over, as their secret may have been dropped on purpose. Where not one opens, a
    wrong secret is far more likely, and going on would sign everybody out: raises :class:`GeneralError`
    (``wrong_secret``). A key that was sealed twice, see :func:`seal_again`, is one.
    """
    rows = list(rows)
    fresh = [row for row in rows if now <= row.created_at + schedule.lifetime]
    held = {key.kid: key for key in known.keys}
    opened = [held.get(row.kid) or _open_key(row, secrets) for row in fresh]
    keys = sorted({k.kid: k for k in opened if k is not None}.values(), key=lambda k: -k.sequence)
    if fresh and not keys:
        raise GeneralError(
            "none of the signing keys in the store opens with this secret, so it is not the one that made them. "
            "Give the former secret too: secret=[new, former]. If it is lost, delete the rows of "
            "tallystick_signing_keys: everybody will have to sign in again.",
            reason="wrong_secret",
        )
    return Keyring(
        schedule,
        algorithm,
        tuple(keys),
        {key.header: key for key in keys},
        max((row.sequence for row in rows), default=0),
    )


def mint_key_row(
    der: bytes,
    *,
    secret: DerivedKeys,
    app_id: str,
    algorithm: str,
    sequence: int,
    now: int,
    nonce: bytes,
    is_static: bool = False,
) -> KeyRow:
    """Seal a new private key (PKCS #8 DER) for the store. ``nonce`` is 12 random bytes."""
    kind = "s" if is_static else "d"
    kid = f"{kind}-{now}-{sequence}-{_kid_tag(secret, kind, now, sequence)}"
    sealed = _seal(der, secret, kid, algorithm, nonce)
    return KeyRow(app_id, sequence, kid, algorithm, TIMELESS if is_static else now, sealed)


def seal_again(row: KeyRow, secrets: Sequence[DerivedKeys], *, sequence: int, nonce: bytes) -> KeyRow | None:
    """The same key, sealed under the newest secret: so the former one can be dropped though the key is never rotated.
    None where it is sealed so already, or where no secret opens it."""
    der = None if _unseal(row, secrets[:1]) is not None else _unseal(row, secrets)
    if der is None:
        return None
    return replace(row, sequence=sequence, sealed=_seal(der, secrets[0], row.kid, row.algorithm, nonce))


def is_genuine_kid(kid: str, secrets: Sequence[DerivedKeys], schedule: Schedule, now: int) -> bool:
    """Tell whether we once gave out this key id and its key can still be in use.

    This is what lets a process look for a key that another one has just made, and yet never ask the store about a key
    id that a stranger made up.
    """
    match = _KID.fullmatch(kid)
    if match is None:
        return False
    kind, created_at, sequence, tag = match[1], int(match[2]), int(match[3]), match[4].encode("ascii")
    if kind == "d" and now > created_at + schedule.lifetime:
        return False
    return any(hmac.compare_digest(_kid_tag(keys, kind, created_at, sequence).encode("ascii"), tag) for keys in secrets)


def _kid_tag(keys: DerivedKeys, kind: str, created_at: int, sequence: int) -> str:
    text = f"{kind}/{created_at}/{sequence}".encode("ascii")
    return encode_base64url(hmac.digest(keys.kid, text, "sha256")[:_KID_TAG_BYTES])


def _open_key(row: KeyRow, secrets: Sequence[DerivedKeys]) -> SigningKey | None:
    der = _unseal(row, secrets)
    if der is None:
        return None
    try:
        signer = load_signer(row.algorithm, der)
    except ValueError:
        return None
    header = JwtHeader(alg=row.algorithm, kid=row.kid, typ="JWT", version="5")
    return SigningKey(row.kid, row.sequence, row.created_at, signer, encode_header(header))


def _seal(der: bytes, secret: DerivedKeys, kid: str, algorithm: str, nonce: bytes) -> bytes:
    return nonce + AESGCM(secret.wrapping).encrypt(nonce, der, _bound_to(kid, algorithm))


def _unseal(row: KeyRow, secrets: Sequence[DerivedKeys]) -> bytes | None:
    nonce, ciphertext = row.sealed[:WRAP_NONCE_BYTES], row.sealed[WRAP_NONCE_BYTES:]
    for keys in secrets:
        with suppress(InvalidTag, ValueError):
            return AESGCM(keys.wrapping).decrypt(nonce, ciphertext, _bound_to(row.kid, row.algorithm))
    return None


def _bound_to(kid: str, algorithm: str) -> bytes:
    """Associated data: a sealed key put under another row's name does not open."""
    return f"{kid}/{algorithm}".encode("ascii")
