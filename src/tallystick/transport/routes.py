"""The routes that the middleware answers itself (spec/fdi.md 1.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from posixpath import commonpath
from typing import Final, TypeAlias

from tallystick.config import Config
from tallystick.protocol.claims import SessionClaimValidator
from tallystick.sessions import Sessions
from tallystick.transport.decisions import Answer, decide_refresh
from tallystick.transport.devices import DEVICES, ONE, end_device, end_other_devices, list_devices
from tallystick.transport.dialogue import Dialogue, ask
from tallystick.transport.exchange import Exchange
from tallystick.transport.request import Request, identify_client
from tallystick.transport.session import end, hand_over_created, verify
from tallystick.types import SessionInfo

Route: TypeAlias = Callable[[Exchange], Dialogue[Answer]]

_ANYONE: Final = (("access-control-allow-origin", "*"), ("cache-control", "max-age=60, must-revalidate"))
"""A JWK Set is public, and must be readable from other origins (P-35)."""


class Routes:
    """A deployment's routes, by method and path."""

    def __init__(self, config: Config) -> None:
        auth = config.auth_path
        self.by_place: Final[dict[tuple[str, str], Route]] = {
            ("POST", config.refresh_path): _refresh,
            ("POST", f"{auth}/signout"): _sign_out,
            ("GET", f"{auth}/jwt/jwks.json"): _publish_keys,
        }
        if config.device_routes:
            self.by_place[("GET", f"{auth}{DEVICES}")] = list_devices
            self.by_place[("DELETE", f"{auth}{DEVICES}")] = end_other_devices
            self.by_place[("DELETE", f"{auth}{DEVICES}/{ONE}")] = end_device
        self._one_device: Final = f"{auth}{DEVICES}/"
        self.prefix: Final = commonpath([path for _, path in self.by_place])
        """What is in all of their paths, to tell at a glance that a request is the app's."""

    def find(self, request: Request) -> Route | None:
        """What answers ``request``; None where that is the app. A slash at the path's end does not matter."""
        path = request.path
        if not path.startswith(self.prefix):
            return None
        path = path.rstrip("/")
        found = self.by_place.get((request.method, path))
        if found is None and path.startswith(self._one_device) and "/" not in path[len(self._one_device) :]:
            return self.by_place.get((request.method, f"{self._one_device}{ONE}"))
        return found


def _refresh(exchange: Exchange) -> Dialogue[Answer]:
    refreshing = decide_refresh(exchange.request, exchange.policy)
    if isinstance(refreshing, Answer):
        exchange.add(refreshing.changes)
        return refreshing
    created = yield from ask(
        Sessions.refresh_session,
        refreshing.refresh_token,
        refreshing.anti_csrf_token,
        enable_anti_csrf=refreshing.enable_anti_csrf,
        client=identify_client(exchange.request),
    )
    exchange.add(refreshing.also)
    hand_over_created(exchange, refreshing.method, created)
    return Answer(200, {})


def _sign_out(exchange: Exchange) -> Dialogue[Answer]:
    held = yield from verify(exchange, override_global_claim_validators=_ignore_claims)
    if held is not None:
        yield from end(exchange, held)
    return Answer(200, {"status": "OK"}, headers=(("cache-control", "no-store"),))


def _ignore_claims(_validators: Sequence[SessionClaimValidator], _session: SessionInfo) -> list[SessionClaimValidator]:
    """Claims never stand in the way of a sign-out (spec/fdi.md 2.6)."""
    return []


def _publish_keys(exchange: Exchange) -> Dialogue[Answer]:
    return Answer(200, (yield from ask(Sessions.get_jwks)), headers=_ANYONE)
