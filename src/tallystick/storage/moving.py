"""A store that reads an old one and writes a new one: for moving between them while the app runs.

A session is brought over when it is first touched: kept in the new store, then deleted from the old one. From then on
the new one alone decides on it, and nobody ever changes a row of the old one, so whatever is read there is the whole
truth until it is gone.

Two who bring the same session keep it once, as a handle is kept once. But one of them may be so slow that the session
is revoked in the new store before he keeps what he has read. So whatever is ended leaves a mark in the new store first,
a row of an app of its own, and what bears a mark is not there, whoever kept it since. The mark also tells who of many
has ended it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, Final, ParamSpec, TypeAlias, TypeVar

from tallystick.calls import drive, drive_async
from tallystick.errors import GeneralError
from tallystick.storage.interface import AsyncSessionStore, SessionStore
from tallystick.storage.opening import open_async_store, open_store
from tallystick.types import Cause, EndingsPage, KeyRow, LineStep, SessionRow, TheftEvent

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

BROUGHT_AT_ONCE: Final = 1000
"""How many sessions a purge brings over."""

_ALWAYS: Final = 0
"""An instant at which everything is alive."""

_BROUGHT: Final = Cause("revoked", 0, 0)
"""Of what is deleted from the old store, whose log of endings nobody follows."""


@dataclass(frozen=True, slots=True)
class _Ask:
    """One step of one of the stores."""

    is_new: bool
    method: str
    args: tuple[object, ...] = field(repr=False)


_Step: TypeAlias = Generator[_Ask, Any, T]


def _new(method: Callable[Concatenate[SessionStore, P], R], *args: P.args, **kwargs: P.kwargs) -> _Step[R]:
    answer: R = yield _Ask(True, method.__name__, (*args, *kwargs.values()))
    return answer


def _old(method: Callable[Concatenate[SessionStore, P], R], *args: P.args, **kwargs: P.kwargs) -> _Step[R]:
    answer: R = yield _Ask(False, method.__name__, (*args, *kwargs.values()))
    return answer


def marks_of(app_id: str) -> str:
    """The app under which the marks of an app's ended sessions are kept; its id is one that no app has."""
    return f"ended-{hashlib.sha256(app_id.encode()).hexdigest()[:40]}"


# Bringing


def _bring(app_id: str, handle: str) -> _Step[SessionRow | None]:
    """The session as it is in the new store, brought there first if need be; None where there is none, or no more."""
    row = yield from _new(SessionStore.load_session, app_id, handle)
    if row is None:
        there = yield from _old(SessionStore.load_session, app_id, handle)
        if there is None:  # it never was, or somebody has brought it meanwhile
            row = yield from _new(SessionStore.load_session, app_id, handle)
        else:
            row = yield from _carry(there)
    if row is None or (yield from _is_marked(app_id, handle)):
        return None
    return row


def _bring_all(app_id: str, handles: Sequence[str]) -> _Step[list[SessionRow]]:
    rows: list[SessionRow] = []
    for handle in dict.fromkeys(handles):
        row = yield from _bring(app_id, handle)
        rows += [] if row is None else [row]
    return rows


def _carry(there: SessionRow) -> _Step[SessionRow | None]:
    row: SessionRow | None = there
    for is_last in (False, False, True):
        try:
            yield from _new(SessionStore.insert_session, there)
        except Exception:
            # The stores' errors have nothing in common, so what went wrong is told by what is there.
            row = yield from _new(SessionStore.load_session, there.app_id, there.handle)
            if row is None and not (yield from _is_marked(there.app_id, there.handle)):
                # It cannot be kept; or another has kept it, and a third evicted it just now and has still to mark it.
                if is_last:
                    raise
                row = there
                continue
        break
    yield from _old(SessionStore.delete_sessions, there.app_id, [there.handle], _BROUGHT)
    return row


def _bring_user(app_id: str, user_id: str) -> _Step[None]:
    for handle in (yield from _old(SessionStore.list_handles_of_user, app_id, user_id, None, _ALWAYS)):
        yield from _bring(app_id, handle)


