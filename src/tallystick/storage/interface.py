"""The contract of a store: twenty-two atomic steps, besides opening and closing it and waiting.

A method is one step that happens whole or not at all, also when the process dies in the middle and whatever other
processes do meanwhile. A store holds no clock, mints nothing and judges nothing: instants are arguments (ms since the
epoch), and what must be true of the row at that moment is part of the step (compare-and-swap). Absence is a value. A
store that cannot do its work raises whatever its driver raises; the flows turn that into
:class:`~tallystick.GeneralError`.

Rows of one ``app_id`` are invisible to any other.

Processes that verify without asking the store follow a log of endings, which the steps that end sessions write: a
session that was there, and is not any more, is in it, and it is in it before the step returns. Only what is over by
itself goes without a word (:meth:`SessionStore.purge_sessions`), as its access tokens are over too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tallystick.types import (
    Cause,
    CoreAnswer,
    CoreRequest,
    EndingsPage,
    KeyRow,
    LineStep,
    SessionRow,
    TenantRow,
    TheftEvent,
)


class SessionStore(Protocol):
    """A store for synchronous code. It is used by many threads at once."""

    def insert_session(self, row: SessionRow) -> None:
        """Keep a new session. Its handle is new: a second row with the same is an error."""
        ...

    def insert_session_within(
        self, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
    ) -> list[str] | None:
        """Keep a new session, so that its user has at most ``limit`` (1 or more) that are alive when it
        happens, in all tenants together.

        With ``evicts``, the oldest are deleted to make room. Without, and where there is no room, nothing is done, and
        the answer is None. The session ``replaces``, whoever's it is, is deleted too and takes no room. The answer is
        the handles that were deleted, in any order, each with its ending. Of many at once each sees what the ones
        before it did.
        """
        ...

    def load_session(self, app_id: str, handle: str) -> SessionRow | None:
        """The session as it is, expired or not; None if there is none."""
        ...

    def load_sessions(self, app_id: str, handles: Sequence[str]) -> list[SessionRow]:
        """Those of these sessions that there are, as they are, in any order; each as it is at some moment."""
        ...

    def advance_line(self, app_id: str, handle: str, expected_line: bytes, step: LineStep) -> bool:
        """Write ``step`` if the line still is ``expected_line``; tell whether it was. Of many at once, one wins."""
        ...

    def mark_used(self, app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> bool:
        """Set ``used_at`` and ``expires_at`` if the line still is ``expected_line`` and ``used_at`` was never set for
        it; tell whether that was so."""
        ...

    def update_jwt_payload(
        self,
        app_id: str,
        handle: str,
        jwt_payload: str,
        now: int,
        expected: str | None = None,
        cause: Cause | None = None,
    ) -> bool:
        """Replace the payload (JSON text) of a session that is alive at ``now`` and, with ``expected``, whose payload
        is that very text; tell whether there was one. With a ``cause``, the change is in the log of endings."""
        ...

    def update_session_data(self, app_id: str, handle: str, session_data: str, now: int) -> bool:
        """Replace the data (JSON text) of a session that is alive at ``now``; tell whether there was one."""
        ...

    def delete_sessions(self, app_id: str, handles: Sequence[str], cause: Cause) -> list[str]:
        """Delete these, expired or not, each with its ending. The handles that were there, in any order; each once,
        also if many delete the same at once."""
        ...

    def delete_sessions_of_user(self, app_id: str, user_id: str, tenant_id: str | None, cause: Cause) -> list[str]:
        """Delete all sessions of a user, in one tenant or (None) in all, each with its ending. The handles, in any
        order."""
        ...

    def list_handles_of_user(self, app_id: str, user_id: str, tenant_id: str | None, now: int) -> list[str]:
        """The handles of a user's sessions that are alive at ``now``, oldest first."""
        ...

    def purge_sessions(self, app_id: str, now: int, limit: int) -> int:
        """Delete at most ``limit`` sessions that are over at ``now``, without endings; how many there were."""
        ...

    def list_sessions(self, app_id: str, after: str | None, limit: int) -> tuple[list[SessionRow], str | None]:
        """A page of all sessions, expired or not: about ``limit`` of them, from where ``after`` left off (None: from
        the beginning), and what to give as ``after`` next time, None where that was all.

        What is there from the first page to the last is listed, whatever happens to other sessions meanwhile; it may
        be listed twice. A page may be empty and not the last. ``after`` is the store's own, and good while it runs.
        """
        ...

    def put_sessions(self, rows: Sequence[SessionRow], now: int) -> None:
        """Keep these sessions as they are, each in the place of one of its handle, if there is one. All are of one
        app. Each is replaced whole or not at all; that none is over at ``now`` is the caller's care."""
        ...

    def record_theft(self, event: TheftEvent, cause: Cause) -> bool:
        """Delete the event's session, with its ending, and keep the event, all or nothing; tell whether the session was
        there. Where it was not, nothing is kept: of many who find one theft at once, one records it."""
        ...

    def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        """At most ``limit`` endings, in about the order in which they happened, from where the page before left off
        (None: from the beginning, and also where that place is none any more, as after a failover).

        Of all endings that were written before the first page after a last one was asked for, none is missing when the
        next last one has come, whatever transactions were open meanwhile. One may come twice.
        """
        ...

    def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        """Return when there may be more after this place, at the latest in so many seconds. A store that is told of
        nothing by its server just waits: that is polling, and each look at a log is cheap."""
        ...

    def purge_endings(self, app_id: str, now: int) -> int:
        """Delete the endings that nobody needs at ``now``; how many there were."""
        ...

    def load_thefts(self, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]:
        """At most ``limit`` events, newest first: a user's, or (None) all."""
        ...

    def purge_thefts(self, app_id: str, detected_before: int) -> int:
        """Delete the events from before an instant; how many there were."""
        ...

    def load_keys(self, app_id: str) -> list[KeyRow]:
        """All signing keys, newest first."""
        ...

    def insert_key(self, row: KeyRow) -> bool:
        """Keep a new signing key, unless the app has one of this sequence already; tell whether it was kept."""
        ...

    def purge_keys(self, app_id: str, created_before: int) -> int:
        """Delete the signing keys created before an instant, but never the newest; how many there were."""
        ...

    def open(self) -> None:
        """Connect, and make sure that the schema is the one this version needs. Called again, it does nothing."""
        ...

    def close(self) -> None:
        """Let go of all connections. Called again, it does nothing."""
        ...


