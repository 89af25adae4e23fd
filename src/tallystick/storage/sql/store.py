"""The two stores. Each method is one step of :mod:`statements`, run on a connection of the engine's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from threading import Lock
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool
from sqlalchemy.util import greenlet_spawn

from tallystick.storage.sql import endings, several, statements, tenants
from tallystick.storage.sql.bell import AsyncBell, Bell
from tallystick.storage.sql.direct import Lent, lend
from tallystick.storage.sql.engine import AT_ONCE, WAIT_SECONDS, is_loop_bound
from tallystick.storage.sql.lease import hold_lease
from tallystick.storage.sql.retries import Retries
from tallystick.storage.sql.revision import ensure_schema, load_revision
from tallystick.types import Cause, EndingsPage, KeyRow, LineStep, SessionRow, TenantRow, TheftEvent

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

C = TypeVar("C", bound=Connection | Lent)
P = ParamSpec("P")
R = TypeVar("R")
Connect = Callable[[Engine], AbstractContextManager[C]]


class SqlStore:
    """Sessions in an SQL database, for synchronous code.

    ``owned`` says whether :meth:`close` lets go of the engine's connections: not where the app made the engine.
    ``migrate``: see :func:`~tallystick.storage.sql.revision.ensure_schema`.
    """

    def __init__(self, engine: Engine, *, owned: bool, migrate: bool | None = None) -> None:
        self._engine = engine
        self._is_owned = owned
        self._migrate = migrate
        self._is_open = False
        self._opening = Lock()
        self._bell = Bell(engine)

    def insert_session(self, row: SessionRow) -> None:
        self._run_direct(statements.insert_session, row)

    def insert_session_within(
        self, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
    ) -> list[str] | None:
        return self._run(statements.insert_session_within, row, limit, evicts, replaces, cause)

    def load_session(self, app_id: str, handle: str) -> SessionRow | None:
        return self._run_direct(statements.load_session, app_id, handle)

    def load_sessions(self, app_id: str, handles: Sequence[str]) -> list[SessionRow]:
        return self._run(several.load_sessions, app_id, handles)

    def advance_line(self, app_id: str, handle: str, expected_line: bytes, step: LineStep) -> bool:
        return self._run_direct(statements.advance_line, app_id, handle, expected_line, step)

    def mark_used(self, app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> bool:
        return self._run_direct(statements.mark_used, app_id, handle, expected_line, used_at, expires_at)

    def update_jwt_payload(
        self,
        app_id: str,
        handle: str,
        jwt_payload: str,
        now: int,
        expected: str | None = None,
        cause: Cause | None = None,
    ) -> bool:
        return self._run(statements.update_jwt_payload, app_id, handle, jwt_payload, now, expected, cause)

    def update_session_data(self, app_id: str, handle: str, session_data: str, now: int) -> bool:
        return self._run(statements.update_session_data, app_id, handle, session_data, now)

    def delete_sessions(self, app_id: str, handles: Sequence[str], cause: Cause) -> list[str]:
        return self._run(statements.delete_sessions, app_id, handles, cause)

    def delete_sessions_of_user(self, app_id: str, user_id: str, tenant_id: str | None, cause: Cause) -> list[str]:
        return self._run(statements.delete_sessions_of_user, app_id, user_id, tenant_id, cause)

    def list_handles_of_user(self, app_id: str, user_id: str, tenant_id: str | None, now: int) -> list[str]:
        return self._run_direct(statements.list_handles_of_user, app_id, user_id, tenant_id, now)

    def purge_sessions(self, app_id: str, now: int, limit: int) -> int:
        return self._run(statements.purge_sessions, app_id, now, limit)

    def list_sessions(self, app_id: str, after: str | None, limit: int) -> tuple[list[SessionRow], str | None]:
        return self._run(statements.list_sessions, app_id, after, limit)

    def put_sessions(self, rows: Sequence[SessionRow], now: int) -> None:
        self._run(statements.put_sessions, rows, now)

    def record_theft(self, event: TheftEvent, cause: Cause) -> bool:
        return self._run(statements.record_theft, event, cause)

    def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        return self._run(endings.read_endings, app_id, after, limit)

    def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        self._bell.wait(seconds)

    def purge_endings(self, app_id: str, now: int) -> int:
        return self._run(endings.purge_endings, app_id, now)

    def load_thefts(self, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]:
        return self._run(statements.load_thefts, app_id, user_id, limit)

    def purge_thefts(self, app_id: str, detected_before: int) -> int:
        return self._run(statements.purge_thefts, app_id, detected_before)

    def load_keys(self, app_id: str) -> list[KeyRow]:
        return self._run(statements.load_keys, app_id)

    def insert_key(self, row: KeyRow) -> bool:
        return self._run(statements.insert_key, row)

    def purge_keys(self, app_id: str, created_before: int) -> int:
        return self._run(statements.purge_keys, app_id, created_before)

    def load_tenant(self, app_id: str, tenant_id: str) -> TenantRow | None:
        return self._run(tenants.load_tenant, app_id, tenant_id)

    def list_tenants(self, app_id: str | None) -> list[TenantRow]:
        return self._run(tenants.list_tenants, app_id)

    def insert_tenant(self, row: TenantRow) -> bool:
        return self._run(tenants.insert_tenant, row)

    def swap_tenant(self, row: TenantRow, expected: bytes) -> bool:
        return self._run(tenants.swap_tenant, row, expected)

    def delete_tenants(self, app_id: str, tenant_id: str | None) -> bool:
        return self._run(tenants.delete_tenants, app_id, tenant_id)

    def open(self) -> None:
        with self._opening:
            if not self._is_open:
                with self._engine.connect() as connection:
                    ensure_schema(connection, self._migrate)
                self._is_open = True

    def close(self) -> None:
        self._is_open = False
        self._bell.close()
        if self._is_owned:
            self._engine.dispose()

    def load_revision(self) -> str | None:
        """The schema that the database has, see :mod:`tallystick.storage.sql.revision`. Opens nothing."""
        with self._engine.connect() as connection:
            return load_revision(connection)

    def render_upgrade(self) -> str:
        """The SQL that would bring the schema up to date; empty if it is. Opens nothing."""
        from tallystick.storage.sql.migrations import render_upgrade  # noqa: PLC0415 - Alembic

        with self._engine.connect() as connection:
            return render_upgrade(connection)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._engine.url.get_backend_name()})"

    def _run(self, statement: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        return self._try(Engine.connect, statement, *args, **kwargs)

    def _run_direct(
        self, statement: Callable[Concatenate[Connection | Lent, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return self._try(lend, statement, *args, **kwargs)

    def _try(
        self, connect: Connect[C], statement: Callable[Concatenate[C, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        if not self._is_open:
            self.open()
        retries: Retries | None = None
        while True:
            try:
                with connect(self._engine) as connection:
                    return statement(connection, *args, **kwargs)
            except DBAPIError as error:
                retries = retries or Retries()
                time.sleep(retries.pause_after(error))


class AsyncSqlStore:
    """The same for asynchronous code. It serves any number of event loops one after another, as tests have them.

    A statement that was begun is finished, also if whoever asked for it has been cancelled: to break off in the middle
    would cost the connection, and with it a whole database in memory. ``is_guarded`` says that all who ask see to that
    themselves, and to it that no more than ``at_once`` ask at a time: then no step needs a task and a turn of its own.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        owned: bool,
        migrate: bool | None = None,
        at_once: int = AT_ONCE,
        is_guarded: bool = False,
    ) -> None:
        self._engine = engine
        self._is_owned = owned
        self._is_loop_bound = owned and is_loop_bound(engine)
        self._migrate = migrate
        self._is_open = False
        self._bell = AsyncBell(engine)
        # A database in memory is one connection. Were two to ask it at once, its lock would belong to the event loop in
        # which they did, and break in the next.
        self._at_once = 1 if isinstance(engine.pool, StaticPool) else at_once
        self.batches = several.BATCHED.get((engine.dialect.name, engine.dialect.driver), frozenset())
        self._is_guarded = is_guarded and self._at_once == at_once
        self._turns = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]()
        self._closers = WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[None]]()
        self._running = set[asyncio.Task[object]]()

    async def insert_session(self, row: SessionRow) -> None:
        await self._run_direct(statements.insert_session, row)

    async def insert_session_within(
        self, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
    ) -> list[str] | None:
        return await self._run(statements.insert_session_within, row, limit, evicts, replaces, cause)

    async def load_session(self, app_id: str, handle: str) -> SessionRow | None:
        return await self._run_direct(statements.load_session, app_id, handle)

    async def load_sessions(self, app_id: str, handles: Sequence[str]) -> list[SessionRow]:
        run = self._run_direct if "load_session" in self.batches else self._run
        return await run(several.load_sessions, app_id, handles)

    async def advance_line(self, app_id: str, handle: str, expected_line: bytes, step: LineStep) -> bool:
        return await self._run_direct(statements.advance_line, app_id, handle, expected_line, step)

    async def advance_lines(self, app_id: str, moves: Sequence[tuple[str, bytes, LineStep]]) -> set[str]:
        return await self._run_direct(several.advance_lines, app_id, moves)

    async def mark_used(self, app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> bool:
        return await self._run_direct(statements.mark_used, app_id, handle, expected_line, used_at, expires_at)

    async def mark_all_used(self, app_id: str, marks: Sequence[tuple[str, bytes, int, int]]) -> set[str]:
        return await self._run_direct(several.mark_all_used, app_id, marks)

    async def update_jwt_payload(
        self,
        app_id: str,
        handle: str,
        jwt_payload: str,
        now: int,
        expected: str | None = None,
        cause: Cause | None = None,
    ) -> bool:
        return await self._run(statements.update_jwt_payload, app_id, handle, jwt_payload, now, expected, cause)

    async def update_session_data(self, app_id: str, handle: str, session_data: str, now: int) -> bool:
        return await self._run(statements.update_session_data, app_id, handle, session_data, now)

    async def delete_sessions(self, app_id: str, handles: Sequence[str], cause: Cause) -> list[str]:
        return await self._run(statements.delete_sessions, app_id, handles, cause)

    async def delete_sessions_of_user(
        self, app_id: str, user_id: str, tenant_id: str | None, cause: Cause
    ) -> list[str]:
        return await self._run(statements.delete_sessions_of_user, app_id, user_id, tenant_id, cause)

    async def list_handles_of_user(self, app_id: str, user_id: str, tenant_id: str | None, now: int) -> list[str]:
        return await self._run_direct(statements.list_handles_of_user, app_id, user_id, tenant_id, now)

    async def purge_sessions(self, app_id: str, now: int, limit: int) -> int:
        return await self._run(statements.purge_sessions, app_id, now, limit)

    async def list_sessions(self, app_id: str, after: str | None, limit: int) -> tuple[list[SessionRow], str | None]:
        return await self._run(statements.list_sessions, app_id, after, limit)

    async def put_sessions(self, rows: Sequence[SessionRow], now: int) -> None:
        await self._run(statements.put_sessions, rows, now)

    async def record_theft(self, event: TheftEvent, cause: Cause) -> bool:
        return await self._run(statements.record_theft, event, cause)

    async def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        return await self._run(endings.read_endings, app_id, after, limit)

    async def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        await self._bell.wait(seconds)

    async def purge_endings(self, app_id: str, now: int) -> int:
        return await self._run(endings.purge_endings, app_id, now)

    async def load_thefts(self, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]:
        return await self._run(statements.load_thefts, app_id, user_id, limit)

    async def purge_thefts(self, app_id: str, detected_before: int) -> int:
        return await self._run(statements.purge_thefts, app_id, detected_before)

    async def load_keys(self, app_id: str) -> list[KeyRow]:
        return await self._run(statements.load_keys, app_id)

    async def insert_key(self, row: KeyRow) -> bool:
        return await self._run(statements.insert_key, row)

    async def purge_keys(self, app_id: str, created_before: int) -> int:
        return await self._run(statements.purge_keys, app_id, created_before)

    async def load_tenant(self, app_id: str, tenant_id: str) -> TenantRow | None:
        return await self._run(tenants.load_tenant, app_id, tenant_id)

    async def list_tenants(self, app_id: str | None) -> list[TenantRow]:
        return await self._run(tenants.list_tenants, app_id)

    async def insert_tenant(self, row: TenantRow) -> bool:
        return await self._run(tenants.insert_tenant, row)

    async def swap_tenant(self, row: TenantRow, expected: bytes) -> bool:
        return await self._run(tenants.swap_tenant, row, expected)

    async def delete_tenants(self, app_id: str, tenant_id: str | None) -> bool:
        return await self._run(tenants.delete_tenants, app_id, tenant_id)

    async def open(self) -> None:
        if not self._is_open:  # two at once do no harm: a migration looks again when it has the lock
            await self._finish(Engine.connect, ensure_schema, self._migrate)
            self._is_open = True

    async def close(self) -> None:
        self._is_open = False
        await self._bell.close()
        if self._is_owned:
            await self._engine.dispose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._engine.url.get_backend_name()})"

    def hold_lease(self, name: str) -> AbstractAsyncContextManager[bool]:
        """A lock of all that share the database, see :mod:`tallystick.storage.sql.lease`."""
        return hold_lease(self._engine, name)

    async def _begin_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop not in self._closers:
            # What a loop that was cut off has left in the pool is of no use to anyone.
            self._engine.sync_engine.dispose(close=False)
            self._closers[loop] = self._close_with_loop()
            await anext(self._closers[loop])

    async def _close_with_loop(self) -> AsyncGenerator[None]:
        """An event loop that ends closes its asynchronous generators first: the last moment in which connections that
        belong to it can be closed."""
        try:
            yield
        finally:
            await self._engine.dispose()

    async def _run(self, statement: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._do(Engine.connect, statement, *args, **kwargs)

    async def _run_direct(
        self, statement: Callable[Concatenate[Connection | Lent, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return await self._do(lend, statement, *args, **kwargs)

    async def _do(
        self, connect: Connect[C], statement: Callable[Concatenate[C, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        if not self._is_open:
            await self.open()
        if self._is_guarded:
            return await self._try(connect, statement, *args, **kwargs)
        return await self._finish(connect, statement, *args, **kwargs)

    async def _finish(
        self, connect: Connect[C], statement: Callable[Concatenate[C, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        task = asyncio.create_task(self._step(connect, statement, *args, **kwargs))
        self._running.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen: where the caller has gone, asyncio would report it as never retrieved

    async def _step(
        self, connect: Connect[C], statement: Callable[Concatenate[C, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        loop = asyncio.get_running_loop()
        turns = self._turns.get(loop)
        if turns is None:
            turns = self._turns[loop] = asyncio.Semaphore(self._at_once)
        if turns.locked():
            async with asyncio.timeout(WAIT_SECONDS):
                await turns.acquire()
        else:
            await turns.acquire()
        try:
            return await self._try(connect, statement, *args, **kwargs)
        finally:
            turns.release()

    async def _try(
        self, connect: Connect[C], statement: Callable[Concatenate[C, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        def step() -> R:
            # What an AsyncConnection does, in one greenlet instead of three and without a task of its own for closing:
            # measured, a quarter of a statement's processor time.
            with connect(self._engine.sync_engine) as connection:
                return statement(connection, *args, **kwargs)

        if self._is_loop_bound:
            await self._begin_loop(asyncio.get_running_loop())
        retries: Retries | None = None
        while True:
            try:
                return await greenlet_spawn(step)
            except DBAPIError as error:
                retries = retries or Retries()
                await asyncio.sleep(retries.pause_after(error))
