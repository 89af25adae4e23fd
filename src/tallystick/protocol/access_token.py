"""Access tokens: JWTs of version 5 (spec/cdi.md 3.1), verified without a store.

The header is compared as text with those of our own keys, so algorithm confusion, ``none``, ``jku``, ``jwk``, ``zip``
and the like find no key (RFC 8725 sections 3.1, 3.6, 3.10). The signature is checked before any claim is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import msgspec

from tallystick.config import MAX_COOKIE_BYTES, Algorithm
from tallystick.errors import TryRefreshToken
from tallystick.protocol.derivation import DerivedKeys
from tallystick.protocol.encoding import decode_base64url, encode_base64url
from tallystick.protocol.keyring import JwtHeader, Keyring, SigningKey, encode_header, is_genuine_kid
from tallystick.types import HIDDEN, Json

MAX_ACCESS_TOKEN: Final = MAX_COOKIE_BYTES - len("sAccessToken")
"""Longest token in characters, as it must fit a cookie together with its name."""

RESERVED_CLAIMS: Final = (
    "sub",
    "exp",
    "iat",
    "tId",
    "rsub",
    "sessionHandle",
    "refreshTokenHash1",
    "parentRefreshTokenHash1",
    "antiCsrfToken",
)
"""The claims that are Tallystick's own (spec/cdi.md 3.1.4). All others are the app's JWT payload."""

_STAND_INS: Final[dict[str, Json]] = {"3": {"tId": "", "rsub": ""}, "4": {"rsub": ""}, "5": {}}
"""For the claims that tokens of a core, of older versions, do not have (spec/cdi.md 3.1.2)."""

_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode
_decode_header: Final = msgspec.json.Decoder(JwtHeader, strict=True).decode


class AccessToken(msgspec.Struct, frozen=True, gc=False):
    """The content of an access token. ``expires_at`` and ``created_at`` in ms, always whole seconds.

    No dataclass, as one is made for each request, and a frozen dataclass takes six times as long.
    """

    handle: str
    user_id: str
    tenant_id: str
    created_at: int
    expires_at: int
    refresh_hash1: str
    parent_hash1: str | None
    anti_csrf_token: str | None
    jwt_payload: Json

    def __repr__(self) -> str:
        return f"AccessToken(handle={self.handle!r}, user_id={self.user_id!r}, expires_at={self.expires_at})"

    __rich_repr__ = HIDDEN

    def claims(self) -> Json:
        """All claims, ours first and the app's in their order: the order is part of the contract, as browsers compare
        payloads as text (spec/fdi.md P-60)."""
        return {
            "sub": self.user_id,
            "exp": self.expires_at // 1000,
            "iat": self.created_at // 1000,
            "tId": self.tenant_id,
            "rsub": self.user_id,
            "sessionHandle": self.handle,
            "refreshTokenHash1": self.refresh_hash1,
            "parentRefreshTokenHash1": self.parent_hash1,
            "antiCsrfToken": self.anti_csrf_token,
            **self.jwt_payload,
        }


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """The token names a key that is ours but is not in the ring: another process has made it since."""

    kid: str


def mint_access_token(token: AccessToken, key: SigningKey) -> str:
    """Sign ``token``."""
    body = f"{key.header}.{encode_base64url(msgspec.json.encode(token.claims()))}"
    return f"{body}.{encode_base64url(key.signer.sign(body.encode('ascii')))}"


def open_access_token(
    text: object, ring: Keyring, secrets: Sequence[DerivedKeys], now: int
) -> AccessToken | UnknownKey:
    """Verify an access token; its expiry too.

    Raises :class:`TryRefreshToken` with reason ``malformed``, ``unknown_key``, ``bad_signature`` or ``expired``.
    """
    opened = open_expired_access_token(text, ring, secrets, now)
    # Strict, so that a token lives through the whole of its last second (spec/cdi.md 3.1.3).
    if isinstance(opened, AccessToken) and opened.expires_at < now:
        raise TryRefreshToken("the access token has expired", reason="expired")
    return opened


def open_expired_access_token(
    text: object, ring: Keyring, secrets: Sequence[DerivedKeys], now: int
) -> AccessToken | UnknownKey:
    """Verify an access token in everything but its expiry. Raises as :func:`open_access_token`."""
    signed, header, payload, signature_text = split_access_token(text)
    key = ring.find(header, now)
    if key is None:
        return _judge_unknown_header(header, ring, secrets, now)
    signature = decode_base64url(signature_text)
    if signature is None or not key.signer.verify(signature, signed.encode("ascii")):
        raise TryRefreshToken("the access token's signature is wrong", reason="bad_signature")
    raw = decode_base64url(payload)
    if raw is None:
        raise malformed()
    return take_claims(read_object(raw))


def parse_access_token(text: object) -> Json | None:
    """The claims of a token that looks like ours or a core's, in their order, or None. Nothing is verified: this only
    tells session tokens from other systems' Bearer tokens (spec/fdi.md 1.6), and reads back one that was just made."""
    try:
        _, header, payload, _ = split_access_token(text)
        raw_header, raw = decode_base64url(header), decode_base64url(payload)
        if raw_header is None or raw is None:
            return None
        claims, parsed = read_object(raw), _decode_header(raw_header)
        stand_ins = _STAND_INS.get(parsed.version)
        if stand_ins is None or parsed.typ != "JWT":
            return None
        take_claims({**claims, **stand_ins})
        return claims
    except (TryRefreshToken, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def split_access_token(text: object) -> tuple[str, str, str, str]:
    """What is signed, the two parts of it, and the signature. Raises :class:`TryRefreshToken` (``malformed``)."""
    if not isinstance(text, str) or not text.isascii() or not 0 < len(text) <= MAX_ACCESS_TOKEN:
        raise malformed()
    signed, _, signature = text.rpartition(".")
    header, dot, payload = signed.partition(".")
    if not dot or "." in payload:
        raise malformed()
    return signed, header, payload, signature


def _judge_unknown_header(header: str, ring: Keyring, secrets: Sequence[DerivedKeys], now: int) -> UnknownKey:
    raw = decode_base64url(header)
    try:
        parsed = _decode_header(raw or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed() from None
    # A genuine key id is no secret, so that a stranger may write another header around it. Only a header that we would
    # have written is worth asking the store for its key.
    is_like_ours = parsed.alg in get_args(Algorithm) and parsed.typ == "JWT" and parsed.version == "5"
    if not is_like_ours or encode_header(parsed) != header:
        raise malformed()
    if any(key.kid == parsed.kid for key in ring.keys) or not is_genuine_kid(parsed.kid, secrets, ring.schedule, now):
        raise TryRefreshToken("the access token was not signed by a key of ours", reason="unknown_key")
    return UnknownKey(parsed.kid)


def read_object(raw: bytes) -> Json:
    """A JSON object. Raises :class:`TryRefreshToken` (``malformed``)."""
    try:
        return _decode_object(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise malformed() from None


def take_claims(claims: Json) -> AccessToken:
    """Take our own claims out of all; what is left is the app's.

    Absence of one is an error, null only where it says so. By hand, as to have msgspec read the text a second time,
    for the types, takes twice as long.
    """
    take = claims.pop
    try:
        sub, exp, iat, tenant_id, rsub = take("sub"), take("exp"), take("iat"), take("tId"), take("rsub")
        handle, hash1 = take("sessionHandle"), take("refreshTokenHash1")
        parent, anti_csrf = take("parentRefreshTokenHash1"), take("antiCsrfToken")
    except KeyError:
        raise malformed() from None
    if not (
        type(sub) is type(tenant_id) is type(rsub) is type(handle) is type(hash1) is str
        and type(exp) is type(iat) is int
        and (parent is None or type(parent) is str)
        and (anti_csrf is None or type(anti_csrf) is str)
    ):
        raise malformed()
    # By position: with names it takes twice as long.
    return AccessToken(handle, sub, tenant_id, iat * 1000, exp * 1000, hash1, parent, anti_csrf, claims)


def malformed() -> TryRefreshToken:
    """What is said of a text that is no access token."""
    return TryRefreshToken("the access token is malformed", reason="malformed")
