"""Calls that come at once, put to the store as one.

A statement costs the worker, the database and the way between them nearly the same for sixteen sessions as for one. So
while ``FLIGHTS`` statements of a kind are under way, further calls wait, and go together as soon as one of those is
back. Who comes alone waits for nothing; the more come, the less each costs.

Nothing else is different for the callers. Each gets an answer of its own. Where there is none, it is as if each had
asked alone: all have the error of a store that does not answer, and what the store does not take is the error of the
one who has it. A call never joins a statement that has begun, so it sees whatever was done before it. Of those who
would move one session, one is in a statement, as two could both seem to win. And what takes long holds up no one but
those in the same statement: after ``OVERTAKING`` the next sets off in any case. Apps do not wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from tallystick.errors import GeneralError
from tallystick.service.guard import is_unreachable
from tallystick.storage.interface import AsyncGatheringStore, AsyncSessionStore
from tallystick.types import SessionRow

FLIGHTS: Final = 2
"""So many statements of a kind, for one app, may be under way before calls wait for each other. With one, the worker
would have nothing to do while it waits; more make the groups smaller."""

OVERTAKING: Final = 0.05
"""In seconds: so long the first ``AT_ONCE`` of those who wait do so at most."""

AT_ONCE: Final = 64
"""How many a statement takes. More would spare little, and hold up more."""

A = TypeVar("A")
Question: TypeAlias = tuple[Any, ...]
"""A method's arguments behind the app's id, of which the first is a session's handle."""
Alone: TypeAlias = Callable[..., Coroutine[Any, Any, A]]
Together: TypeAlias = Callable[[str, Sequence[Question]], Coroutine[Any, Any, Mapping[int, A]]]
"""The answers by their places; what has none there is asked alone."""


def gather(store: AsyncSessionStore) -> AsyncSessionStore:
    """The same store, with what it can gather gathered. It is guarded, and used in one event loop."""
    kinds: frozenset[str] = getattr(store, "gathers", frozenset())
    return cast("AsyncSessionStore", _Gathering(cast("AsyncGatheringStore", store), kinds)) if kinds else store


class Lanes(Generic[A]):
    """All calls of one method. ``is_exclusive``: no session may be twice in one statement."""

    def __init__(self, alone: Alone[A], together: Together[A], *, is_exclusive: bool) -> None:
        self._alone = alone
        self._together = together
        self._is_exclusive = is_exclusive
        self._lanes: dict[str, _Lane[A]] = {}  # there are as many as apps that were asked for and exist

    async def ask(self, app_id: str, *question: Any) -> A:  # noqa: ANN401 - as the method has it
        """The answer, or what the store raises."""
        lane = self._lanes.get(app_id)
        if lane is None:
            alone, together = partial(self._alone, app_id), partial(self._together, app_id)
            lane = self._lanes[app_id] = _Lane(alone, together, self._is_exclusive)
        return await lane.ask(question)


class _Lane(Generic[A]):
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
        self._flying = 0
        self._waiting: list[tuple[Question, asyncio.Future[A]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()  # the loop itself holds tasks only weakly

    async def ask(self, question: Question) -> A:
        if self._flying < FLIGHTS and not self._waiting:
            self._flying += 1
            try:
                return await self._alone(*question)
            finally:
                self._land()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()
        self._waiting.append((question, answer))
        if self._timer is None:
            self._timer = loop.call_later(OVERTAKING, self._overtake)
        return await answer

    def _land(self) -> None:
        self._flying -= 1
        if self._waiting and self._flying < FLIGHTS:
            self._take_off()

    def _overtake(self) -> None:
        self._take_off(is_late=True)

    def _take_off(self, *, is_late: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        group = self._choose(is_late)
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(OVERTAKING, self._overtake)
        if group:
            self._flying += 1
            self._spawn(self._fly(group))

    def _choose(self, is_late: bool) -> list[tuple[Question, asyncio.Future[A]]]:
        """Those who go together; the others go on waiting, in their order. But who would move the same session as one
        of them goes alone if he ``is_late``: else the tenth would wait ten times as long."""
        group: list[tuple[Question, asyncio.Future[A]]] = []
        others: list[tuple[Question, asyncio.Future[A]]] = []
        seen: set[str] = set()
        for question, answer in self._waiting:
            if answer.done():
                continue  # whoever asked has gone
            handle = question[0]
            is_twice = self._is_exclusive and handle in seen
            if is_twice and is_late:
                self._spawn(self._ask_alone(question, answer))
            elif is_twice or len(group) == AT_ONCE:
                others.append((question, answer))
            else:
                seen.add(handle)
                group.append((question, answer))
        self._waiting = others
        return group

    async def _fly(self, group: list[tuple[Question, asyncio.Future[A]]]) -> None:
        try:
            if len(group) == 1:
                await self._ask_alone(*group[0])
                return
            answers = await self._ask_together([question for question, _ in group])
        except Exception as error:
            for _, answer in group:
                _fail(answer, error)
        except BaseException:
            for _, answer in group:
                answer.cancel()
            raise
        else:
            for place, (question, answer) in enumerate(group):
                if place in answers:
                    _settle(answer, answers[place])
                else:
                    self._spawn(self._ask_alone(question, answer))
        finally:
            self._land()

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


class _Gathering:
    """A store of which some methods are gathered."""

    def __init__(self, store: AsyncGatheringStore, kinds: frozenset[str]) -> None:
        self._store = store
        if "load_session" in kinds:
            self.load_session = Lanes(store.load_session, self._load, is_exclusive=False).ask
        if "advance_line" in kinds:
            self.advance_line = Lanes(store.advance_line, _swap(store.advance_lines), is_exclusive=True).ask
        if "mark_used" in kinds:
            self.mark_used = Lanes(store.mark_used, _swap(store.mark_all_used), is_exclusive=True).ask

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
