"""Calls that come at once, put to the store as one.

A statement costs the worker, the database and the way between them nearly the same for sixteen sessions as for one. So
while ``IN_FLIGHT`` statements of a kind are under way, further calls wait, and go together as soon as one of those is
back. Who comes alone waits for nothing; the more come, the less each costs.

Nothing else is different for the callers. Each gets an answer of its own. Where there is none, it is as if each had
asked alone: all have the error of a store that does not answer, and what the store does not take is the error of the
one who has it. A call never joins a statement that has begun, so it sees whatever was done before it. Of those who
would move one session, one is in a statement, as two could both seem to win. And what takes long holds up no one but
those in the same statement: after ``MAX_DELAY`` the next is sent in any case. Apps do not wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from tallystick.errors import GeneralError
from tallystick.service.guard import is_unreachable
from tallystick.storage.interface import AsyncBatchingStore, AsyncSessionStore
from tallystick.types import SessionRow

IN_FLIGHT: Final = 2
"""So many statements of a kind, for one app, may be under way before calls wait for each other. With one, the worker
would have nothing to do while it waits; more make the batches smaller."""

MAX_DELAY: Final = 0.05
"""In seconds: so long the first ``BATCH_SIZE`` of those who wait do so at most."""

BATCH_SIZE: Final = 64
"""How many a statement takes. More would spare little, and hold up more."""

A = TypeVar("A")
Question: TypeAlias = tuple[Any, ...]
"""A method's arguments behind the app's id, of which the first is a session's handle."""
Alone: TypeAlias = Callable[..., Coroutine[Any, Any, A]]
Together: TypeAlias = Callable[[str, Sequence[Question]], Coroutine[Any, Any, Mapping[int, A]]]
"""The answers by their places; what has none there is asked alone."""


def batch_calls(store: AsyncSessionStore) -> AsyncSessionStore:
    """The same store, with what it can batch batched. It is guarded, and used in one event loop."""
    kinds: frozenset[str] = getattr(store, "batches", frozenset())
    return cast("AsyncSessionStore", _Batching(cast("AsyncBatchingStore", store), kinds)) if kinds else store


class _Batchers(Generic[A]):
    """All calls of one method. ``is_exclusive``: no session may be twice in one statement."""

    def __init__(self, alone: Alone[A], together: Together[A], *, is_exclusive: bool) -> None:
        self._alone = alone
        self._together = together
        self._is_exclusive = is_exclusive
        self._of_app: dict[str, _Batcher[A]] = {}  # there are as many as apps that were asked for and exist

    async def ask(self, app_id: str, *question: Any) -> A:  # noqa: ANN401 - as the method has it
        """The answer, or what the store raises."""
        batcher = self._of_app.get(app_id)
        if batcher is None:
            alone, together = partial(self._alone, app_id), partial(self._together, app_id)
            batcher = self._of_app[app_id] = _Batcher(alone, together, self._is_exclusive)
        return await batcher.ask(question)


