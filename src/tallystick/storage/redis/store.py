"""The two stores. Each method is one step, driven on a client."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from logging import getLogger
from secrets import token_hex
from threading import Lock, Semaphore
from typing import Any, Final, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

from tallystick.errors import GeneralError
from tallystick.storage.redis import steps, tenants
from tallystick.storage.redis.client import (
    AT_ONCE,
    WAIT_SECONDS,
    WaitRule,
    check_url,
    is_cluster,
    list_clients,
    make_client,
    name_server,
    split_wait_rule,
)
from tallystick.storage.redis.confirming import run_confirmed, run_confirmed_async
from tallystick.storage.redis.steps import SCANNED_AT_ONCE, Ask, Batch, Scan, Script, Scripts, Step
from tallystick.types import Cause, EndingsPage, KeyRow, LineStep, SessionRow, TenantRow, TheftEvent

P = ParamSpec("P")
R = TypeVar("R")

_logger = getLogger("tallystick")


def _load_scripts() -> dict[str, tuple[str, str]]:
    folder = files("tallystick.storage.redis") / "scripts"
    texts = {file.name.removesuffix(".lua"): file.read_text("utf-8") for file in folder.iterdir()}
    return {name: (text, hashlib.sha1(text.encode("utf-8")).hexdigest()) for name, text in texts.items()}  # noqa: S324 - Redis names scripts so


_SCRIPTS: Final = _load_scripts()


class RedisStore:
    """Sessions in Redis, for synchronous code."""

    def __init__(self, url: str) -> None:
        self._url, self._rule = split_wait_rule(url)
        check_url(self._url)
        self._name = name_server(url)
        self._is_open = False
        self._client: Any = None
        self._making = Lock()
        self._turns = Semaphore(AT_ONCE)

    def insert_session(self, row: SessionRow) -> None:
        self._run(steps.insert_session(row))

    def insert_session_within(
        self, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
    ) -> list[str] | None:
        return self._run(steps.insert_session_within(row, limit, evicts, replaces, cause))

    def load_session(self, app_id: str, handle: str) -> SessionRow | None:
        return self._run(steps.load_session(app_id, handle))

    def load_sessions(self, app_id: str, handles: Sequence[str]) -> list[SessionRow]:
        return self._run(steps.load_sessions(app_id, handles))

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
        return self._run(steps.delete_sessions(app_id, handles, cause))

    def delete_sessions_of_user(self, app_id: str, user_id: str, tenant_id: str | None, cause: Cause) -> list[str]:
        return self._run(steps.delete_sessions_of_user(app_id, user_id, tenant_id, cause))

    def list_handles_of_user(self, app_id: str, user_id: str, tenant_id: str | None, now: int) -> list[str]:
        return self._run(steps.list_handles_of_user(app_id, user_id, tenant_id, now))

    def purge_sessions(self, app_id: str, now: int, limit: int) -> int:
        return self._run(steps.purge_sessions(app_id, now, limit))

    def list_sessions(self, app_id: str, after: str | None, limit: int) -> tuple[list[SessionRow], str | None]:
        return self._run(steps.list_sessions(app_id, after, limit))

    def put_sessions(self, rows: Sequence[SessionRow], now: int) -> None:
        self._run(steps.put_sessions(rows, now))

    def record_theft(self, event: TheftEvent, cause: Cause) -> bool:
        return self._run(steps.record_theft(event, cause))

    def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        return self._run(steps.read_endings(app_id, after, limit))

    def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        self._run(steps.wait_for_endings(app_id, after, seconds))

    def purge_endings(self, app_id: str, now: int) -> int:
        return self._run(steps.purge_endings(app_id, now))

    def load_thefts(self, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]:
        return self._run(steps.load_thefts(app_id, user_id, limit))

    def purge_thefts(self, app_id: str, detected_before: int) -> int:
        return self._run(steps.purge_thefts(app_id, detected_before))

    def load_keys(self, app_id: str) -> list[KeyRow]:
        return self._run(steps.load_keys(app_id))

    def insert_key(self, row: KeyRow) -> bool:
        return self._run(steps.insert_key(row))

    def purge_keys(self, app_id: str, created_before: int) -> int:
        return self._run(steps.purge_keys(app_id, created_before))

    def load_tenant(self, app_id: str, tenant_id: str) -> TenantRow | None:
        return self._run(tenants.load_tenant(app_id, tenant_id))

    def list_tenants(self, app_id: str | None) -> list[TenantRow]:
        return self._run(tenants.list_tenants(app_id))

    def insert_tenant(self, row: TenantRow) -> bool:
        return self._run(tenants.insert_tenant(row))

    def swap_tenant(self, row: TenantRow, expected: bytes) -> bool:
        return self._run(tenants.swap_tenant(row, expected))

    def delete_tenants(self, app_id: str, tenant_id: str | None) -> bool:
        return self._run(tenants.delete_tenants(app_id, tenant_id))

    def open(self) -> None:
        if not self._is_open:
            _report_settings(self._ask(_SETTINGS), self._name)
            self._is_open = True

    def close(self) -> None:
        self._is_open = False
        client, self._client = self._client, None
        for each in [] if client is None else list_clients(client):
            each.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name})"

    def _run(self, step: Step[R]) -> R:
        if not self._is_open:
            self.open()
        try:
            question = next(step)
            while True:
                question = step.send(self._ask(question))
        except StopIteration as end:
            result: R = end.value
            return result

    def _ask(self, question: Ask) -> Any:  # noqa: ANN401 - what Redis answers
        # Of redis-py's pools those for Sentinel and clusters let nobody wait: one too many is an error there.
        if not self._turns.acquire(timeout=WAIT_SECONDS):
            raise TimeoutError(f"{AT_ONCE} steps are under way, and none has ended for {WAIT_SECONDS} s")
        try:
            return self._put(question)
        finally:
            self._turns.release()

    def _put(self, question: Ask) -> Any:  # noqa: ANN401 - as above
        client = self._client or self._connect()
        if isinstance(question, Scripts):
            question = _as_batch(question)
        match question:
            case Script() | Batch() if self._rule is not None and question.needs_replicas:
                return self._ask_confirmed(client, question, self._rule)
            case Script():
                try:
                    return client.execute_command(*_by_digest(question))
                except _no_script():
                    return client.execute_command(*_by_text(question))
            case Batch(commands, keeps_errors=keeps_errors):
                if len(commands) < 2:
                    return [client.execute_command(*command) for command in commands]
                pipeline = client.pipeline(**_pipeline_options(client))
                for command in commands:
                    pipeline.execute_command(*command)
                return pipeline.execute(raise_on_error=not keeps_errors)
            case Scan(pattern, start):
                place = _Place.of(client, start)
                return place.after(client.scan(**place.arguments(pattern)))

    def _ask_confirmed(self, client: Any, question: Script | Batch, rule: WaitRule) -> Any:  # noqa: ANN401
        if isinstance(question, Batch):
            return run_confirmed(client, question.commands, rule)
        try:
            return run_confirmed(client, [_by_digest(question)], rule)[0]
        except _no_script():
            return run_confirmed(client, [_by_text(question)], rule)[0]

    def _connect(self) -> Any:  # noqa: ANN401
        with self._making:
            if self._client is None:
                self._client = make_client(self._url, is_async=False)
            return self._client


class AsyncRedisStore:
    """The same for asynchronous code. It serves any number of event loops, each with connections of its own."""

    def __init__(self, url: str) -> None:
        self._url, self._rule = split_wait_rule(url)
        check_url(self._url)
        self._name = name_server(url)
        self.batches: frozenset[str] = frozenset() if self._rule or is_cluster(self._url) else _BATCHED
        self._is_open = False
        self._clients = WeakKeyDictionary[asyncio.AbstractEventLoop, Any]()
        self._turns = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]()

    async def insert_session(self, row: SessionRow) -> None:
        await self._run(steps.insert_session(row))

    async def insert_session_within(
        self, row: SessionRow, limit: int, evicts: bool, replaces: str | None, cause: Cause
    ) -> list[str] | None:
        return await self._run(steps.insert_session_within(row, limit, evicts, replaces, cause))

    async def load_session(self, app_id: str, handle: str) -> SessionRow | None:
        return await self._run(steps.load_session(app_id, handle))

    async def load_sessions(self, app_id: str, handles: Sequence[str]) -> list[SessionRow]:
        return await self._run(steps.load_sessions(app_id, handles))

    async def advance_line(self, app_id: str, handle: str, expected_line: bytes, step: LineStep) -> bool:
        return await self._run(steps.advance_line(app_id, handle, expected_line, step))

    async def mark_used(self, app_id: str, handle: str, expected_line: bytes, used_at: int, expires_at: int) -> bool:
        return await self._run(steps.mark_used(app_id, handle, expected_line, used_at, expires_at))

    async def advance_lines(self, app_id: str, moves: Sequence[tuple[str, bytes, LineStep]]) -> set[str]:
        return await self._run(steps.advance_lines(app_id, moves))

    async def mark_all_used(self, app_id: str, marks: Sequence[tuple[str, bytes, int, int]]) -> set[str]:
        return await self._run(steps.mark_all_used(app_id, marks))

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
        return await self._run(steps.delete_sessions(app_id, handles, cause))

    async def delete_sessions_of_user(
        self, app_id: str, user_id: str, tenant_id: str | None, cause: Cause
    ) -> list[str]:
        return await self._run(steps.delete_sessions_of_user(app_id, user_id, tenant_id, cause))

    async def list_handles_of_user(self, app_id: str, user_id: str, tenant_id: str | None, now: int) -> list[str]:
        return await self._run(steps.list_handles_of_user(app_id, user_id, tenant_id, now))

    async def purge_sessions(self, app_id: str, now: int, limit: int) -> int:
        return await self._run(steps.purge_sessions(app_id, now, limit))

    async def list_sessions(self, app_id: str, after: str | None, limit: int) -> tuple[list[SessionRow], str | None]:
        return await self._run(steps.list_sessions(app_id, after, limit))

    async def put_sessions(self, rows: Sequence[SessionRow], now: int) -> None:
        await self._run(steps.put_sessions(rows, now))

    async def record_theft(self, event: TheftEvent, cause: Cause) -> bool:
        return await self._run(steps.record_theft(event, cause))

    async def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage:
        return await self._run(steps.read_endings(app_id, after, limit))

    async def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None:
        await self._run(steps.wait_for_endings(app_id, after, seconds))

    async def purge_endings(self, app_id: str, now: int) -> int:
        return await self._run(steps.purge_endings(app_id, now))

    async def load_thefts(self, app_id: str, user_id: str | None, limit: int) -> list[TheftEvent]:
        return await self._run(steps.load_thefts(app_id, user_id, limit))

    async def purge_thefts(self, app_id: str, detected_before: int) -> int:
        return await self._run(steps.purge_thefts(app_id, detected_before))

    async def load_keys(self, app_id: str) -> list[KeyRow]:
        return await self._run(steps.load_keys(app_id))

    async def insert_key(self, row: KeyRow) -> bool:
        return await self._run(steps.insert_key(row))

    async def purge_keys(self, app_id: str, created_before: int) -> int:
        return await self._run(steps.purge_keys(app_id, created_before))

    async def load_tenant(self, app_id: str, tenant_id: str) -> TenantRow | None:
        return await self._run(tenants.load_tenant(app_id, tenant_id))

    async def list_tenants(self, app_id: str | None) -> list[TenantRow]:
        return await self._run(tenants.list_tenants(app_id))

    async def insert_tenant(self, row: TenantRow) -> bool:
        return await self._run(tenants.insert_tenant(row))

    async def swap_tenant(self, row: TenantRow, expected: bytes) -> bool:
        return await self._run(tenants.swap_tenant(row, expected))

    async def delete_tenants(self, app_id: str, tenant_id: str | None) -> bool:
        return await self._run(tenants.delete_tenants(app_id, tenant_id))

    async def open(self) -> None:
        if not self._is_open:
            _report_settings(await self._ask(_SETTINGS), self._name)
            self._is_open = True

    async def close(self) -> None:
        self._is_open = False
        client = self._clients.pop(asyncio.get_running_loop(), None)
        for each in [] if client is None else list_clients(client):
            await each.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name})"

    @asynccontextmanager
    async def hold_lease(self, name: str) -> AsyncGenerator[bool]:
        """Tell whether the lock ``name`` of all that share the store is ours until the context ends, or until an hour
        is over. False: somebody else has it. Nobody waits."""
        holder = token_hex(16)
        if not await self._run(steps.take_lease(name, holder)):
            yield False
            return
        try:
            yield True
        finally:
            await self._run(steps.give_back_lease(name, holder))

    async def _run(self, step: Step[R]) -> R:
        if not self._is_open:
            await self.open()
        try:
            question = next(step)
            while True:
                question = step.send(await self._ask(question))
        except StopIteration as end:
            result: R = end.value
            return result

    async def _ask(self, question: Ask) -> Any:  # noqa: ANN401 - what Redis answers
        turns = self._turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE))
        async with asyncio.timeout(WAIT_SECONDS):
            await turns.acquire()
        try:
            return await self._put(question)
        finally:
            turns.release()

    async def _put(self, question: Ask) -> Any:  # noqa: ANN401 - as above
        client = self._connect()
        if isinstance(question, Scripts):
            question = _as_batch(question)
        match question:
            case Script() | Batch() if self._rule is not None and question.needs_replicas:
                return await self._ask_confirmed(client, question, self._rule)
            case Script():
                try:
                    return await client.execute_command(*_by_digest(question))
                except _no_script():
                    return await client.execute_command(*_by_text(question))
            case Batch(commands, keeps_errors=keeps_errors):
                if len(commands) < 2:
                    return [await client.execute_command(*command) for command in commands]
                pipeline = client.pipeline(**_pipeline_options(client))
                for command in commands:
                    pipeline.execute_command(*command)
                return await pipeline.execute(raise_on_error=not keeps_errors)
            case Scan(pattern, start):
                if hasattr(client, "initialize"):
                    await client.initialize()  # a cluster's nodes are known only then
                place = _Place.of(client, start)
                return place.after(await client.scan(**place.arguments(pattern)))

    async def _ask_confirmed(self, client: Any, question: Script | Batch, rule: WaitRule) -> Any:  # noqa: ANN401
        if isinstance(question, Batch):
            return await run_confirmed_async(client, question.commands, rule)
        try:
            return (await run_confirmed_async(client, [_by_digest(question)], rule))[0]
        except _no_script():
            return (await run_confirmed_async(client, [_by_text(question)], rule))[0]

    def _connect(self) -> Any:  # noqa: ANN401
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = make_client(self._url, is_async=True)
        return client


_BATCHED: Final = frozenset({"load_session", "advance_line", "mark_used"})
"""See :class:`~tallystick.storage.interface.AsyncBatchingStore`. Not in a cluster, where several would wait for the
slowest of its nodes, and not where replicas must confirm: what they do not is each caller's own to try again."""

