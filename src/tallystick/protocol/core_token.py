"""Access tokens of a core that runs elsewhere, or ran before, verified here with the keys that it publishes.

The core may be a SuperTokens core, so a key's id is any text, and tokens are of version 3, 4 or 5 (spec/cdi.md 3.1):
the same JWT with more and more claims. A key verifies by its own algorithm alone, and a header that says anything
besides algorithm, key, type and version is refused (RFC 8725 sections 3.1 and 3.10). So is one without a version: the
core signs plain JWTs for the app with the same keys, and such a one is no session.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tallystick.errors import TryRefreshToken
from tallystick.protocol.access_token import (
    AccessToken,
    UnknownKey,
    malformed,
    read_object,
    split_access_token,
    take_claims,
)
from tallystick.protocol.encoding import decode_base64url
from tallystick.protocol.keyring import JwtHeader
from tallystick.protocol.signing import Verifier, load_verifier
from tallystick.protocol.token_versions import V3, V4, V5, TokenVersion, check_unexpired, read_claims
from tallystick.types import Json


@dataclass(frozen=True, slots=True)
class PublishedKeys:
    """A JWK Set (RFC 7517 section 5), as it was published and ready for use."""

    document: Json = field(repr=False)
    verifiers: dict[str, Verifier] = field(repr=False)
    """By key id."""


NO_KEYS: Final = PublishedKeys({"keys": []}, {})


_VERSIONS: Final = {str(version.number): version for version in (V3, V4, V5)}


class _JwkSet(msgspec.Struct):
    keys: list[dict[str, Any]]


_decode_jwks: Final = msgspec.json.Decoder(_JwkSet).decode
_decode_header: Final = msgspec.json.Decoder(JwtHeader, strict=True).decode


def read_jwks(raw: bytes) -> PublishedKeys | None:
    """The keys of a JWK Set that can verify access tokens; others are passed over, as RFC 7517 section 5 asks. None
    for what is no JWK Set."""
    try:
        listed = _decode_jwks(raw).keys
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    verifiers: dict[str, Verifier] = {}
    for jwk in listed:
        kid, verifier = jwk.get("kid"), load_verifier(jwk)
        if isinstance(kid, str) and verifier is not None:
            verifiers.setdefault(kid, verifier)
    return PublishedKeys({"keys": listed}, verifiers)


def open_core_token(text: object, keys: PublishedKeys, now: int) -> AccessToken | UnknownKey:
    """Verify an access token; its expiry too.

    Raises :class:`TryRefreshToken` with reason ``malformed``, ``bad_signature`` or ``expired``.
    """
    opened = open_expired_core_token(text, keys)
    if isinstance(opened, AccessToken):
        check_unexpired(opened, now)
    return opened


def open_expired_core_token(text: object, keys: PublishedKeys) -> AccessToken | UnknownKey:
    """Verify an access token in everything but its expiry. Raises as :func:`open_core_token`."""
    signed, header_text, payload, signature_text = split_access_token(text)
    try:
        header = _decode_header(decode_base64url(header_text) or b"")
        version = _VERSIONS.get(header.version)
        if header.typ != "JWT" or version is None:
            raise malformed()
        verifier = keys.verifiers.get(header.kid)
        if verifier is None:
            return UnknownKey(header.kid)
        _check_signature(verifier, header.alg, signature_text, signed)
        return _read_claims(decode_base64url(payload) or b"", version)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed() from None


def _check_signature(verifier: Verifier, algorithm: str, signature_text: str, signed: str) -> None:
    signature = decode_base64url(signature_text)
    is_good = algorithm == verifier.algorithm and signature is not None
    if not is_good or not verifier.verify(signature or b"", signed.encode("ascii")):
        raise TryRefreshToken("the access token's signature is wrong", reason="bad_signature")


def _read_claims(raw: bytes, version: TokenVersion) -> AccessToken:
    return take_claims(read_object(raw)) if version is V5 else read_claims(raw, version)
