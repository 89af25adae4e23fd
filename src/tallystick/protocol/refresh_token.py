"""Refresh tokens: opaque to everybody else, and unforgeable without both the secret and the store.

``<body>.<envelope>.<tag>.T1``, each part base64url. The body is msgpack: handle, generation, random id, hash of the
parent, whether it has an anti-CSRF token, whether the session's tokens are signed with a static key. Two MACs follow it
(HMAC-SHA256, RFC 2104):

* the *envelope* is keyed by the secret alone. It is checked first, so what a stranger makes up never reaches the store;
* the *tag* is keyed by the secret and the session's nonce (shared/rotation.md): who has the secret but not the database
  cannot make one, and the other way round neither.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tallystick.errors import Unauthorised
from tallystick.protocol.derivation import DerivedKeys
from tallystick.protocol.encoding import decode_base64url, encode_base64url, hash_token

ID_BYTES: Final = 16
NONCE_BYTES: Final = 16
MAX_REFRESH_TOKEN: Final = 1024
_SUFFIX: Final = "T1"
_SUFFIXES: Final = (_SUFFIX, "V0", "V1", "V2")
"""Ours, and those of SuperTokens's core."""
_ENVELOPE_BYTES: Final = 16
_TAG_BYTES: Final = 32
_HASH_BYTES: Final = 32


class _Body(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    handle: str
    generation: int
    id: bytes
    parent: bytes | None
    has_anti_csrf: bool
    has_static_key: bool


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Body, strict=True).decode


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token and what it carries."""

    text: str = field(repr=False)
    handle: str
    generation: int
    parent_hash1: str | None = field(repr=False)
    """hash1 of the token that this one was handed out for; None for a session's first."""
    has_anti_csrf: bool
    has_static_key: bool
    """Whether the session's access tokens are signed with a static key (spec/cdi.md 3.4)."""

    @property
    def hash1(self) -> str:
        """hash1 of the token itself (spec/cdi.md 3.0)."""
        return hash_token(self.text)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A refresh token whose envelope is right, so that it is worth loading the session, and whose tag is still to be
    checked."""

    token: RefreshToken
    keys: DerivedKeys = field(repr=False)
    """Those of the secret that made it."""
    _body: bytes = field(repr=False)
    _tag: bytes = field(repr=False)

    def open(self, nonce: bytes) -> RefreshToken:
        """Check the tag with the session's nonce. Raises :class:`Unauthorised`: a wrong tag is a bad token and never
        theft, as a stranger must not be able to end sessions by guessing (shared/rotation.md)."""
        if not hmac.compare_digest(_tag(self.keys, nonce, self._body), self._tag):
            raise _bad_token()
        return self.token


def mint_refresh_token(
    *,
    keys: DerivedKeys,
    nonce: bytes,
    handle: str,
    generation: int,
    token_id: bytes,
    parent_hash1: str | None,
    has_anti_csrf: bool,
    has_static_key: bool = False,
) -> RefreshToken:
    """Make a refresh token. ``token_id`` is 16 random bytes; ``nonce`` is the session's."""
    parent = None if parent_hash1 is None else bytes.fromhex(parent_hash1)
    body = _encode(_Body(handle, generation, token_id, parent, has_anti_csrf, has_static_key))
    parts = (body, _envelope(keys, body), _tag(keys, nonce, body))
    text = ".".join((*map(encode_base64url, parts), _SUFFIX))
    return RefreshToken(text, handle, generation, parent_hash1, has_anti_csrf, has_static_key)


def open_envelope(text: object, secrets: Sequence[DerivedKeys]) -> Envelope:
    """Read a refresh token up to its tag, for which the session's nonce is needed.

    Raises :class:`Unauthorised` (``bad_token``) for whatever is not ours.
    """
    body, envelope, tag = _split(text)
    for keys in secrets:
        if hmac.compare_digest(_envelope(keys, body), envelope):
            return Envelope(_read(str(text), body), keys, body, tag)
    raise _bad_token()


def looks_like_refresh_token(text: str) -> bool:
    """Whether a token names itself one, ours or a core's (spec/cdi.md 4). Nothing is verified."""
    return text.rpartition(".")[2].upper() in _SUFFIXES


def _split(text: object) -> tuple[bytes, bytes, bytes]:
    if not isinstance(text, str) or len(text) > MAX_REFRESH_TOKEN:
        raise _bad_token()
    parts = text.split(".", 4)
    if len(parts) != 4 or parts[3] != _SUFFIX:
        raise _bad_token()
    body, envelope, tag = (decode_base64url(part) for part in parts[:3])
    if body is None or envelope is None or tag is None:
        raise _bad_token()
    return body, envelope, tag


def _read(text: str, body: bytes) -> RefreshToken:
    try:
        read = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _bad_token() from None
    if read.generation < 0 or (read.parent is not None and len(read.parent) != _HASH_BYTES):
        raise _bad_token()
    parent_hash1 = None if read.parent is None else read.parent.hex()
    return RefreshToken(text, read.handle, read.generation, parent_hash1, read.has_anti_csrf, read.has_static_key)


def _envelope(keys: DerivedKeys, body: bytes) -> bytes:
    return hmac.digest(keys.envelope, body, "sha256")[:_ENVELOPE_BYTES]


def _tag(keys: DerivedKeys, nonce: bytes, body: bytes) -> bytes:
    of_session = hmac.digest(keys.refresh, nonce, "sha256")
    return hmac.digest(of_session, body, "sha256")[:_TAG_BYTES]


def _bad_token() -> Unauthorised:
    return Unauthorised("the refresh token is not one of ours", reason="bad_token")
