"""Who is measured, each in the set-up that its documentation asks for, and what each of them refuses.

All verify the very same tokens: Tallystick's access tokens have the layout of SuperTokens' version 5, so that
supertokens-python takes them as its own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter
from supertokens_python import InputAppInfo, SupertokensConfig, init
from supertokens_python.recipe import session as supertokens_session
from supertokens_python.recipe.session import jwks as supertokens_jwks
from supertokens_python.recipe.session.access_token import get_info_from_access_token
from supertokens_python.recipe.session.asyncio import get_session_without_request_response
from supertokens_python.recipe.session.jwt import parse_jwt_without_signature_verification
from supertokens_python.recipe.session.recipe import SessionRecipe

from tallystick import AsyncSessions, Sessions

PAYLOAD = {"iss": "https://api.example.com/auth", "roles": ["editor", "reviewer"], "plan": "team", "locale": "en-GB"}
SECRET = "a secret for the bench alone: it protects nothing"

Verify = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Contender:
    """``verify`` gets one token, or what ``prepare`` made of it before the clock started."""

    id: str
    name: str
    set_up: str
    returns: str
    verify: Verify
    is_async: bool = False
    is_seen: bool = False
    """Whether its tokens have been verified by it before."""
    prepare: Callable[[str], Any] = str
    tokens: str = "sync"
    """Whose tokens: those of ``Sessions`` or of ``AsyncSessions``, as each has signing keys of its own."""

    def accepts(self, token: str) -> bool:
        """Whether it lets ``token`` pass."""
        try:
            prepared = self.prepare(token)
            asyncio.run(_await(self.verify, prepared)) if self.is_async else self.verify(prepared)
        except Exception:  # each library has errors of its own
            return False
        return True


@dataclass(frozen=True, slots=True)
class Field:
    """All that a run needs."""

    contenders: tuple[Contender, ...]
    sync_tokens: list[str]
    async_tokens: list[str]
    probes: dict[str, dict[str, bool]]
    """For each contender, which bad token it refuses."""


def set_up(count: int) -> Field:
    """Make ``count`` tokens of each facade and a contender of everybody, each shown to accept a good token."""
    sessions = Sessions("memory://", secret=SECRET).open()
    own_loop = asyncio.new_event_loop()
    async_sessions = own_loop.run_until_complete(_open_async())
    sync_tokens = [sessions.create_new_session(f"user-{n:08}", PAYLOAD).access_token.token for n in range(count)]
    async_tokens = own_loop.run_until_complete(_mint_async(async_sessions, count))
    own_loop.close()
    contenders = (
        *_floor(sessions.get_jwks()),
        *_tallystick(sessions, async_sessions),
        *_pyjwt(sessions.get_jwks()),
        *_joserfc(sessions.get_jwks()),
        *_supertokens(sessions.get_jwks()),
    )
    good = {"sync": sync_tokens[0], "async": async_tokens[0]}
    bad = {"sync": _bad_tokens(sessions, good["sync"]), "async": _bad_tokens(async_sessions, good["async"])}
    probes = {}
    for contender in contenders:
        if not contender.accepts(good[contender.tokens]):
            raise SystemExit(f"{contender.name} refuses a good token, so there is nothing to compare")
        probes[contender.id] = {what: not contender.accepts(it) for what, it in bad[contender.tokens].items()}
    return Field(contenders, sync_tokens, async_tokens, probes)


async def _open_async() -> AsyncSessions:
    sessions = AsyncSessions("memory://", secret=SECRET)
    await sessions.open()
    return sessions


async def _mint_async(sessions: AsyncSessions, count: int) -> list[str]:
    created = [await sessions.create_new_session(f"user-{n:08}", PAYLOAD) for n in range(count)]
    return [one.access_token.token for one in created]


async def _await(verify: Callable[[str], Awaitable[Any]], token: str) -> Any:
    return await verify(token)


# The floor


def _floor(jwks: dict[str, Any]) -> Sequence[Contender]:
    public, padding, digest = _public_key(jwks), PKCS1v15(), SHA256()

    def prepare(token: str) -> tuple[bytes, bytes]:
        signed, _, signature = token.rpartition(".")
        return _decode(signature), signed.encode("ascii")

    def verify(prepared: tuple[bytes, bytes]) -> None:
        public.verify(prepared[0], prepared[1], padding, digest)

    return [
        Contender(
            "floor",
            "cryptography, bare",
            "`RSAPublicKey.verify` with PKCS1v15 and SHA-256; the token is split and decoded beforehand",
            "nothing",
            verify,
            prepare=prepare,
        )
    ]


# Tallystick


def _tallystick(sessions: Sessions, async_sessions: AsyncSessions) -> Sequence[Contender]:
    result = "a `FoundSession`: handle, user, tenant, payload"
    sync_set_up = '`Sessions("memory://").get_session(token)`'
    async_set_up = '`await AsyncSessions("memory://").get_session(token)`'
    get, get_async = sessions.get_session, async_sessions.get_session
    return [
        Contender("tallystick_sync_fresh", "tallystick Sessions, fresh token", sync_set_up, result, get),
        Contender("tallystick_sync_seen", "tallystick Sessions, seen before", sync_set_up, result, get, is_seen=True),
        Contender(
            "tallystick_async_fresh",
            "tallystick AsyncSessions, fresh token",
            async_set_up,
            result,
            get_async,
            is_async=True,
            tokens="async",
        ),
        Contender(
            "tallystick_async_seen",
            "tallystick AsyncSessions, seen before",
            async_set_up,
            result,
            get_async,
            is_async=True,
            is_seen=True,
            tokens="async",
        ),
    ]


# The peers


def _pyjwt(jwks: dict[str, Any]) -> Sequence[Contender]:
    public = _public_key(jwks)
    options = {"require": ["exp", "iat", "sub"]}

    def verify(token: str) -> dict[str, Any]:
        return jwt.decode(token, public, algorithms=["RS256"], options=options)

    return [
        Contender(
            "pyjwt",
            "PyJWT",
            '`jwt.decode` with a public key object made once, `algorithms=["RS256"]`, `require=["exp", "iat", "sub"]`; '
            "one key, so the token's key id is not looked at",
            "the claims, a dict",
            verify,
        )
    ]


def _joserfc(jwks: dict[str, Any]) -> Sequence[Contender]:
    keys = KeySet.import_key_set(jwks)
    # It refuses header members that it was not told of, and the layout has one.
    headers = JWSRegistry(algorithms=["RS256"], header_registry={"version": HeaderParameter("Layout", "str", True)})
    claims = joserfc_jwt.JWTClaimsRegistry(exp={"essential": True}, iat={"essential": True}, sub={"essential": True})

    def verify(token: str) -> dict[str, Any]:
        decoded = joserfc_jwt.decode(token, keys, registry=headers)
        claims.validate(decoded.claims)
        return decoded.claims

    return [
        Contender(
            "joserfc",
            "joserfc",
            "`jwt.decode` with a `KeySet` imported once (the key found by the token's key id) "
            "and a `JWSRegistry` for RS256 that knows the header's `version`, then "
            "`JWTClaimsRegistry.validate` with exp, iat and sub essential",
            "the claims, a dict",
            verify,
        )
    ]


def _supertokens(jwks: dict[str, Any]) -> Sequence[Contender]:
    init(
        app_info=InputAppInfo(app_name="bench", api_domain="http://localhost", website_domain="http://localhost"),
        # Nobody listens there: if it asked its core for anything, it would fail and not merely be slow.
        supertokens_config=SupertokensConfig(connection_uri="http://localhost:1"),
        framework="fastapi",
        mode="asgi",
        recipe_list=[supertokens_session.init(anti_csrf="NONE")],
        telemetry=False,
    )
    config = SessionRecipe.get_instance().config
    # What `get_latest_keys` itself does with the answer of its core (recipe/session/jwks.py).
    supertokens_jwks.cached_keys = supertokens_jwks.CachedKeys(
        jwt.PyJWKSet.from_dict(jwks).keys, config.jwks_refresh_interval_sec
    )

    def verify(token: str) -> dict[str, Any]:
        return get_info_from_access_token(config, parse_jwt_without_signature_verification(token), False)

    return [
        Contender(
            "supertokens_token",
            "supertokens-python, token only",
            "`parse_jwt_without_signature_verification`, then `get_info_from_access_token` "
            "(recipe/session/access_token.py): the part of its get_session that verifies",
            "a dict of what is in the token",
            verify,
        ),
        Contender(
            "supertokens_session",
            "supertokens-python get_session",
            "`await get_session_without_request_response(token)` (recipe/session/asyncio), anti-CSRF `NONE`, "
            "no claim validators: its public call, as `get_session` is ours",
            "a `SessionContainer`, with a front token",
            get_session_without_request_response,
            is_async=True,
        ),
    ]


# Bad tokens, to show what each one checks


def _bad_tokens(sessions: Sessions | AsyncSessions, good: str) -> dict[str, str]:
    # The signing key is nobody's to have, so there is no public way to it.
    key = sessions._deployment.keys.ring.keys[0]
    private, padding = key.signer._private, PKCS1v15()
    header, payload, signature = (_decode(part) for part in good.split("."))
    head, claims, now = json.loads(header), json.loads(payload), int(time.time())

    def sign(head: dict[str, Any], claims: dict[str, Any], digest: type[SHA256 | SHA512] = SHA256) -> str:
        signed = f"{_encode(_json(head))}.{_encode(_json(claims))}"
        return f"{signed}.{_encode(private.sign(signed.encode('ascii'), padding, digest()))}"

    def without(*names: str) -> dict[str, Any]:
        return {name: claims[name] for name in claims if name not in names}

    forged = bytes([signature[0] ^ 1]) + signature[1:]
    return {
        "signature altered": good.rpartition(".")[0] + "." + _encode(forged),
        "expired": sign(head, {**claims, "iat": now - 7200, "exp": now - 3600}),
        "no expiry": sign(head, without("exp")),
        "signed as RS512": sign({**head, "alg": "RS512"}, claims, SHA512),
        "unknown key id": sign({**head, "kid": "d-1-1-unknown"}, claims),
        "no session in it": sign(head, without("sessionHandle", "refreshTokenHash1")),
    }


def _public_key(jwks: dict[str, Any]) -> RSAPublicKey:
    members = jwks["keys"][0]
    e, n = (int.from_bytes(_decode(members[name]), "big") for name in ("e", "n"))
    return RSAPublicNumbers(e, n).public_key()


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
