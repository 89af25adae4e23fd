"""The front token: what the browser SDK may read of a session (spec/fdi.md 1.5)."""

from __future__ import annotations

from base64 import b64encode

import msgspec

from tallystick.protocol.access_token import AccessToken
from tallystick.types import Json


def make_front_token(token: AccessToken) -> str:
    """Standard base64, padded, of compact UTF-8 JSON: expiry in ms, user id, and all claims in the token's own
    order."""
    return make_front_token_of(token.claims())


def make_front_token_of(claims: Json) -> str:
    """The same from the claims themselves."""
    content = {"ate": claims["exp"] * 1000, "uid": claims["sub"], "up": claims}
    return b64encode(msgspec.json.encode(content)).decode("ascii")
