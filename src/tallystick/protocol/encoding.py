"""Bytes to text and back, strictly: each text that decodes is the only one for its bytes."""

from __future__ import annotations

import hashlib
from binascii import a2b_base64, b2a_base64
from typing import Final

# The standard library's functions for the URL alphabet take about twice as long, in layers of checks.
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
"""What only the other alphabet has becomes a foreign character."""
_LAST: Final = ("", "AEIMQUYcgkosw048", "AQgw", "")
"""By the number of padding characters left out: the last characters without left-over bits (RFC 4648 section 3.5)."""


def encode_base64url(data: bytes) -> str:
    """URL alphabet, no padding (RFC 7515 section 2)."""
    return b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode("ascii")


def decode_base64url(text: str) -> bytes | None:
    """The bytes, or None where ``text`` is not exactly what :func:`encode_base64url` gives for them.

    Two texts for one token would be two tokens to everything that hashes them, so only the canonical one is let
    through: no foreign character (which most decoders skip), no padding, no left-over bits.
    """
    padding = -len(text) % 4
    if padding and text[-1] not in _LAST[padding]:
        return None
    try:
        return a2b_base64(text.encode("ascii").translate(_FROM_URL) + b"=" * padding, strict_mode=True)
    except ValueError:
        return None


def hash_token(token: str) -> str:
    """hash1: lower-case hex SHA-256 of the whole token (spec/cdi.md 3.0). It travels in access tokens."""
    return hashlib.sha256(token.encode("ascii")).hexdigest()


def hash_again(hash1: str) -> bytes:
    """hash2: SHA-256 of hash1's hex text (spec/cdi.md 3.0), as the 32 bytes that a store keeps."""
    return hashlib.sha256(hash1.encode("ascii")).digest()