class AsyncSessionStore(Protocol):
    """The same contract for asynchronous code: see :class:`SessionStore` for what each method promises."""

    async def insert_session(self, row: SessionRow) -> None: ...

    async def insert_session_within(
        self, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
    ) -> list[str] | None: ...

    async def load_session(self, app_id: str, handle: str) -> SessionRow | None: ...

    async def load_sessions(self, app_id: str, handles: Sequence[str]) -> list[SessionRow]: ...

    async def advance_line(self, app_id: str, handle: str, expected_line: bytes, step: LineStep) -> bool: ...

    async def mark_used(
        self, app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int
    ) -> bool: ...

    async def update_jwt_payload(
        self,
        app_id: str,
        handle: str,
        jwt_payload: str,
        now: int,
        expected: str | None = None,
        cause: Cause | None = None,
    ) -> bool: ...

    async def update_session_data(self, app_id: str, handle: str, session_data: str, now: int) -> bool: ...

    async def delete_sessions(self, app_id: str, handles: Sequence[str], cause: Cause) -> list[str]: ...

    async def delete_sessions_of_user(
        self, app_id: str, user_id: str, tenant_id: str | None, cause: Cause
    ) -> list[str]: ...

    async def list_handles_of_user(self, app_id: str, user_id: str, tenant_id: str | None, now: int) -> list[str]: ...

    async def purge_sessions(self, app_id: str, now: int, limit: int) -> int: ...

    async def list_sessions(
        self, app_id: str, after: str | None, limit: int
    ) -> tuple[list[SessionRow], str | None]: ...

    async def put_sessions(self, rows: Sequence[SessionRow], now: int) -> None: ...

    async def record_theft(self, event: TheftEvent, cause: Cause) -> bool: ...

    async def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage: ...

    async def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None: ...

    async def purge_endings(self, app_id: str, now: int) -> int: ...

    async def load_thefts(self, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]: ...

    async def purge_thefts(self, app_id: str, detected_before: int) -> int: ...

    async def load_keys(self, app_id: str) -> list[KeyRow]: ...

    async def insert_key(self, row: KeyRow) -> bool: ...

    async def purge_keys(self, app_id: str, created_before: int) -> int: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class AsyncBatchingStore(AsyncSessionStore, Protocol):
    """One that takes the steps of several callers at little more than the price of one. No store need."""

    batches: frozenset[str]
    """The names of the steps for which that is so: of ``load_session`` (by ``load_sessions``), ``advance_line`` and
    ``mark_used``."""

    async def advance_lines(self, app_id: str, moves: Sequence[tuple[str, bytes, LineStep]]) -> set[str]:
        """Do ``advance_line`` for these, each a handle, its expected line and a step; no handle is there twice. The
        handles of those that went through. Of the others nothing is said but that nothing was done: it waits for no
        session that somebody else is at. Where it raises, nothing was done at all, unless the store did not answer."""
        ...

    async def mark_all_used(self, app_id: str, marks: Sequence[tuple[str, bytes, int, int]]) -> set[str]:
        """The same for ``mark_used``: each a handle, its expected line, ``used_at`` and ``expires_at``."""
        ...


