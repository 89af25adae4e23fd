"""The endpoints of keys and of plain JWTs (spec/cdi.md 2.10 and 2.11)."""

from __future__ import annotations

from tallystick.calls import Flow
from tallystick.key_flows import signing_key
from tallystick.protocol.token_versions import encode_plain_header, sign_jwt
from tallystick.service import wire
from tallystick.service.answers import Answer, json_answer, not_found
from tallystick.service.apps import App
from tallystick.service.requests import Request
from tallystick.types import Json


def well_known_jwks(request: Request) -> Flow[Answer]:
    """``GET /.well-known/jwks.json``. It may be cached until the next key appears."""
    app = request.app
    keys = yield from _load_jwks(app)
    now, ring = app.deployment.clock(), app.deployment.keys.ring
    newest = ring.newest_dynamic
    seconds = 1 if newest is None else max(1, (ring.due_at(newest) - now) // 1000)
    return json_answer(keys, ((b"cache-control", b"max-age=%d, must-revalidate" % seconds),))


def recipe_jwks(request: Request) -> Flow[Json]:
    """``GET /recipe/jwt/jwks``."""
    request.check_app_specific()
    return {**wire.OK, **(yield from _load_jwks(request.app))}


def _load_jwks(app: App) -> Flow[Json]:
    """The public keys: at least one that rotates and one that does not, so that either is known before its use."""
    d = app.deployment
    now = d.clock()
    yield from signing_key(d, now)
    yield from signing_key(d, now, is_static=True)
    jwks = d.keys.ring.jwks(now)
    jwks["keys"] += app.predecessor.published
    return jwks


def make_jwt(request: Request) -> Flow[Json]:
    """``POST /recipe/jwt``: what the caller says, signed. Claims that it gives win over those reckoned here."""
    request.check_app_specific()
    asked = wire.read_jwt(request.json(), request.cdi)
    if asked is None:
        return wire.UNSUPPORTED_ALGORITHM
    d = request.app.deployment
    now = d.clock()
    key = yield from signing_key(d, now, is_static=asked.has_static_key)
    issued_at = now // 1000
    claims = {"iss": asked.issuer, "iat": issued_at, "exp": issued_at + asked.validity, **asked.payload}
    return wire.write_jwt(sign_jwt(encode_plain_header(key), claims, key))


def shake_hands(request: Request) -> Flow[Json]:
    """``POST /recipe/handshake``, before 2.21."""
    if not request.cdi.is_before_kids:
        raise not_found()
    app = request.app
    d = app.deployment
    info = yield from app.key_info(request.cdi)
    return wire.write_handshake(
        info, app.settings.access_token_blacklisting, d.access_token_validity, d.inactivity_limit
    )
