"""Access tokens that another core has signed, of the versions that name their key (spec/cdi.md 3.1.2): read with the
public keys that it has published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, cast

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from tallystick.errors import TryRefreshToken
from tallystick.protocol.access_token import MAX_ACCESS_TOKEN, AccessToken, malformed
from tallystick.protocol.encoding import decode_base64url
from tallystick.protocol.token_versions import V3, V4, V5, read_claims
from tallystick.types import Json

ForeignKeys: TypeAlias = Mapping[str, RSAPublicKey]
"""By key id."""

_MIN_BITS: Final = 2048
_MAX_BITS: Final = 8192
_VERSIONS: Final = {None: V5, "3": V3, "4": V4, "5": V5}


class _Jwk(msgspec.Struct):
    kid: str
    kty: str
    n: str
    e: str


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    alg: str
    kid: str
    typ: str
    version: str | None = None


_decode_header: Final = msgspec.json.Decoder(_Header, strict=True).decode


def read_jwks(jwks: object) -> ForeignKeys:
    """The RSA keys of a JWK Set. Raises :class:`ValueError` where it is none, or has a key that does not do."""
    if not isinstance(jwks, dict):
        raise ValueError("not a JWK Set")
    listed: Any = cast(Json, jwks).get("keys")
    try:
        keys = msgspec.convert(listed, list[_Jwk])
    except msgspec.ValidationError as error:
        raise ValueError(f"not a JWK Set of RSA keys: {error}") from None
    return {key.kid: _read_key(key) for key in keys}


def _read_key(key: _Jwk) -> RSAPublicKey:
    n, e = decode_base64url(key.n), decode_base64url(key.e)
    if key.kty != "RSA" or not n or not e or not _MIN_BITS <= len(n) * 8 <= _MAX_BITS:
        raise ValueError("a key that is not RSA of 2048 bits or more")
    return RSAPublicNumbers(int.from_bytes(e), int.from_bytes(n)).public_key()


def open_foreign_access_token(text: str, keys: ForeignKeys) -> AccessToken:
    """Verify an access token of another core in everything but its expiry. Raises :class:`TryRefreshToken`."""
    parts = text.split(".") if text.isascii() and len(text) <= MAX_ACCESS_TOKEN else []
    if len(parts) != 3:
        raise malformed()
    header, payload, signature = parts
    try:
        named = _decode_header(decode_base64url(header) or b"")
        version, key = _VERSIONS.get(named.version), keys.get(named.kid)
        if named.alg != "RS256" or named.typ != "JWT" or version is None:
            raise malformed()
        if key is None:
            raise TryRefreshToken("the access token was not signed by a key of ours", reason="unknown_key")
        key.verify(decode_base64url(signature) or b"", f"{header}.{payload}".encode("ascii"), PKCS1v15(), SHA256())
        return read_claims(decode_base64url(payload) or b"", version)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed() from None
    except InvalidSignature:
        raise TryRefreshToken("the access token's signature is wrong", reason="bad_signature") from None
