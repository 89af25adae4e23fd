"""Access tokens of every version that a client of the core service may ask for (spec/cdi.md 3.1).

Version 5 is today's, see :mod:`tallystick.protocol.access_token`. Versions 3 and 4 are the same JWT with fewer claims.
Versions 1 and 2 are of the years before: standard base64, a header that drivers compare as text, times in ms, the app's
claims in an object of their own. Their header has no place for a key's id, so ours stands among their claims, where no
driver looks: by it the key is found, and a stranger's token is told from one whose key another process has just made.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from tallystick.config import PUBLIC
from tallystick.errors import TryRefreshToken
from tallystick.protocol.access_token import (
    MAX_ACCESS_TOKEN,
    RESERVED_CLAIMS,
    AccessToken,
    UnknownKey,
    malformed,
    mint_access_token,
)
from tallystick.protocol.derivation import DerivedKeys
from tallystick.protocol.encoding import decode_base64url, encode_base64url
from tallystick.protocol.keyring import JwtHeader, Keyring, SigningKey, encode_header, is_genuine_kid
from tallystick.types import Json


@dataclass(frozen=True, slots=True)
class TokenVersion:
    """How access tokens of one version are made."""

    number: int
    reserved: tuple[str, ...]
    """The claims that the app's payload must not set (spec/cdi.md 3.1.4)."""
    mint: Callable[[AccessToken, SigningKey], str] = field(repr=False, compare=False)


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A genuine access token, of which version it is, and which key signed it: None for another core's, which the store
    knows nothing of."""

    token: AccessToken
    version: TokenVersion
    key: SigningKey | None


# Making


def _mint_oldest(version: int) -> Callable[[AccessToken, SigningKey], str]:
    header = b64encode(b'{"alg":"RS256","typ":"JWT","version":"%d"}' % version).decode("ascii")

    def mint(token: AccessToken, key: SigningKey) -> str:
        optional = {"parentRefreshTokenHash1": token.parent_hash1, "antiCsrfToken": token.anti_csrf_token}
        claims = {
            "sessionHandle": token.handle,
            "userId": token.user_id,
            "refreshTokenHash1": token.refresh_hash1,
            "userData": token.jwt_payload,
            "expiryTime": token.expires_at,
            "timeCreated": token.created_at,
            "kid": key.kid,
            **{name: value for name, value in optional.items() if value is not None},
        }
        body = f"{header}.{b64encode(msgspec.json.encode(claims)).decode('ascii')}"
        return f"{body}.{b64encode(key.signer.sign(body.encode('ascii'))).decode('ascii')}"

    return mint


def _mint_without(number: int, *left_out: str) -> Callable[[AccessToken, SigningKey], str]:
    def mint(token: AccessToken, key: SigningKey) -> str:
        claims = token.claims()
        for name in left_out:
            # Unless it is the app's own, to which this version leaves the name.
            if name not in token.jwt_payload:
                del claims[name]
        header = JwtHeader(alg=key.signer.algorithm, kid=key.kid, typ="JWT", version=str(number))
        return sign_jwt(encode_header(header), claims, key)

    return mint


def sign_jwt(header: str, claims: Json, key: SigningKey) -> str:
    """A JWT with an encoded header."""
    body = f"{header}.{encode_base64url(msgspec.json.encode(claims))}"
    return f"{body}.{encode_base64url(key.signer.sign(body.encode('ascii')))}"


def encode_plain_header(key: SigningKey) -> str:
    """The header of a JWT that is no access token of ours: it names no version (spec/cdi.md 2.11)."""
    return encode_base64url(msgspec.json.encode({"alg": key.signer.algorithm, "kid": key.kid, "typ": "JWT"}))


_OF_V3: Final = tuple(name for name in RESERVED_CLAIMS if name not in ("tId", "rsub"))
_OF_V4: Final = tuple(name for name in RESERVED_CLAIMS if name != "rsub")

V1: Final = TokenVersion(1, (), _mint_oldest(1))
V2: Final = TokenVersion(2, (), _mint_oldest(2))
V3: Final = TokenVersion(3, _OF_V3, _mint_without(3, "tId", "rsub"))
V4: Final = TokenVersion(4, _OF_V4, _mint_without(4, "rsub"))
V5: Final = TokenVersion(5, RESERVED_CLAIMS, mint_access_token)

PROTECTED_FIELD: Final = "The user payload contains protected field"
"""What SDKs' test suites look for (spec/cdi.md 3.1.4)."""

OLDEST_HEADERS: Final = {
    b64encode(b'{"alg":"RS256","typ":"JWT","version":"%d"}' % version.number).decode("ascii"): version
    for version in (V1, V2)
}
_WITH_HEADER: Final = {"3": V3, "4": V4, "5": V5}


# Opening


class _OldestClaims(msgspec.Struct):
    sessionHandle: str  # noqa: N815 - the wire's names, here and below
    userId: str  # noqa: N815
    refreshTokenHash1: str  # noqa: N815
    userData: dict[str, Any]  # noqa: N815
    expiryTime: int  # noqa: N815
    timeCreated: int  # noqa: N815
    kid: str
    parentRefreshTokenHash1: str | None = None  # noqa: N815
    antiCsrfToken: str | None = None  # noqa: N815