_SETTINGS: Final = Batch([("INFO", "memory"), ("INFO", "persistence")])


def _report_settings(answers: list[Any], name: str) -> None:
    """Say what of the server's settings can cost sessions. A cluster answers by node; then one speaks for all."""
    memory, persistence = (_one_of(answer) for answer in answers)
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        _logger.warning("%s has maxmemory-policy %s: when memory runs out, people are signed out", name, policy)
    if not persistence.get("aof_enabled"):
        _logger.warning("%s has appendonly no: what it acknowledged last is lost when it is restarted", name)


def _one_of(answer: dict[str, Any]) -> dict[str, Any]:
    first: Any = next(iter(answer.values()), None)
    return cast(dict[str, Any], first) if isinstance(first, dict) else answer


def _by_digest(script: Script) -> tuple[object, ...]:
    return ("EVALSHA", _SCRIPTS[script.name][1], len(script.keys), *script.keys, *script.args)


def _by_text(script: Script) -> tuple[object, ...]:
    return ("EVAL", _SCRIPTS[script.name][0], len(script.keys), *script.keys, *script.args)


def _as_batch(question: Scripts) -> Batch:
    """By their texts: of several that are sent together, none could be sent again with its text."""
    return Batch([_by_text(script) for script in question.scripts], keeps_errors=question.keeps_errors)


