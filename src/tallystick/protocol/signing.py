"""Signatures, and the one algorithm that each key is for (RFC 8725 section 3.1).

RS256: RSASSA-PKCS1-v1_5 with 2048 bits. ES256: ECDSA on P-256, the signature as r and s (RFC 7518 section 3.4).
EdDSA: Ed25519 (RFC 8037). What a token's header says is never asked: the key decides.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from tallystick.protocol.encoding import decode_base64url, encode_base64url
from tallystick.types import Json

_PADDING: Final = PKCS1v15()
_HASH: Final = SHA256()
_ECDSA: Final = ECDSA(_HASH)
_P256_BYTES: Final = 32
_MAX_RSA_BITS: Final = 8192
"""Of others' keys: what a longer one takes to verify is no use to anybody but who wants to keep us busy."""


class Verifier(Protocol):
    """One public key, bound to its algorithm."""

    algorithm: str

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` is one over ``data``."""
        ...

    def public_members(self) -> dict[str, Any]:
        """The key's own members of a JWK (RFC 7517)."""
        ...

    def public_der(self) -> bytes:
        """The public key as DER SubjectPublicKeyInfo (RFC 5280 section 4.1)."""
        ...


class Signer(Verifier, Protocol):
    """One private key, bound to its algorithm."""

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data``, as a JWS carries it."""
        ...


class _Rs256Verifier:
    algorithm = "RS256"

    def __init__(self, key: RSAPublicKey) -> None:
        self._public = key
        self._verify = key.verify

    def verify(self, signature: bytes, data: bytes) -> bool:
        try:
            self._verify(signature, data, _PADDING, _HASH)
        except InvalidSignature:
            return False
        return True

    def public_members(self) -> dict[str, Any]:
        numbers = self._public.public_numbers()
        return {"kty": "RSA", "n": _encode_int(numbers.n), "e": _encode_int(numbers.e)}

    def public_der(self) -> bytes:
        return self._public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class _Rs256(_Rs256Verifier):
    def __init__(self, key: RSAPrivateKey) -> None:
        super().__init__(key.public_key())
        self._private = key

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data, _PADDING, _HASH)


class _Es256Verifier:
    algorithm = "ES256"

    def __init__(self, key: EllipticCurvePublicKey) -> None:
        self._public = key

    def verify(self, signature: bytes, data: bytes) -> bool:
        if len(signature) != 2 * _P256_BYTES:
            return False
        r = int.from_bytes(signature[:_P256_BYTES], "big")
        s = int.from_bytes(signature[_P256_BYTES:], "big")
        try:
            self._public.verify(encode_dss_signature(r, s), data, _ECDSA)
        except InvalidSignature:
            return False
        return True

    def public_members(self) -> dict[str, Any]:
        numbers = self._public.public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": encode_base64url(numbers.x.to_bytes(_P256_BYTES, "big")),
            "y": encode_base64url(numbers.y.to_bytes(_P256_BYTES, "big")),
        }

    def public_der(self) -> bytes:
        return self._public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class _Es256(_Es256Verifier):
    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        super().__init__(key.public_key())
        self._private = key

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self._private.sign(data, _ECDSA))
        return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")


class _EdDsaVerifier:
    algorithm = "EdDSA"

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._public = key

    def verify(self, signature: bytes, data: bytes) -> bool:
        try:
            self._public.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def public_members(self) -> dict[str, Any]:
        x = encode_base64url(self._public.public_bytes_raw())
        return {"kty": "OKP", "crv": "Ed25519", "x": x}

    def public_der(self) -> bytes:
        return self._public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class _EdDsa(_EdDsaVerifier):
    def __init__(self, key: Ed25519PrivateKey) -> None:
        super().__init__(key.public_key())
        self._private = key

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data)


def load_signer(algorithm: str, der: bytes) -> Signer:
    """Read a PKCS #8 private key for ``algorithm``. Raises ValueError where the two do not belong together.

    The key comes out of our own authenticated encryption, so RSA's slow self-check is left out.
    """
    key = load_der_private_key(der, password=None, unsafe_skip_rsa_key_validation=True)
    if algorithm == "RS256" and isinstance(key, RSAPrivateKey) and key.key_size >= 2048:
        return _Rs256(key)
    if algorithm == "ES256" and isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return _Es256(key)
    if algorithm == "EdDSA" and isinstance(key, Ed25519PrivateKey):
        return _EdDsa(key)
    raise ValueError(f"not a private key for {algorithm!r}")


def load_verifier(jwk: Json) -> Verifier | None:
    """Read a public key of a JWK Set (RFC 7517 section 4); None for one that is for something else, is of another kind
    than ours, or is none at all. Its algorithm is what its kind has, never what a token says."""
    if jwk.get("use", "sig") != "sig":
        return None
    try:
        verifier = _read_jwk(jwk)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return None if verifier is None or jwk.get("alg", verifier.algorithm) != verifier.algorithm else verifier


def _read_jwk(jwk: Json) -> Verifier | None:
    match jwk:
        case {"kty": "RSA", "n": n, "e": e}:
            key = RSAPublicNumbers(_decode_int(e), _decode_int(n)).public_key()
            return _Rs256Verifier(key) if 2048 <= key.key_size <= _MAX_RSA_BITS else None
        case {"kty": "EC", "crv": "P-256", "x": x, "y": y}:
            return _Es256Verifier(EllipticCurvePublicNumbers(_decode_int(x), _decode_int(y), SECP256R1()).public_key())
        case {"kty": "OKP", "crv": "Ed25519", "x": x}:
            return _EdDsaVerifier(Ed25519PublicKey.from_public_bytes(_decode_bytes(x)))
        case _:
            return None


def _decode_int(text: object) -> int:
    return int.from_bytes(_decode_bytes(text), "big")


def _decode_bytes(text: object) -> bytes:
    decoded = decode_base64url(text) if isinstance(text, str) else None
    if decoded is None:
        raise ValueError("not base64url")
    return decoded


def _encode_int(number: int) -> str:
    return encode_base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
