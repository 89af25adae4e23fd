"""The reference store: dictionaries in this process. For tests, and to read what the contract means."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from threading import Condition

from tallystick.storage.places import read_number
from tallystick.types import Cause, Ending, EndingsPage, KeyRow, LineStep, SessionRow, TenantRow, TheftEvent


class MemoryStore:
    """Sessions in memory; gone with the process."""

    def __init__(self) -> None:
        self._lock = Condition()
        """Notified of each ending."""
        self._sessions: dict[tuple[str, str], SessionRow] = {}
        self._keys: dict[tuple[str, int], KeyRow] = {}
        self._thefts: list[TheftEvent] = []
        self._tenants: dict[tuple[str, str], TenantRow] = {}
        self._endings: dict[str, list[tuple[int, Ending]]] = {}
        """By app, each with its number."""
        self._told = 0
        self._ears: set[Callable[[], object]] = set()

    def insert_session(self, row: SessionRow) -> None:
        with self._lock:
            self._insert(row)

    def insert_session_within(
        self, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
    ) -> list[str] | None:
        with self._lock:
            others = [r for r in self._of_user(row.app_id, row.user_id, None) if r.handle != replaces]
            alive = [r.handle for r in others if not _is_over(r, cause.happened_at)]
            over = alive[: max(0, len(alive) + 1 - limit)]
            if over and not evicts:
                return None
            self._insert(row)
            gone = over if replaces is None else [*over, replaces]
            return self._end(row.app_id, gone, cause)

    def load_session(self, app_id: str, handle: str) -> SessionRow | None:
        return self._sessions.get((app_id, handle))

    def load_sessions(self, app_id: str, handles: Sequence[str]) -> list[SessionRow]:
        found = (self._sessions.get((app_id, handle)) for handle in dict.fromkeys(handles))
        return [row for row in found if row is not None]

    def advance_line(self, app_id: str, handle: str, expected_line: bytes, step: LineStep) -> bool:
        with self._lock:
            row = self._sessions.get((app_id, handle))
            if row is None or row.line != expected_line:
                return False
            self._sessions[app_id, handle] = replace(
                row,
                generation=step.generation,
                line=step.line,
                previous=step.previous,
                used_at=step.used_at,
                expires_at=step.expires_at,
                refreshed_at=step.refreshed_at,
                user_agent=step.user_agent,
                address=step.address,
            )
            return True

    def mark_used(self, app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> bool:
        with self._lock:
            row = self._sessions.get((app_id, handle))
            if row is None or row.line != expected_line or row.used_at is not None:
                return False
            self._sessions[app_id, handle] = replace(row, used_at=used_at, expires_at=expires_at)
            return True

    def update_jwt_payload(
        self,
        app_id: str,
        handle: str,
        jwt_payload: str,
        now: int,
        expected: str | None = None,
        cause: Cause | None = None,
    ) -> bool:
        with self._lock:
            row = self._sessions.get((app_id, handle))
            if row is None or _is_over(row, now):
                return False
            if expected is not None and row.jwt_payload != expected:
                return False
            self._sessions[app_id, handle] = replace(row, jwt_payload=jwt_payload)
            if cause is not None:
                self._tell(row, cause)
            return True

    def update_session_data(self, app_id: str, handle: str, session_data: str, now: int) -> bool:
        with self._lock:
            row = self._sessions.get((app_id, handle))
            if row is None or _is_over(row, now):
                return False
            self._sessions[app_id, handle] = replace(row, session_data=session_data)
            return True

    def delete_sessions(self, app_id: str, handles: Sequence[str], cause: Cause) -> list[str]:
        with self._lock:
            return self._end(app_id, handles, cause)

    def delete_sessions_of_user(self, app_id: str, user_id: str, tenant_id: str | None, cause: Cause) -> list[str]:
        with self._lock:
            return self._end(app_id, [row.handle for row in self._of_user(app_id, user_id, tenant_id)], cause)

    def list_handles_of_user(self, app_id: str, user_id: str, tenant_id: str | None, now: int) -> list[str]:
        with self._lock:
            found = self._of_user(app_id, user_id, tenant_id)
        return [row.handle for row in found if not _is_over(row, now)]

    def purge_sessions(self, app_id: str, now: int, limit: int) -> int:
        with self._lock:
            over = [key for key, row in self._sessions.items() if key[0] == app_id and _is_over(row, now)][:limit]
            for key in over:
                del self._sessions[key]
            return len(over)

    def list_sessions(self, app_id: str, after: str | None, limit: int) -> tuple[list[SessionRow], str | None]:
        with self._lock:
            rows = [row for row in self._sessions.values() if row.app_id == app_id and row.handle > (after or "")]
        page = sorted(rows, key=lambda row: row.handle)[:limit]
        return page, page[-1].handle if len(page) == limit else None

    def put_sessions(self, rows: Sequence[SessionRow], now: int) -> None:
        with self._lock:
            self._sessions.update({(row.app_id, row.handle): row for row in rows})

    def record_theft(self, event: TheftEvent, cause: Cause) -> bool:
        with self._lock:
            if not self._end(event.app_id, [event.session_handle], cause):
                return False
            self._thefts.append(event)
            return True

    def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        with self._lock:
            log = self._endings.get(app_id, [])
            reached = read_number(after)
            start = bisect_right(log, reached, key=itemgetter(0))
            page = log[start : start + limit]
            place = str(page[-1][0] if page else reached or self._told)
        return EndingsPage([ending for _, ending in page], place, len(page) < limit)

    def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self._has_more(app_id, after), seconds)

    def purge_endings(self, app_id: str, now: int) -> int:
        with self._lock:
            log = self._endings.get(app_id, [])
            left = [(number, ending) for number, ending in log if ending.forget_at > now]
            self._endings[app_id] = left
            return len(log) - len(left)

    def listen(self, app_id: str, after: str, ear: Callable[[], object]) -> Callable[[], object]:
        """Call ``ear`` at each ending, whosever, until what this returns is called; at once if there is more already.
        For :class:`AsyncMemoryStore`, whose event loop cannot wait for a lock."""
        with self._lock:
            self._ears.add(ear)
            if self._has_more(app_id, after):
                ear()
        return lambda: self._ears.discard(ear)

    def load_thefts(self, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]:
        with self._lock:
            found = [e for e in self._thefts if e.app_id == app_id and user_id in (None, e.user_id)]
        return sorted(found, key=lambda event: (-event.detected_at, event.session_handle))[:limit]

    def purge_thefts(self, app_id: str, detected_before: int) -> int:
        with self._lock:
            old = [e for e in self._thefts if e.app_id == app_id and e.detected_at < detected_before]
            self._thefts = [e for e in self._thefts if e not in old]
            return len(old)

    def load_keys(self, app_id: str) -> list[KeyRow]:
        with self._lock:
            rows = [row for row in self._keys.values() if row.app_id == app_id]
        return sorted(rows, key=lambda row: -row.sequence)

    def insert_key(self, row: KeyRow) -> bool:
        with self._lock:
            return self._keys.setdefault((row.app_id, row.sequence), row) is row

    def purge_keys(self, app_id: str, created_before: int) -> int:
        with self._lock:
            of_app = [row for row in self._keys.values() if row.app_id == app_id]
            newest = max((row.sequence for row in of_app), default=0)
            old = [r for r in of_app if r.created_at < created_before and r.sequence != newest]
            for row in old:
                del self._keys[row.app_id, row.sequence]
            return len(old)

    def load_tenant(self, app_id: str, tenant_id: str) -> TenantRow | None:
        return self._tenants.get((app_id, tenant_id))

    def list_tenants(self, app_id: str | None) -> list[TenantRow]:
        with self._lock:
            return [row for _, row in sorted(self._tenants.items()) if app_id in (None, row.app_id)]

    def insert_tenant(self, row: TenantRow) -> bool:
        with self._lock:
            return self._tenants.setdefault((row.app_id, row.tenant_id), row) is row

    def swap_tenant(self, row: TenantRow, expected: bytes) -> bool:
        with self._lock:
            found = self._tenants.get((row.app_id, row.tenant_id))
            if found is None or found.sealed != expected:
                return False
            self._tenants[row.app_id, row.tenant_id] = replace(found, sealed=row.sealed)
            return True

    def delete_tenants(self, app_id: str, tenant_id: str | None) -> bool:
        with self._lock:
            gone = [key for key in self._tenants if key[0] == app_id and tenant_id in (None, key[1])]
            for key in gone:
                del self._tenants[key]
            if tenant_id is None:
                self._keys = {key: row for key, row in self._keys.items() if key[0] != app_id}
            return bool(gone)

    def open(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do: what is here stays until the process ends."""

    def _end(self, app_id: str, handles: Sequence[str], cause: Cause) -> list[str]:
        ended: list[str] = []
        for handle in dict.fromkeys(handles):
            row = self._sessions.pop((app_id, handle), None)
            if row is not None:
                self._tell(row, cause)
                ended.append(handle)
        return ended

    def _tell(self, row: SessionRow, cause: Cause) -> None:
        ending = Ending(
            row.handle,
            row.user_id,
            row.tenant_id,
            cause.kind,
            cause.happened_at,
            cause.forget_at,
            cause.payload_digest,
        )
        self._told += 1
        self._endings.setdefault(row.app_id, []).append((self._told, ending))
        self._lock.notify_all()
        for ear in tuple(self._ears):
            ear()

    def _has_more(self, app_id: str, after: str) -> bool:
        log = self._endings.get(app_id, [])
        return bool(log) and log[-1][0] > read_number(after)

    def _insert(self, row: SessionRow) -> None:
        if (row.app_id, row.handle) in self._sessions:
            raise KeyError(f"there is a session {row.handle} already")
        self._sessions[row.app_id, row.handle] = row

    def _of_user(self, app_id: str, user_id: str, tenant_id: str | None) -> list[SessionRow]:
        found = [
            row
            for row in self._sessions.values()
            if row.app_id == app_id and row.user_id == user_id and tenant_id in (None, row.tenant_id)
        ]
        return sorted(found, key=lambda row: (row.created_at, row.handle))