def _bring_some(app_id: str, limit: int) -> _Step[int]:
    """At most about so many; how many there were to bring."""
    brought, place = 0, None
    while brought < limit:
        page, place = yield from _old(SessionStore.list_sessions, app_id, place, limit)
        for row in page:
            yield from _carry(row)
        brought += len(page)
        if place is None:
            break
    return brought


# Ending


def _is_marked(app_id: str, handle: str) -> _Step[bool]:
    return (yield from _new(SessionStore.load_session, marks_of(app_id), handle)) is not None


def _mark(row: SessionRow) -> _Step[bool]:
    """Tell whether it is this mark that ends the session. It stays for as long as the session could have lasted."""
    app_id = marks_of(row.app_id)
    mark = replace(
        row,
        app_id=app_id,
        user_id=row.handle[:128],  # not the user's: a mark is found by its handle, and in nobody's list
        line=bytes(32),
        previous=None,
        used_at=None,
        nonce=bytes(16),
        jwt_payload="{}",
        session_data="{}",
        expires_at=row.absolute_expires_at,
        refreshed_at=row.created_at,
        user_agent=None,
        address=None,
    )
    try:
        yield from _new(SessionStore.insert_session, mark)
    except Exception:
        if (yield from _new(SessionStore.load_session, app_id, row.handle)) is None:
            raise
        return False
    return True


def _end(app_id: str, handles: Sequence[str], cause: Cause) -> _Step[list[str]]:
    ended: list[str] = []
    for handle in dict.fromkeys(handles):
        row = yield from _bring(app_id, handle)
        is_ours = row is not None and (yield from _mark(row))
        # Also where somebody has marked it and died: then its ending has not been told yet.
        yield from _new(SessionStore.delete_sessions, app_id, [handle], cause)
        if is_ours:
            ended.append(handle)
    return ended


def _end_user(app_id: str, user_id: str, tenant_id: str | None, cause: Cause) -> _Step[list[str]]:
    yield from _bring_user(app_id, user_id)
    handles = yield from _new(SessionStore.list_handles_of_user, app_id, user_id, tenant_id, _ALWAYS)
    return (yield from _end(app_id, handles, cause))


def _record_theft(event: TheftEvent, cause: Cause) -> _Step[bool]:
    row = yield from _bring(event.app_id, event.session_handle)
    if row is None or not (yield from _mark(row)):
        return False
    return (yield from _new(SessionStore.record_theft, event, cause))


# The rest of the contract


def _insert_within(
    row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
) -> _Step[list[str] | None]:
    yield from _bring_user(row.app_id, row.user_id)
    for handle in (row.handle, *([] if replaces is None else [replaces])):
        yield from _bring(row.app_id, handle)
    deleted = yield from _new(SessionStore.insert_session_within, row, limit, evicts, replaces, cause)
    if deleted is None:
        return None
    told: list[str] = []
    for handle in deleted:
        # Who was evicted is known only now. Of what a slow process keeps once more, the mark tells.
        if (yield from _mark(replace(row, handle=handle))):
            told.append(handle)
    return told


def _advance(app_id: str, handle: str, expected_line: bytes, step: LineStep) -> _Step[bool]:
    if (yield from _new(SessionStore.advance_line, app_id, handle, expected_line, step)):
        return True
    if (yield from _old(SessionStore.load_session, app_id, handle)) is None:
        # Somebody may have brought it between the two; then a second try is the first that counts.
        return (yield from _new(SessionStore.advance_line, app_id, handle, expected_line, step))
    if (yield from _bring(app_id, handle)) is None:
        return False
    return (yield from _new(SessionStore.advance_line, app_id, handle, expected_line, step))