class _Claims(msgspec.Struct):
    sub: str
    exp: int
    iat: int
    sessionHandle: str  # noqa: N815
    refreshTokenHash1: str  # noqa: N815
    parentRefreshTokenHash1: str | None  # noqa: N815
    antiCsrfToken: str | None  # noqa: N815


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    alg: str
    kid: str
    typ: str
    version: str | None = None


_decode_oldest: Final = msgspec.json.Decoder(_OldestClaims, strict=True).decode
_decode_claims: Final = msgspec.json.Decoder(_Claims, strict=True).decode
_decode_header: Final = msgspec.json.Decoder(_Header, strict=True).decode
_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


def open_any_access_token(text: str, ring: Keyring, secrets: Sequence[DerivedKeys], now: int) -> Opened | UnknownKey:
    """Verify an access token of whatever version; one that names none counts as the newest (spec/cdi.md 3.1.3). Its
    expiry is not looked at.

    Raises :class:`TryRefreshToken`, as :func:`~tallystick.protocol.access_token.open_access_token` does.
    """
    parts = text.split(".") if text.isascii() and len(text) <= MAX_ACCESS_TOKEN else []
    if len(parts) != 3:
        raise malformed()
    header, payload, signature = parts
    oldest = OLDEST_HEADERS.get(header)
    try:
        if oldest is not None:
            return _open_oldest(header, payload, signature, oldest, ring, secrets, now)
        return _open_jwt(header, payload, signature, ring, secrets, now)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed() from None


def check_unexpired(token: AccessToken, now: int) -> None:
    """Raise :class:`TryRefreshToken` for a token that has expired. It lives through the whole of its last second."""
    if token.expires_at < now:
        raise TryRefreshToken("the access token has expired", reason="expired")


def tenant_of(handle: str) -> str:
    """The tenant that a session handle names (spec/cdi.md 2.12)."""
    return handle.partition("_")[2] or PUBLIC


def _open_oldest(
    header: str,
    payload: str,
    signature: str,
    version: TokenVersion,
    ring: Keyring,
    secrets: Sequence[DerivedKeys],
    now: int,
) -> Opened | UnknownKey:
    claims = _decode_oldest(_decode_base64(payload))
    key = find_key(claims.kid, ring, secrets, now)
    if isinstance(key, UnknownKey):
        return key
    _check_signature(key, _decode_base64(signature), f"{header}.{payload}")
    token = AccessToken(
        claims.sessionHandle,
        claims.userId,
        tenant_of(claims.sessionHandle),
        claims.timeCreated,
        claims.expiryTime,
        claims.refreshTokenHash1,
        claims.parentRefreshTokenHash1,
        claims.antiCsrfToken,
        claims.userData,
    )
    return Opened(token, version, key)


def _open_jwt(
    header: str, payload: str, signature: str, ring: Keyring, secrets: Sequence[DerivedKeys], now: int
) -> Opened | UnknownKey:
    named = _decode_header(decode_base64url(header) or b"")
    version = V5 if named.version is None else _WITH_HEADER.get(named.version)
    if version is None:
        raise malformed()
    key = find_key(named.kid, ring, secrets, now)
    if isinstance(key, UnknownKey):
        return key
    if header != _own_header(named, key):
        raise malformed()
    _check_signature(key, decode_base64url(signature) or b"", f"{header}.{payload}")
    return Opened(read_claims(decode_base64url(payload) or b"", version), version, key)


def _own_header(named: _Header, key: SigningKey) -> str:
    """The one text that we would have written for it (RFC 8725 section 3.10)."""
    if named.version is None:
        return encode_plain_header(key)
    return encode_header(JwtHeader(alg=key.signer.algorithm, kid=key.kid, typ="JWT", version=named.version))


def find_key(kid: str, ring: Keyring, secrets: Sequence[DerivedKeys], now: int) -> SigningKey | UnknownKey:
    """The key of this id, by its id alone. Raises :class:`TryRefreshToken` (``unknown_key``) for one that is not ours
    or is retired."""
    found = next((key for key in ring.keys if key.kid == kid), None)
    if found is not None and ring.find(found.header, now) is found:
        return found
    if found is None and is_genuine_kid(kid, secrets, ring.schedule, now):
        return UnknownKey(kid)
    raise TryRefreshToken("the access token was not signed by a key of ours", reason="unknown_key")


def _check_signature(key: SigningKey, signature: bytes, signed: str) -> None:
    if not key.signer.verify(signature, signed.encode("ascii")):
        raise TryRefreshToken("the access token's signature is wrong", reason="bad_signature")


def read_claims(raw: bytes, version: TokenVersion) -> AccessToken:
    """What a payload of version 3 to 5 says. Raises what msgspec does, and :class:`TryRefreshToken`."""
    ours, every = _decode_claims(raw), _decode_object(raw)
    if any(name not in every for name in version.reserved):
        raise malformed()
    tenant = every["tId"] if version.number >= V4.number else tenant_of(ours.sessionHandle)
    if not isinstance(tenant, str):
        raise malformed()
    return AccessToken(
        ours.sessionHandle,
        ours.sub,
        tenant,
        ours.iat * 1000,
        ours.exp * 1000,
        ours.refreshTokenHash1,
        ours.parentRefreshTokenHash1,
        ours.antiCsrfToken,
        {name: value for name, value in every.items() if name not in version.reserved},
    )


def _decode_base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise malformed() from None
