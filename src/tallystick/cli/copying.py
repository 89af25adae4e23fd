"""From one store to another, page by page, while both are in use or not.

Everything here may be done again: a second run brings what has changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, cast

from tallystick.errors import GeneralError
from tallystick.storage.interface import SessionStore, TenantStore
from tallystick.storage.moving import MovingStore
from tallystick.types import Cause, SessionRow

_CARRIERS: Final = 8
"""How many sessions are on their way at once: each takes a round trip of its own."""

_REMEMBERED: Final = 86_400_000
"""For how long (ms) apps on the target can hear of what was removed; how long their access tokens live is not known."""


@dataclass(slots=True)
class Tally:
    """What a copy has done so far."""

    copied: int = 0
    """Sessions that the target did not have, or had otherwise."""
    same: int = 0
    """Those that it had already, to the letter."""
    expired: int = 0
    """Those that are over, and were left behind."""
    removed: int = 0
    """Those that only the target had, and were deleted there."""


def copy_keys(source: SessionStore, target: SessionStore, app_id: str) -> int:
    """Bring the signing keys over; how many the target did not have.

    Raises :class:`GeneralError`, ``bad_target``, where the target has made keys of its own: nothing is copied then, and
    nothing deleted.
    """
    there = {row.sequence: row for row in target.load_keys(app_id)}
    rows = source.load_keys(app_id)
    if there and not rows:
        raise GeneralError(
            f"the source has no signing keys of {app_id}, so no app has run on it, and the target has: are the two "
            "URLs the wrong way round? The first is copied from",
            reason="bad_target",
        )
    if any(there.get(row.sequence, row) != row for row in rows):
        raise GeneralError(
            f"the target has signing keys of {app_id} that are not the source's: an app has been running on it. "
            "Copy into an empty store",
            reason="bad_target",
        )
    return sum(target.insert_key(row) for row in reversed(rows))


def copy_tenants(source: SessionStore, target: SessionStore, app_id: str) -> int:
    """Bring a core's tenants of this app over, where both stores keep any; how many the target did not have."""
    if not (hasattr(source, "list_tenants") and hasattr(target, "insert_tenant")):
        return 0
    rows = cast("TenantStore", source).list_tenants(app_id)
    return sum(cast("TenantStore", target).insert_tenant(row) for row in rows)


def copy_sessions(
    source: SessionStore,
    target: SessionStore,
    app_id: str,
    *,
    clock: Callable[[], int],
    page_size: int,
    after: str | None,
    on_page: Callable[[Tally, str | None], None],
) -> Tally:
    """Bring the sessions over, and read each page back; ``on_page`` hears of each, and from where to go on.

    Raises :class:`GeneralError`, ``bad_target``, where what was read back is not what was written.
    """
    tally = Tally()
    while True:
        page, after = source.list_sessions(app_id, after, page_size)
        now = clock()
        alive = [row for row in page if now < min(row.expires_at, row.absolute_expires_at)]
        there = _load(target, app_id, alive)
        wanted = [row for row in alive if there.get(row.handle) != row]
        target.put_sessions(wanted, now)
        _check(target, app_id, wanted)
        tally.copied += len(wanted)
        tally.same += len(alive) - len(wanted)
        tally.expired += len(page) - len(alive)
        on_page(tally, after)
        if after is None:
            return tally


def carry_sessions(
    source: SessionStore, moving: MovingStore, app_id: str, *, page_size: int, on_page: Callable[[int], None]
) -> int:
    """Bring over all that is left in the source, by several threads; how many that were. ``on_page`` hears how many so
    far."""
    total, after = 0, None
    with ThreadPoolExecutor(_CARRIERS) as carriers:
        while True:
            page, after = source.list_sessions(app_id, after, page_size)
            parts = [page[first::_CARRIERS] for first in range(_CARRIERS)]
            list(carriers.map(moving.carry_sessions, parts))
            total += len(page)
            on_page(total)
            if after is None:
                return total


def remove_others(
    source: SessionStore,
    target: SessionStore,
    app_id: str,
    *,
    clock: Callable[[], int],
    page_size: int,
    tally: Tally,
    on_page: Callable[[Tally, str | None], None],
) -> None:
    """Delete from the target what the source does not have (any more)."""
    after: str | None = None
    while True:
        page, after = target.list_sessions(app_id, after, page_size)
        known = _load(source, app_id, page)
        others = [row.handle for row in page if row.handle not in known]
        now = clock()
        tally.removed += len(target.delete_sessions(app_id, others, Cause("revoked", now, now + _REMEMBERED)))
        on_page(tally, after)
        if after is None:
            return


def _load(store: SessionStore, app_id: str, rows: Sequence[SessionRow]) -> dict[str, SessionRow]:
    return {row.handle: row for row in store.load_sessions(app_id, [row.handle for row in rows])}


def _check(target: SessionStore, app_id: str, rows: list[SessionRow]) -> None:
    there = _load(target, app_id, rows)
    for row in rows:
        if there.get(row.handle) != row:
            raise GeneralError(
                f"session {row.handle} is not in the target as it was written; is an app running on it?",
                reason="bad_target",
            )
