"""Signatures, and the one algorithm that each key is for (RFC 8725 section 3.1).

RS256: RSASSA-PKCS1-v1_5 with 2048 bits. ES256: ECDSA on P-256, the signature as r and s (RFC 7518 section 3.4).
EdDSA: Ed25519 (RFC 8037). What a token's header says is never asked: the key decides.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from tallystick.protocol.encoding import encode_base64url

_PADDING: Final = PKCS1v15()
_HASH: Final = SHA256()
_ECDSA: Final = ECDSA(_HASH)
_P256_BYTES: Final = 32


class Signer(Protocol):
    """One private key, bound to its algorithm."""

    algorithm: str

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data``, as a JWS carries it."""
        ...

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` is one over ``data``."""
        ...

    def public_members(self) -> dict[str, Any]:
        """The public key's own members of a JWK (RFC 7517)."""
        ...

    def public_der(self) -> bytes:
        """The public key as DER SubjectPublicKeyInfo (RFC 5280 section 4.1)."""
        ...


class _Rs256:
    algorithm = "RS256"

    def __init__(self, key: RSAPrivateKey) -> None:
        self._private = key
        self._public = key.public_key()
        self._verify = self._public.verify

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data, _PADDING, _HASH)

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


class _Es256:
    algorithm = "ES256"

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self._private = key
        self._public = key.public_key()

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self._private.sign(data, _ECDSA))
        return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")

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


class _EdDsa:
    algorithm = "EdDSA"

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._private = key
        self._public = key.public_key()

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data)

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


def _encode_int(number: int) -> str:
    return encode_base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