class _Batcher(Generic[A]):
    """Those of one app."""

    def __init__(
        self,
        alone: Alone[A],
        together: Callable[[Sequence[Question]], Coroutine[Any, Any, Mapping[int, A]]],
        is_exclusive: bool,
    ) -> None:
        self._alone = alone
        self._together = together
        self._is_exclusive = is_exclusive
        self._in_flight = 0
        self._waiting: list[tuple[Question, asyncio.Future[A]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()  # the loop itself holds tasks only weakly

    async def ask(self, question: Question) -> A:
        if self._in_flight < IN_FLIGHT and not self._waiting:
            self._in_flight += 1
            try:
                return await self._alone(*question)
            finally:
                self._receive()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, answer))
        if self._timer is None:
            self._timer = loop.call_later(MAX_DELAY, self._send_late)
        return await answer

    def _receive(self) -> None:
        self._in_flight -= 1
        if self._waiting and self._in_flight < IN_FLIGHT:
            self._send_next()

    def _send_late(self) -> None:
        self._send_next(is_late=True)

    def _send_next(self, *, is_late: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = self._choose(is_late)
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(MAX_DELAY, self._send_late)
        if batch:
            self._in_flight += 1
            self._spawn(self._send(batch))

    def _choose(self, is_late: bool) -> list[tuple[Question, asyncio.Future[A]]]:
        """Those who go together; the others go on waiting, in their order. But who would move the same session as one
        of them goes alone if he ``is_late``: else the tenth would wait ten times as long."""
        batch: list[tuple[Question, asyncio.Future[A]]] = []
        others: list[tuple[Question, asyncio.Future[A]]] = []
        seen: set[str] = set()
        for question, answer in self._waiting:
            if answer.done():
                continue  # whoever asked has gone
            handle = question[0]
            is_twice = self._is_exclusive and handle in seen
            if is_twice and is_late:
                self._spawn(self._ask_alone(question, answer))
            elif is_twice or len(batch) == BATCH_SIZE:
                others.append((question, answer))
            else:
                seen.add(handle)
                batch.append((question, answer))
        self._waiting = others
        return batch

    async def _send(self, batch: list[tuple[Question, asyncio.Future[A]]]) -> None:
        try:
            if len(batch) == 1:
                await self._ask_alone(*batch[0])
                return
            answers = await self._ask_together([question for question, _ in batch])
        except Exception as error:
            for _, answer in batch:
                _fail(answer, error)
        except BaseException:
            for _, answer in batch:
                answer.cancel()
            raise
        else:
            for place, (question, answer) in enumerate(batch):
                if place in answers:
                    _settle(answer, answers[place])
                else:
                    self._spawn(self._ask_alone(question, answer))
        finally:
            self._receive()

    async def _ask_together(self, questions: list[Question]) -> Mapping[int, A]:
        try:
            return await self._together(questions)
        except GeneralError as error:
            # Nothing was done. One of them may have what the database does not take, and the others need not suffer it.
            if error.__cause__ is None or is_unreachable(error.__cause__):
                raise
            return {}

    async def _ask_alone(self, question: Question, answer: asyncio.Future[A]) -> None:
        if answer.done():
            return
        try:
            _settle(answer, await self._alone(*question))
        except Exception as error:
            _fail(answer, error)
        except BaseException:
            answer.cancel()
            raise

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)


def _settle(answer: asyncio.Future[A], value: A) -> None:
    if not answer.done():
        answer.set_result(value)


def _fail(answer: asyncio.Future[A], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


class _Batching:
    """A store of which some methods are batched."""

    def __init__(self, store: AsyncBatchingStore, kinds: frozenset[str]) -> None:
        self._store = store
        if "load_session" in kinds:
            self.load_session = _Batchers(store.load_session, self._load, is_exclusive=False).ask
        if "advance_line" in kinds:
            self.advance_line = _Batchers(store.advance_line, _swap(store.advance_lines), is_exclusive=True).ask
        if "mark_used" in kinds:
            self.mark_used = _Batchers(store.mark_used, _swap(store.mark_all_used), is_exclusive=True).ask

    async def _load(self, app_id: str, asked: Sequence[Question]) -> Mapping[int, SessionRow | None]:
        handles = [handle for (handle,) in asked]
        found = {row.handle: row for row in await self._store.load_sessions(app_id, handles)}
        return {place: found.get(handle) for place, handle in enumerate(handles)}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        value = self.__dict__[name] = getattr(self._store, name)  # so that this is asked once for each method
        return value


def _swap(several: Callable[[str, Sequence[Any]], Coroutine[Any, Any, set[str]]]) -> Together[bool]:
    async def swap(app_id: str, asked: Sequence[Question]) -> Mapping[int, bool]:
        done = await several(app_id, asked)
        return {place: True for place, (handle, *_) in enumerate(asked) if handle in done}

    return swap