class Core(Protocol):
    """A core that runs elsewhere, for synchronous code: instead of a store, as it keeps the sessions and judges by
    itself. Its one step is to have a request answered; which of several hosts does so is its own affair. It is used by
    many threads at once."""

    def send(self, request: CoreRequest) -> CoreAnswer:
        """The core's answer, whatever it is. Raises :class:`~tallystick.GeneralError` (``store_failed``) where none
        comes in good time; a request that may not be repeated is then either carried out or not."""
        ...

    def send_shared(self, request: CoreRequest) -> CoreAnswer:
        """The same, but whoever asks for the same while it is on its way gets the same answer."""
        ...

    def open(self) -> None: ...

    def close(self) -> None: ...


class AsyncCore(Protocol):
    """The same for asynchronous code."""

    async def send(self, request: CoreRequest) -> CoreAnswer: ...

    async def send_shared(self, request: CoreRequest) -> CoreAnswer: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class TenantStore(Protocol):
    """Where a core service keeps its apps and tenants: five more steps, which a store need not have for anything else.
    The same is true of them: each happens whole or not at all."""

    def load_tenant(self, app_id: str, tenant_id: str) -> TenantRow | None:
        """A tenant, or None."""
        ...

    def list_tenants(self, app_id: str | None) -> list[TenantRow]:
        """All tenants of an app, or (None) of all apps, in the order of app and tenant."""
        ...

    def insert_tenant(self, row: TenantRow) -> bool:
        """Keep a new tenant, unless there is one already; tell whether it was kept."""
        ...

    def swap_tenant(self, row: TenantRow, expected: bytes) -> bool:
        """Replace what is sealed, if that still is ``expected``; tell whether it was."""
        ...

    def delete_tenants(self, app_id: str, tenant_id: str | None) -> bool:
        """Delete a tenant, or (None) an app: all of its tenants and its signing keys; tell whether there was one.
        Sessions are not touched."""
        ...


class AsyncTenantStore(Protocol):
    """The same for asynchronous code: see :class:`TenantStore`."""

    async def load_tenant(self, app_id: str, tenant_id: str) -> TenantRow | None: ...

    async def list_tenants(self, app_id: str | None) -> list[TenantRow]: ...

    async def insert_tenant(self, row: TenantRow) -> bool: ...

    async def swap_tenant(self, row: TenantRow, expected: bytes) -> bool: ...

    async def delete_tenants(self, app_id: str, tenant_id: str | None) -> bool: ...