def _no_script() -> type[Exception]:
    from redis.exceptions import NoScriptError  # noqa: PLC0415 - the driver, which is there by now

    return NoScriptError


def _is_cluster(client: Any) -> bool:  # noqa: ANN401
    return hasattr(client, "get_primaries")


def _pipeline_options(client: Any) -> dict[str, Any]:  # noqa: ANN401
    return {} if _is_cluster(client) else {"transaction": False}


class _Place:
    """How far a scan has come: in which of the nodes (a single server is one), and where in it."""

    def __init__(self, nodes: list[Any], node: int, cursor: int) -> None:
        self._nodes, self._node, self._cursor = nodes, node, cursor

    @classmethod
    def of(cls, client: Any, start: Any) -> _Place:  # noqa: ANN401
        nodes = sorted(client.get_primaries(), key=lambda node: node.name) if _is_cluster(client) else []
        node, cursor = start or (0, 0)
        if nodes and node >= len(nodes):
            raise GeneralError("the cluster has fewer nodes than when this place was given", reason="bad_place")
        return cls(nodes, node, cursor)

    def arguments(self, pattern: str) -> dict[str, Any]:
        of_node = {"target_nodes": self._nodes[self._node]} if self._nodes else {}
        return {"cursor": self._cursor, "match": pattern, "count": SCANNED_AT_ONCE, **of_node}

    def after(self, answer: tuple[Any, list[bytes]]) -> tuple[tuple[int, int] | None, list[bytes]]:
        cursor, keys = answer
        position: int = next(iter(cursor.values())) if self._nodes else cursor
        if position:
            return (self._node, position), keys
        return ((self._node + 1, 0) if self._node + 1 < len(self._nodes) else None), keys
