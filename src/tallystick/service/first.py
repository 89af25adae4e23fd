"""The first interface (spec/cdi-1.0.md), of drivers from 2019 and 2020: 1.0 without a version's header, 2.0 to 2.3 with
one, on paths without ``/recipe``.

What later drivers configure themselves is in the service's settings here: the cookies' attributes, and whether there
are anti-CSRF tokens.
"""

from __future__ import annotations

from tallystick.calls import Flow
from tallystick.errors import TokenTheftDetected, TryRefreshToken, Unauthorised
from tallystick.service import sessions, wire
from tallystick.service.answers import not_found
from tallystick.service.requests import Request
from tallystick.types import Json


def create(request: Request) -> Flow[Json]:
    """``POST /session``."""
    settings = request.app.settings
    created = yield from sessions.begin(request, wire.read_first_creation(request.json(), settings.enable_anti_csrf))
    return wire.write_first_created(created, settings, (yield from request.app.key_info(request.cdi)))


def verify(request: Request) -> Flow[Json]:
    """``POST /session/verify``."""
    app, settings = request.app, request.app.settings
    asked = wire.read_first_verification(request.json(), settings.enable_anti_csrf)
    try:
        found = yield from sessions.check(app, asked)
    except Unauthorised as error:
        return wire.write_unauthorised(error.message)
    except TryRefreshToken as error:
        return wire.write_try_refresh(error.message, {})
    request.observe("session_verified", 1)
    return wire.write_first_found(found, settings, (yield from app.key_info(request.cdi)))


def refresh(request: Request) -> Flow[Json]:
    """``POST /session/refresh``. Before 2.3 drivers had no anti-CSRF token to send here."""
    settings = request.app.settings
    asked = wire.read_first_refreshing(request.json(), settings.enable_anti_csrf)
    is_compared = request.cdi.number >= (2, 3)
    try:
        refreshed = yield from sessions.renew(request, asked, is_compared=is_compared)
    except Unauthorised as error:
        return wire.write_unauthorised(error.message)
    except TokenTheftDetected as theft:
        return wire.write_theft(theft, request.cdi, is_masked=False)
    return wire.write_first_created(refreshed, settings, {})


def regenerate(request: Request) -> Flow[Json]:
    """``POST /session/regenerate``."""
    regenerated = yield from sessions.change_payload(request)
    if isinstance(regenerated, Unauthorised):
        return wire.write_unauthorised(regenerated.message)
    return wire.write_first_found(regenerated, request.app.settings, {})


def remove(request: Request) -> Flow[Json]:
    """``DELETE /session``, of 1.0: how many there were."""
    ended = yield from sessions.end(request, wire.read_first_removal(request.json()))
    return wire.write_first_removed(len(ended))


def shake_hands(request: Request) -> Flow[Json]:
    """``POST /handshake``."""
    if not request.cdi.is_first:
        raise not_found()
    return wire.write_first_handshake(request.app.settings, (yield from request.app.key_info(request.cdi)))