def _mark_used(app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> _Step[bool]:
    if (yield from _bring(app_id, handle)) is None:
        return False
    return (yield from _new(SessionStore.mark_used, app_id, handle, expected_line, used_at, expires_at))


def _update_payload(
    app_id: str, handle: str, jwt_payload: str, now: int, expected: str | None, cause: Cause | None
) -> _Step[bool]:
    if (yield from _bring(app_id, handle)) is None:
        return False
    return (yield from _new(SessionStore.update_jwt_payload, app_id, handle, jwt_payload, now, expected, cause))


def _update_data(app_id: str, handle: str, session_data: str, now: int) -> _Step[bool]:
    if (yield from _bring(app_id, handle)) is None:
        return False
    return (yield from _new(SessionStore.update_session_data, app_id, handle, session_data, now))


def _list_user(app_id: str, user_id: str, tenant_id: str | None, now: int) -> _Step[list[str]]:
    yield from _bring_user(app_id, user_id)
    handles = yield from _new(SessionStore.list_handles_of_user, app_id, user_id, tenant_id, now)
    return (yield from _without_marked(app_id, handles))


def _without_marked(app_id: str, handles: Sequence[str]) -> _Step[list[str]]:
    marks = {mark.handle for mark in (yield from _new(SessionStore.load_sessions, marks_of(app_id), handles))}
    return [handle for handle in handles if handle not in marks]


def _purge(app_id: str, now: int, limit: int) -> _Step[int]:
    """Bring some over, so that moving comes to an end by itself; then purge the new store, and its old marks."""
    yield from _bring_some(app_id, BROUGHT_AT_ONCE)
    yield from _new(SessionStore.purge_sessions, marks_of(app_id), now, limit)
    return (yield from _new(SessionStore.purge_sessions, app_id, now, limit))


def _list(app_id: str, after: str | None, limit: int) -> _Step[tuple[list[SessionRow], str | None]]:
    """The old store's first: what is brought over meanwhile is found in the new one."""
    side, _, place = (after or "old:").partition(":")
    if side not in ("old", "new"):
        raise GeneralError("this place is not one that a moving store gave", reason="bad_place")
    listing = _old if side == "old" else _new
    page, next_place = yield from listing(SessionStore.list_sessions, app_id, place or None, limit)
    left = set((yield from _without_marked(app_id, [row.handle for row in page])))
    rows = [row for row in page if row.handle in left]
    if next_place is not None:
        return rows, f"{side}:{next_place}"
    return rows, "new:" if side == "old" else None


def _put(rows: Sequence[SessionRow], now: int) -> _Step[None]:
    yield from _new(SessionStore.put_sessions, rows, now)
    for row in rows:
        yield from _old(SessionStore.delete_sessions, row.app_id, [row.handle], _BROUGHT)


def _load_thefts(app_id: str, user_id: str | None, limit: int) -> _Step[list[TheftEvent]]:
    found = yield from _new(SessionStore.load_thefts, app_id, user_id, limit)
    found = found + (yield from _old(SessionStore.load_thefts, app_id, user_id, limit))
    return sorted(found, key=lambda event: (-event.detected_at, event.session_handle))[:limit]


def _purge_thefts(app_id: str, detected_before: int) -> _Step[int]:
    purged = yield from _new(SessionStore.purge_thefts, app_id, detected_before)
    return purged + (yield from _old(SessionStore.purge_thefts, app_id, detected_before))


def _bring_keys(app_id: str) -> _Step[None]:
    there = {row.sequence: row for row in (yield from _new(SessionStore.load_keys, app_id))}
    for row in reversed((yield from _old(SessionStore.load_keys, app_id))):
        if there.get(row.sequence, row) != row:
            raise GeneralError(
                f"the new store has signing keys of {app_id} that are not the old one's: an app has been "
                "running on it. Move into an empty store",
                reason="bad_target",
            )
        if row.sequence not in there:
            yield from _new(SessionStore.insert_key, row)


class MovingStore:
    """Sessions on their way from one store to another, for synchronous code: pass it to Sessions in a URL's place.

    ``new`` and ``old`` are what Sessions takes: URLs, engines or stores. Every process has to use it: one that is left
    on the old store alone takes what was brought over for signed out.
    """

    def __init__(self, new: str | SessionStore, old: str | SessionStore, *, migrate: bool | None = None) -> None:
        self._new, self._old = open_store(new, migrate=migrate), open_store(old)
        self._keyed = set[str]()

    def insert_session(self, row: SessionRow) -> None:
        self._new.insert_session(row)

    def insert_session_within(
        self, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
    ) -> list[str] | None:
        return self._run(_insert_within(row, limit, evicts, replaces, cause))

    def load_session(self, app_id: str, handle: str) -> SessionRow | None:
        return self._run(_bring(app_id, handle))

    def load_sessions(self, app_id: str, handles: Sequence[str]) -> list[SessionRow]:
        return self._run(_bring_all(app_id, handles))

    def advance_line(self, app_id: str, handle: str, expected_line: bytes, step: LineStep) -> bool:
        return self._run(_advance(app_id, handle, expected_line, step))

    def mark_used(self, app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> bool:
        return self._run(_mark_used(app_id, handle, expected_line, used_at, expires_at))

    def update_jwt_payload(
        self,
        app_id: str,
        handle: str,
        jwt_payload: str,
        now: int,
        expected: str | None = None,
        cause: Cause | None = None,
    ) -> bool:
        return self._run(_update_payload(app_id, handle, jwt_payload, now, expected, cause))

    def update_session_data(self, app_id: str, handle: str, session_data: str, now: int) -> bool:
        return self._run(_update_data(app_id, handle, session_data, now))

    def delete_sessions(self, app_id: str, handles: Sequence[str], cause: Cause) -> list[str]:
        return self._run(_end(app_id, handles, cause))

    def delete_sessions_of_user(self, app_id: str, user_id: str, tenant_id: str | None, cause: Cause) -> list[str]:
        return self._run(_end_user(app_id, user_id, tenant_id, cause))

    def list_handles_of_user(self, app_id: str, user_id: str, tenant_id: str | None, now: int) -> list[str]:
        return self._run(_list_user(app_id, user_id, tenant_id, now))

    def purge_sessions(self, app_id: str, now: int, limit: int) -> int:
        return self._run(_purge(app_id, now, limit))

    def bring_sessions(self, app_id: str, limit: int) -> int:
        """Bring about so many sessions over; how many there were to bring. 0: the old store is empty."""
        return self._run(_bring_some(app_id, limit))

    def list_sessions(self, app_id: str, after: str | None, limit: int) -> tuple[list[SessionRow], str | None]:
        return self._run(_list(app_id, after, limit))

    def put_sessions(self, rows: Sequence[SessionRow], now: int) -> None:
        self._run(_put(rows, now))

    def record_theft(self, event: TheftEvent, cause: Cause) -> bool:
        return self._run(_record_theft(event, cause))

    def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        return self._new.read_endings(app_id, after, limit)

    def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        self._new.wait_for_endings(app_id, after, seconds)

    def purge_endings(self, app_id: str, now: int) -> int:
        return self._new.purge_endings(app_id, now)

    def load_thefts(self, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]:
        return self._run(_load_thefts(app_id, user_id, limit))

    def purge_thefts(self, app_id: str, detected_before: int) -> int:
        return self._run(_purge_thefts(app_id, detected_before))

    def load_keys(self, app_id: str) -> list[KeyRow]:
        self._bring_keys(app_id)
        return self._new.load_keys(app_id)

    def insert_key(self, row: KeyRow) -> bool:
        self._bring_keys(row.app_id)
        return self._new.insert_key(row)

    def purge_keys(self, app_id: str, created_before: int) -> int:
        self._bring_keys(app_id)
        return self._new.purge_keys(app_id, created_before)

    def open(self) -> None:
        self._new.open()
        self._old.open()

    def close(self) -> None:
        self._new.close()
        self._old.close()

    def _bring_keys(self, app_id: str) -> None:
        """Once in a process: nobody makes keys in the old store any more."""
        if app_id not in self._keyed:
            self._run(_bring_keys(app_id))
            self._keyed.add(app_id)

    def _run(self, step: _Step[R]) -> R:
        return drive(step, lambda ask: getattr(self._new if ask.is_new else self._old, ask.method)(*ask.args))


class AsyncMovingStore:
    """The same for asynchronous code: see :class:`MovingStore`."""

    def __init__(
        self, new: str | AsyncSessionStore, old: str | AsyncSessionStore, *, migrate: bool | None = None
    ) -> None:
        self._new, self._old = open_async_store(new, migrate=migrate), open_async_store(old)
        self._keyed = set[str]()

    async def insert_session(self, row: SessionRow) -> None:
        await self._new.insert_session(row)

    async def insert_session_within(
        self, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
    ) -> list[str] | None:
        return await self._run(_insert_within(row, limit, evicts, replaces, cause))

    async def load_session(self, app_id: str, handle: str) -> SessionRow | None:
        return await self._run(_bring(app_id, handle))

    async def load_sessions(self, app_id: str, handles: Sequence[str]) -> list[SessionRow]:
        return await self._run(_bring_all(app_id, handles))

    async def advance_line(self, app_id: str, handle: str, expected_line: bytes, step: LineStep) -> bool:
        return await self._run(_advance(app_id, handle, expected_line, step))

    async def mark_used(self, app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> bool:
        return await self._run(_mark_used(app_id, handle, expected_line, used_at, expires_at))

    async def update_jwt_payload(
        self,
        app_id: str,
        handle: str,
        jwt_payload: str,
        now: int,
        expected: str | None = None,
        cause: Cause | None = None,
    ) -> bool:
        return await self._run(_update_payload(app_id, handle, jwt_payload, now, expected, cause))

    async def update_session_data(self, app_id: str, handle: str, session_data: str, now: int) -> bool:
        return await self._run(_update_data(app_id, handle, session_data, now))

    async def delete_sessions(self, app_id: str, handles: Sequence[str], cause: Cause) -> list[str]:
        return await self._run(_end(app_id, handles, cause))

    async def delete_sessions_of_user(
        self, app_id: str, user_id: str, tenant_id: str | None, cause: Cause
    ) -> list[str]:
        return await self._run(_end_user(app_id, user_id, tenant_id, cause))

    async def list_handles_of_user(self, app_id: str, user_id: str, tenant_id: str | None, now: int) -> list[str]:
        return await self._run(_list_user(app_id, user_id, tenant_id, now))

    async def purge_sessions(self, app_id: str, now: int, limit: int) -> int:
        return await self._run(_purge(app_id, now, limit))

    async def bring_sessions(self, app_id: str, limit: int) -> int:
        """Bring about so many sessions over; how many there were to bring. 0: the old store is empty."""
        return await self._run(_bring_some(app_id, limit))

    async def list_sessions(self, app_id: str, after: str | None, limit: int) -> tuple[list[SessionRow], str | None]:
        return await self._run(_list(app_id, after, limit))

    async def put_sessions(self, rows: Sequence[SessionRow], now: int) -> None:
        await self._run(_put(rows, now))

    async def record_theft(self, event: TheftEvent, cause: Cause) -> bool:
        return await self._run(_record_theft(event, cause))

    async def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        return await self._new.read_endings(app_id, after, limit)

    async def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        await self._new.wait_for_endings(app_id, after, seconds)

    async def purge_endings(self, app_id: str, now: int) -> int:
        return await self._new.purge_endings(app_id, now)

    async def load_thefts(self, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]:
        return await self._run(_load_thefts(app_id, user_id, limit))

    async def purge_thefts(self, app_id: str, detected_before: int) -> int:
        return await self._run(_purge_thefts(app_id, detected_before))

    async def load_keys(self, app_id: str) -> list[KeyRow]:
        await self._bring_keys(app_id)
        return await self._new.load_keys(app_id)

    async def insert_key(self, row: KeyRow) -> bool:
        await self._bring_keys(row.app_id)
        return await self._new.insert_key(row)

    async def purge_keys(self, app_id: str, created_before: int) -> int:
        await self._bring_keys(app_id)
        return await self._new.purge_keys(app_id, created_before)

    async def open(self) -> None:
        await self._new.open()
        await self._old.open()

    async def close(self) -> None:
        await self._new.close()
        await self._old.close()

    async def _bring_keys(self, app_id: str) -> None:
        if app_id not in self._keyed:
            await self._run(_bring_keys(app_id))
            self._keyed.add(app_id)

    async def _run(self, step: _Step[R]) -> R:
        async def answer(ask: _Ask) -> Any:  # noqa: ANN401 - a store's answer, as its method has it
            return await getattr(self._new if ask.is_new else self._old, ask.method)(*ask.args)

        return await drive_async(step, answer)
