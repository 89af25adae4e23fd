"""A user's own sessions, for a page "your devices": list them, end one, end the others."""

from __future__ import annotations

from typing import Final, cast

from tallystick.sessions import Sessions
from tallystick.transport.decisions import Answer
from tallystick.transport.dialogue import Dialogue, ask
from tallystick.transport.exchange import Exchange
from tallystick.transport.session import Held, end, verify
from tallystick.types import Json, SessionInformation

DEVICES: Final = "/session/devices"
ONE: Final = "{handle}"
"""What stands for a session's handle in a route."""
MAX_LISTED: Final = 100
"""Of more sessions the newest are shown; all are ended."""

_PRIVATE: Final = (("cache-control", "no-store"),)


def list_devices(exchange: Exchange) -> Dialogue[Answer]:
    """The user's living sessions, newest first."""
    held = yield from _verify(exchange)
    handles = yield from _list_handles(held)
    listed: list[Json] = []
    for handle in handles[: -MAX_LISTED - 1 : -1]:
        known = yield from ask(Sessions.get_session_information, handle)
        if known is not None:
            listed.append(_describe(known, held))
    return Answer(200, {"devices": listed}, headers=_PRIVATE)


def end_device(exchange: Exchange) -> Dialogue[Answer]:
    """End one of the user's sessions; their own too, which signs them out. 404 for what is not theirs."""
    held = yield from _verify(exchange)
    handle = exchange.request.path.rstrip("/").rpartition("/")[2]
    if handle == held.info.handle:
        yield from end(exchange, held)
        return _ended(1)
    if handle not in (yield from _list_handles(held)):
        return _none_such()
    ended = yield from ask(Sessions.revoke_session, handle)
    return _ended(int(ended))


def end_other_devices(exchange: Exchange) -> Dialogue[Answer]:
    """End all of the user's sessions but the one that asks. 404 where the path ends with a slash: there a page has put
    the handle that it has not got, and means one."""
    held = yield from _verify(exchange)
    if exchange.request.path.endswith("/"):
        return _none_such()
    handles = yield from _list_handles(held)
    ended = yield from ask(Sessions.revoke_sessions, [handle for handle in handles if handle != held.info.handle])
    return _ended(len(ended))


def _verify(exchange: Exchange) -> Dialogue[Held]:
    """Whoever asks, by the store too: a session that was ended elsewhere must not end others."""
    return cast(Held, (yield from verify(exchange, check_database=True)))


def _list_handles(held: Held) -> Dialogue[list[str]]:
    info = held.info
    return (yield from ask(Sessions.get_all_session_handles_for_user, info.user_id, tenant_id=info.tenant_id))


def _describe(known: SessionInformation, held: Held) -> Json:
    return {
        "handle": known.session_handle,
        "isCurrent": known.session_handle == held.info.handle,
        "timeCreated": known.time_created,
        "timeRefreshed": known.time_refreshed,
        "expiry": known.expiry,
        "userAgent": known.user_agent,
        "address": known.address,
    }


def _none_such() -> Answer:
    return Answer(404, {"message": "you have no such session"}, headers=_PRIVATE)


def _ended(count: int) -> Answer:
    return Answer(200, {"ended": count}, headers=_PRIVATE)
