"""Bytes to text and back, strictly: each text that decodes is the only one for its bytes."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error


def encode_base64url(data: bytes) -> str:
    """URL alphabet, no padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes | None:
    """The bytes, or None where ``text`` is not exactly what :func:`encode_base64url` gives for them.

    The standard library's decoder skips foreign characters and ignores left-over bits; two texts for one token would be
    two tokens to everything that hashes them, so only the canonical one is let through.
    """
    try:
        raw = text.encode("ascii")
        data = urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
    except (UnicodeEncodeError, Error, ValueError):
        return None
    return data if urlsafe_b64encode(data).rstrip(b"=") == raw else None


def hash_token(token: str) -> str:
    """hash1: lower-case hex SHA-256 of the whole token (spec/cdi.md 3.0). It travels in access tokens."""
    return hashlib.sha256(token.encode("ascii")).hexdigest()


def hash_again(hash1: str) -> bytes:
    """hash2: SHA-256 of hash1's hex text (spec/cdi.md 3.0), as the 32 bytes that a store keeps."""
    return hashlib.sha256(hash1.encode("ascii")).digest()