class AsyncMemoryStore:
    """The same for asynchronous code; give it a :class:`MemoryStore` to share its sessions."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self._store = store or MemoryStore()

    async def insert_session(self, row: SessionRow) -> None:
        self._store.insert_session(row)

    async def insert_session_within(
        self, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
    ) -> list[str] | None:
        return self._store.insert_session_within(row, limit, evicts, replaces, cause)

    async def load_session(self, app_id: str, handle: str) -> SessionRow | None:
        return self._store.load_session(app_id, handle)

    async def load_sessions(self, app_id: str, handles: Sequence[str]) -> list[SessionRow]:
        return self._store.load_sessions(app_id, handles)

    async def advance_line(self, app_id: str, handle: str, expected_line: bytes, step: LineStep) -> bool:
        return self._store.advance_line(app_id, handle, expected_line, step)

    async def mark_used(self, app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> bool:
        return self._store.mark_used(app_id, handle, expected_line, used_at, expires_at)

    async def update_jwt_payload(
        self,
        app_id: str,
        handle: str,
        jwt_payload: str,
        now: int,
        expected: str | None = None,
        cause: Cause | None = None,
    ) -> bool:
        return self._store.update_jwt_payload(app_id, handle, jwt_payload, now, expected, cause)

    async def update_session_data(self, app_id: str, handle: str, session_data: str, now: int) -> bool:
        return self._store.update_session_data(app_id, handle, session_data, now)

    async def delete_sessions(self, app_id: str, handles: Sequence[str], cause: Cause) -> list[str]:
        return self._store.delete_sessions(app_id, handles, cause)

    async def delete_sessions_of_user(
        self, app_id: str, user_id: str, tenant_id: str | None, cause: Cause
    ) -> list[str]:
        return self._store.delete_sessions_of_user(app_id, user_id, tenant_id, cause)

    async def list_handles_of_user(self, app_id: str, user_id: str, tenant_id: str | None, now: int) -> list[str]:
        return self._store.list_handles_of_user(app_id, user_id, tenant_id, now)

    async def purge_sessions(self, app_id: str, now: int, limit: int) -> int:
        return self._store.purge_sessions(app_id, now, limit)

    async def list_sessions(self, app_id: str, after: str | None, limit: int) -> tuple[list[SessionRow], str | None]:
        return self._store.list_sessions(app_id, after, limit)

    async def put_sessions(self, rows: Sequence[SessionRow], now: int) -> None:
        self._store.put_sessions(rows, now)

    async def record_theft(self, event: TheftEvent, cause: Cause) -> bool:
        return self._store.record_theft(event, cause)

    async def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        return self._store.read_endings(app_id, after, limit)

    async def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        import asyncio  # noqa: PLC0415 - synchronous programs load no event loop

        loop, rung = asyncio.get_running_loop(), asyncio.Event()

        def ring() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(rung.set)

        hang_up = self._store.listen(app_id, after, ring)
        try:
            async with asyncio.timeout(seconds):
                await rung.wait()
        except TimeoutError:
            pass
        finally:
            hang_up()

    async def purge_endings(self, app_id: str, now: int) -> int:
        return self._store.purge_endings(app_id, now)

    async def load_thefts(self, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]:
        return self._store.load_thefts(app_id, user_id, limit)

    async def purge_thefts(self, app_id: str, detected_before: int) -> int:
        return self._store.purge_thefts(app_id, detected_before)

    async def load_keys(self, app_id: str) -> list[KeyRow]:
        return self._store.load_keys(app_id)

    async def insert_key(self, row: KeyRow) -> bool:
        return self._store.insert_key(row)

    async def purge_keys(self, app_id: str, created_before: int) -> int:
        return self._store.purge_keys(app_id, created_before)

    async def load_tenant(self, app_id: str, tenant_id: str) -> TenantRow | None:
        return self._store.load_tenant(app_id, tenant_id)

    async def list_tenants(self, app_id: str | None) -> list[TenantRow]:
        return self._store.list_tenants(app_id)

    async def insert_tenant(self, row: TenantRow) -> bool:
        return self._store.insert_tenant(row)

    async def swap_tenant(self, row: TenantRow, expected: bytes) -> bool:
        return self._store.swap_tenant(row, expected)

    async def delete_tenants(self, app_id: str, tenant_id: str | None) -> bool:
        return self._store.delete_tenants(app_id, tenant_id)

    async def open(self) -> None:
        self._store.open()

    async def close(self) -> None:
        self._store.close()


def _is_over(row: SessionRow, now: int) -> bool:
    return now >= min(row.expires_at, row.absolute_expires_at)
