"""The two stores. Each method is one sequence of steps, driven on the old store and the new one."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from typing import Any, TypeVar, cast

from tallystick.calls import drive, drive_async
from tallystick.storage.interface import AsyncSessionStore, AsyncTenantStore, SessionStore, TenantStore
from tallystick.storage.moving import steps
from tallystick.storage.moving.steps import Ask, Step
from tallystick.storage.opening import AsyncEngine, Engine, open_async_store, open_store
from tallystick.types import Cause, EndingsPage, KeyRow, LineStep, SessionRow, TenantRow, TheftEvent

R = TypeVar("R")

_TENANTS, _APART = "tenants of all", "checked to be apart"
"""What is done once besides bringing apps' keys; none is an app's id."""


class MovingStore:
    """Sessions on their way from one store to another, for synchronous code: what Sessions makes of ``moving_from``.

    ``new`` and ``old`` are what Sessions takes: URLs, engines or stores. Every process has to use it: one that is left
    on the old store alone takes what was brought over for signed out.
    """

    def __init__(
        self, new: str | Engine | SessionStore, old: str | Engine | SessionStore, *, migrate: bool | None = None
    ) -> None:
        self._new, self._old = open_store(new, migrate=migrate), open_store(old)
        self._brought = set[str]()

    def insert_session(self, row: SessionRow) -> None:
        self._new.insert_session(row)

    def insert_session_within(
        self, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
    ) -> list[str] | None:
        return self._run(steps.insert_session_within(row, limit, evicts, replaces, cause))

    def load_session(self, app_id: str, handle: str) -> SessionRow | None:
        return self._run(steps.bring_session(app_id, handle))

    def load_sessions(self, app_id: str, handles: Sequence[str]) -> list[SessionRow]:
        return self._run(steps.bring_sessions(app_id, handles))

    def advance_line(self, app_id: str, handle: str, expected_line: bytes, step: LineStep) -> bool:
        return self._run(steps.advance_line(app_id, handle, expected_line, step))

    def mark_used(self, app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> bool:
        return self._run(steps.mark_used(app_id, handle, expected_line, used_at, expires_at))

    def update_jwt_payload(
        self,
        app_id: str,
        handle: str,
        jwt_payload: str,
        now: int,
        expected: str | None = None,
        cause: Cause | None = None,
    ) -> bool:
        return self._run(steps.update_jwt_payload(app_id, handle, jwt_payload, now, expected, cause))

    def update_session_data(self, app_id: str, handle: str, session_data: str, now: int) -> bool:
        return self._run(steps.update_session_data(app_id, handle, session_data, now))

    def delete_sessions(self, app_id: str, handles: Sequence[str], cause: Cause) -> list[str]:
        return self._run(steps.end_sessions(app_id, handles, cause))

    def delete_sessions_of_user(self, app_id: str, user_id: str, tenant_id: str | None, cause: Cause) -> list[str]:
        return self._run(steps.end_sessions_of_user(app_id, user_id, tenant_id, cause))

    def list_handles_of_user(self, app_id: str, user_id: str, tenant_id: str | None, now: int) -> list[str]:
        return self._run(steps.list_handles_of_user(app_id, user_id, tenant_id, now))

    def purge_sessions(self, app_id: str, now: int, limit: int) -> int:
        return self._run(steps.purge_sessions(app_id, now, limit))

    def carry_sessions(self, rows: Sequence[SessionRow]) -> None:
        """Bring these over, which are in the old store and of one app."""
        self._run(steps.carry_sessions(rows))

    def list_sessions(self, app_id: str, after: str | None, limit: int) -> tuple[list[SessionRow], str | None]:
        return self._run(steps.list_sessions(app_id, after, limit))

    def put_sessions(self, rows: Sequence[SessionRow], now: int) -> None:
        self._run(steps.put_sessions(rows, now))

    def record_theft(self, event: TheftEvent, cause: Cause) -> bool:
        return self._run(steps.record_theft(event, cause))

    def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        return self._new.read_endings(app_id, after, limit)

    def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        self._new.wait_for_endings(app_id, after, seconds)

    def purge_endings(self, app_id: str, now: int) -> int:
        return self._new.purge_endings(app_id, now)

    def load_thefts(self, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]:
        return self._run(steps.load_thefts(app_id, user_id, limit))

    def purge_thefts(self, app_id: str, detected_before: int) -> int:
        return self._run(steps.purge_thefts(app_id, detected_before))

    def load_keys(self, app_id: str) -> list[KeyRow]:
        self._bring_keys(app_id)
        return self._new.load_keys(app_id)

    def insert_key(self, row: KeyRow) -> bool:
        self._bring_keys(row.app_id)
        return self._new.insert_key(row)

    def purge_keys(self, app_id: str, created_before: int) -> int:
        self._bring_keys(app_id)
        return self._new.purge_keys(app_id, created_before)

    def load_tenant(self, app_id: str, tenant_id: str) -> TenantRow | None:
        return self._tenants().load_tenant(app_id, tenant_id)

    def list_tenants(self, app_id: str | None) -> list[TenantRow]:
        return self._tenants().list_tenants(app_id)

    def insert_tenant(self, row: TenantRow) -> bool:
        return self._tenants().insert_tenant(row)

    def swap_tenant(self, row: TenantRow, expected: bytes) -> bool:
        return self._tenants().swap_tenant(row, expected)

    def delete_tenants(self, app_id: str, tenant_id: str | None) -> bool:
        self._tenants()
        return self._run(steps.delete_tenants(app_id, tenant_id))

    def open(self) -> None:
        self._new.open()
        self._old.open()
        if hasattr(self._old, "list_tenants") and hasattr(self._new, "insert_tenant"):
            self._tenants()  # however many they are, before a core's time limits begin to count

    def close(self) -> None:
        self._new.close()
        self._old.close()

    def _bring_keys(self, app_id: str) -> None:
        """Once in a process: nobody makes keys in the old store any more."""
        if app_id not in self._brought:
            self._run(steps.bring_keys(app_id))
            self._brought.add(app_id)

    def _tenants(self) -> TenantStore:
        """The new store, with what the old one had."""
        if _TENANTS not in self._brought:
            self._run(steps.bring_tenants())
            self._brought.add(_TENANTS)
        return cast("TenantStore", self._new)

    def _run(self, step: Step[R]) -> R:
        if _APART not in self._brought:
            self._drive(steps.check_apart(token_hex(16)))
            self._brought.add(_APART)
        return self._drive(step)

    def _drive(self, step: Step[R]) -> R:
        return drive(step, lambda ask: getattr(self._new if ask.is_new else self._old, ask.method)(*ask.args))


class AsyncMovingStore:
    """The same for asynchronous code: see :class:`MovingStore`."""

    def __init__(
        self,
        new: str | AsyncEngine | AsyncSessionStore,
        old: str | AsyncEngine | AsyncSessionStore,
        *,
        migrate: bool | None = None,
    ) -> None:
        self._new, self._old = open_async_store(new, migrate=migrate), open_async_store(old)
        self._brought = set[str]()

    async def insert_session(self, row: SessionRow) -> None:
        await self._new.insert_session(row)

    async def insert_session_within(
        self, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
    ) -> list[str] | None:
        return await self._run(steps.insert_session_within(row, limit, evicts, replaces, cause))

    async def load_session(self, app_id: str, handle: str) -> SessionRow | None:
        return await self._run(steps.bring_session(app_id, handle))

    async def load_sessions(self, app_id: str, handles: Sequence[str]) -> list[SessionRow]:
        return await self._run(steps.bring_sessions(app_id, handles))

    async def advance_line(self, app_id: str, handle: str, expected_line: bytes, step: LineStep) -> bool:
        return await self._run(steps.advance_line(app_id, handle, expected_line, step))

    async def mark_used(self, app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> bool:
        return await self._run(steps.mark_used(app_id, handle, expected_line, used_at, expires_at))

    async def update_jwt_payload(
        self,
        app_id: str,
        handle: str,
        jwt_payload: str,
        now: int,
        expected: str | None = None,
        cause: Cause | None = None,
    ) -> bool:
        return await self._run(steps.update_jwt_payload(app_id, handle, jwt_payload, now, expected, cause))

    async def update_session_data(self, app_id: str, handle: str, session_data: str, now: int) -> bool:
        return await self._run(steps.update_session_data(app_id, handle, session_data, now))

    async def delete_sessions(self, app_id: str, handles: Sequence[str], cause: Cause) -> list[str]:
        return await self._run(steps.end_sessions(app_id, handles, cause))

    async def delete_sessions_of_user(
        self, app_id: str, user_id: str, tenant_id: str | None, cause: Cause
    ) -> list[str]:
        return await self._run(steps.end_sessions_of_user(app_id, user_id, tenant_id, cause))

    async def list_handles_of_user(self, app_id: str, user_id: str, tenant_id: str | None, now: int) -> list[str]:
        return await self._run(steps.list_handles_of_user(app_id, user_id, tenant_id, now))

    async def purge_sessions(self, app_id: str, now: int, limit: int) -> int:
        return await self._run(steps.purge_sessions(app_id, now, limit))

    async def carry_sessions(self, rows: Sequence[SessionRow]) -> None:
        """The same."""
        await self._run(steps.carry_sessions(rows))

    async def list_sessions(self, app_id: str, after: str | None, limit: int) -> tuple[list[SessionRow], str | None]:
        return await self._run(steps.list_sessions(app_id, after, limit))

    async def put_sessions(self, rows: Sequence[SessionRow], now: int) -> None:
        await self._run(steps.put_sessions(rows, now))

    async def record_theft(self, event: TheftEvent, cause: Cause) -> bool:
        return await self._run(steps.record_theft(event, cause))

    async def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        return await self._new.read_endings(app_id, after, limit)

    async def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        await self._new.wait_for_endings(app_id, after, seconds)

    async def purge_endings(self, app_id: str, now: int) -> int:
        return await self._new.purge_endings(app_id, now)

    async def load_thefts(self, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]:
        return await self._run(steps.load_thefts(app_id, user_id, limit))

    async def purge_thefts(self, app_id: str, detected_before: int) -> int:
        return await self._run(steps.purge_thefts(app_id, detected_before))

    async def load_keys(self, app_id: str) -> list[KeyRow]:
        await self._bring_keys(app_id)
        return await self._new.load_keys(app_id)

    async def insert_key(self, row: KeyRow) -> bool:
        await self._bring_keys(row.app_id)
        return await self._new.insert_key(row)

    async def purge_keys(self, app_id: str, created_before: int) -> int:
        await self._bring_keys(app_id)
        return await self._new.purge_keys(app_id, created_before)

    async def load_tenant(self, app_id: str, tenant_id: str) -> TenantRow | None:
        return await (await self._tenants()).load_tenant(app_id, tenant_id)

    async def list_tenants(self, app_id: str | None) -> list[TenantRow]:
        return await (await self._tenants()).list_tenants(app_id)

    async def insert_tenant(self, row: TenantRow) -> bool:
        return await (await self._tenants()).insert_tenant(row)

    async def swap_tenant(self, row: TenantRow, expected: bytes) -> bool:
        return await (await self._tenants()).swap_tenant(row, expected)

    async def delete_tenants(self, app_id: str, tenant_id: str | None) -> bool:
        await self._tenants()
        return await self._run(steps.delete_tenants(app_id, tenant_id))

    async def open(self) -> None:
        await self._new.open()
        await self._old.open()
        if hasattr(self._old, "list_tenants") and hasattr(self._new, "insert_tenant"):
            await self._tenants()

    async def close(self) -> None:
        await self._new.close()
        await self._old.close()

    async def _bring_keys(self, app_id: str) -> None:
        if app_id not in self._brought:
            await self._run(steps.bring_keys(app_id))
            self._brought.add(app_id)

    async def _tenants(self) -> AsyncTenantStore:
        if _TENANTS not in self._brought:
            await self._run(steps.bring_tenants())
            self._brought.add(_TENANTS)
        return cast("AsyncTenantStore", self._new)

    async def _run(self, step: Step[R]) -> R:
        if _APART not in self._brought:
            await self._drive(steps.check_apart(token_hex(16)))
            self._brought.add(_APART)
        return await self._drive(step)

    async def _drive(self, step: Step[R]) -> R:
        async def answer(ask: Ask) -> Any:  # noqa: ANN401 - a store's answer, as its method has it
            return await getattr(self._new if ask.is_new else self._old, ask.method)(*ask.args)

        return await drive_async(step, answer)
