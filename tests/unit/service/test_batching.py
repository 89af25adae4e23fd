"""Calls that come at once: which go together, and that nobody is the worse for it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from sqlalchemy.exc import DataError

from tallystick import GeneralError
from tallystick.service import batching
from tallystick.service.batching import BATCH_SIZE, IN_FLIGHT, batch_calls
from tallystick.service.guard import Guard
from tallystick.storage.memory import AsyncMemoryStore
from tallystick.testing.contract.rows import LATER, LINE, NOW, OTHER_LINE, make_session, make_step

BUSY = 3 * IN_FLIGHT
"""So many statements are under way in `together`."""


class Store(AsyncMemoryStore):
    """One that can be held up, refuses some handles, and keeps account of its statements."""

    batches = frozenset({"load_session", "advance_line", "mark_used"})

    def __init__(self):
        super().__init__()
        self.statements: list[list[str]] = []
        self.sent: asyncio.Queue[list[str]] = asyncio.Queue()
        """The same, to wait for."""
        self.held: dict[str, asyncio.Event] = {}
        self.refused: dict[str, Exception] = {}
        self.taken: set[str] = set()

    async def load_session(self, app_id, handle):
        async with self._statement(handle):
            return await super().load_session(app_id, handle)

    async def load_sessions(self, app_id, handles):
        async with self._statement(*handles):
            return await super().load_sessions(app_id, handles)

    async def advance_line(self, app_id, handle, expected_line, step):
        async with self._statement(handle):
            return await super().advance_line(app_id, handle, expected_line, step)

    async def advance_lines(self, app_id, steps):
        async with self._statement(*(handle for handle, _, _ in steps)):
            free = [each for each in steps if each[0] not in self.taken]
            return {each[0] for each in free if await super(Store, self).advance_line(app_id, *each)}

    async def mark_used(self, app_id, handle, expected_line, used_at, expires_at):
        async with self._statement(handle):
            return await super().mark_used(app_id, handle, expected_line, used_at, expires_at)

    async def mark_all_used(self, app_id, marks):
        async with self._statement(*(handle for handle, *_ in marks)):
            return {each[0] for each in marks if await super(Store, self).mark_used(app_id, *each)}

    @asynccontextmanager
    async def _statement(self, *handles: str) -> AsyncIterator[None]:
        self.statements.append(list(handles))
        self.sent.put_nowait(list(handles))
        await asyncio.sleep(0)
        for handle in handles:
            if handle in self.held:
                await self.held[handle].wait()
            if handle in self.refused:
                raise self.refused[handle]
        yield

    @contextmanager
    def busy(self, call) -> Iterator[list[asyncio.Task]]:
        """So many calls are under way and not answered before the end, that whoever comes waits."""
        event = asyncio.Event()
        names = [f"busy-{number}" for number in range(IN_FLIGHT)]
        self.held |= dict.fromkeys(names, event)
        tasks = [asyncio.create_task(call(name)) for name in names]
        yield tasks
        event.set()


@pytest.fixture(autouse=True)
def no_delay_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits does so for a statement to come back."""
    monkeypatch.setattr(batching, "MAX_DELAY", 3600.0)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def batched(store: Store):
    return batch_calls(Guard(10, 5).around(store))


async def keep(store: Store, *handles: str, app_id: str = "public") -> None:
    for handle in handles:
        await store.insert_session(make_session(app_id=app_id, handle=handle))


async def together(store: Store, batched, calls):
    """Answers and errors of calls that come while so much is under way that they wait."""

    async def load(handle: str):
        return await batched.load_session("public", handle)

    async def advance(handle: str):
        return await batched.advance_line("public", handle, LINE, make_step())

    async def mark(handle: str):
        return await batched.mark_used("public", handle, LINE, NOW, LATER)

    with store.busy(load), store.busy(advance), store.busy(mark):
        await asyncio.sleep(0)
        waiting = [asyncio.ensure_future(call) for call in calls]
        await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
    return await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_store_that_batches_nothing_is_left_as_it_is():
    store = AsyncMemoryStore()
    assert batch_calls(store) is store


async def test_who_comes_alone_is_asked_for_alone_and_at_once(store: Store, batched):
    await keep(store, "a")
    assert (await batched.load_session("public", "a")).handle == "a"
    assert await batched.load_session("public", "none") is None
    assert await batched.advance_line("public", "a", LINE, make_step(line=OTHER_LINE))
    assert store.statements == [["a"], ["none"], ["a"]]


async def test_the_other_steps_are_the_stores_own(store: Store, batched):
    await batched.insert_session(make_session(handle="a"))
    assert [row.handle for row in (await batched.list_sessions("public", None, 10))[0]] == ["a"]


async def test_who_comes_while_others_are_under_way_goes_together_and_each_has_its_own_answer(store: Store, batched):
    await keep(store, "a", "b", "c")
    handles = ["a", "none", "c", "b", "a"]
    found = await together(store, batched, [batched.load_session("public", handle) for handle in handles])
    assert [row and row.handle for row in found] == ["a", None, "c", "b", "a"]
    assert store.statements[BUSY:] == [handles]


async def test_of_swaps_that_go_together_each_is_told_of_itself_alone(store: Store, batched):
    await keep(store, "a", "b", "c")
    await store.advance_line("public", "b", LINE, make_step(line=OTHER_LINE))
    store.statements.clear()
    advances = [batched.advance_line("public", handle, LINE, make_step()) for handle in ("a", "b", "none", "c")]
    assert await together(store, batched, advances) == [True, False, False, True]
    assert ["a", "b", "none", "c"] in store.statements

    store.statements.clear()
    lines = {"a": make_step().line, "b": OTHER_LINE, "none": LINE, "c": LINE}
    marks = [batched.mark_used("public", handle, line, NOW, LATER) for handle, line in lines.items()]
    assert await together(store, batched, marks) == [True, True, False, False]
    assert ["a", "b", "none", "c"] in store.statements


async def test_of_two_that_would_move_one_session_one_does_however_they_come(store: Store, batched):
    await keep(store, "a", "b")
    steps = [make_step(line=bytes([number]) * 32) for number in range(4)]
    advances = [batched.advance_line("public", "a", LINE, step) for step in steps]
    other = batched.advance_line("public", "b", LINE, make_step())
    *won, of_other = await together(store, batched, [*advances, other])
    assert (sum(won), of_other) == (1, True)
    assert (await store.load_session("public", "a")).line == steps[won.index(True)].line


async def test_what_somebody_else_is_at_is_asked_for_by_itself(store: Store, batched):
    await keep(store, "a", "b")
    store.taken.add("a")
    advances = [batched.advance_line("public", handle, LINE, make_step()) for handle in ("a", "b")]
    assert await together(store, batched, advances) == [True, True]
    assert store.statements[-2:] == [["a", "b"], ["a"]]


async def test_apps_do_not_wait_for_each_other(store: Store, batched):
    await keep(store, "a", "b", "c", app_id="one")
    await keep(store, "a", app_id="two")
    with store.busy(lambda handle: batched.load_session("one", handle)):
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(batched.load_session("one", handle)) for handle in ("a", "b", "c")]
        assert (await batched.load_session("two", "a")).app_id == "two"
        assert await batched.load_session("two", "b") is None
        assert not any(each.done() for each in waiting)
    assert [row.app_id for row in await asyncio.gather(*waiting)] == ["one"] * 3
    assert store.statements[IN_FLIGHT:] == [["a"], ["b"], ["a", "b", "c"]]


async def test_a_statement_takes_so_many_at_the_most(store: Store, batched):
    handles = [f"h{number}" for number in range(2 * BATCH_SIZE + 5)]
    await keep(store, *handles)
    found = await together(store, batched, [batched.load_session("public", handle) for handle in handles])
    assert [row.handle for row in found] == handles
    assert [len(each) for each in store.statements[BUSY:]] == [BATCH_SIZE, BATCH_SIZE, 5]


async def test_a_call_does_not_join_a_statement_that_has_begun(store: Store, batched):
    """So what was written before it is seen by it."""
    with store.busy(lambda handle: batched.load_session("public", handle)):
        await asyncio.sleep(0)
        first = asyncio.create_task(batched.load_session("public", "a"))
        await asyncio.sleep(0)
        store.held["a"] = asyncio.Event()
    async with asyncio.timeout(10):
        while await store.sent.get() != ["a"]:
            pass
    await keep(store, "a")
    second = asyncio.create_task(batched.load_session("public", "a"))
    third = asyncio.create_task(batched.load_session("public", "a"))
    await asyncio.sleep(0)
    assert not first.done()
    store.held.pop("a").set()
    assert [row.handle for row in await asyncio.gather(first, second, third)] == ["a", "a", "a"]
    assert len(store.statements) == IN_FLIGHT + 3


async def test_who_has_what_the_store_does_not_take_is_refused_alone(store: Store, batched):
    await keep(store, "a", "b")
    store.refused["bad"] = DataError("SELECT", {}, ValueError("a NUL"))
    found = await together(store, batched, [batched.load_session("public", each) for each in ("a", "bad", "b")])
    assert [found[0].handle, found[2].handle] == ["a", "b"]
    assert isinstance(found[1], GeneralError)
    assert found[1].reason == "store_failed"


async def test_who_would_write_what_the_store_does_not_take_is_refused_alone(store: Store, batched):
    await keep(store, "a", "b")
    store.refused["bad"] = DataError("UPDATE", {}, ValueError("a NUL"))
    advances = [batched.advance_line("public", handle, LINE, make_step()) for handle in ("a", "bad", "b")]
    first, refused, last = await together(store, batched, advances)
    assert (first, last) == (True, True)
    assert isinstance(refused, GeneralError)


async def test_whom_a_driver_breaks_off_is_not_left_to_wait(store: Store, batched):
    store.refused = dict.fromkeys("abc", asyncio.CancelledError())
    found = await together(store, batched, [batched.load_session("public", each) for each in "abc"])
    assert [type(each) for each in found] == [asyncio.CancelledError] * 3


async def test_a_store_that_is_gone_is_not_asked_once_more_for_each(store: Store, batched):
    store.refused = dict.fromkeys("abc", ConnectionResetError())
    found = await together(store, batched, [batched.load_session("public", each) for each in "abc"])
    assert [type(each) for each in found] == [GeneralError] * 3
    assert store.statements[BUSY:] == [["a", "b", "c"]]


async def test_what_takes_long_holds_up_no_one_else(store: Store, batched, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batching, "MAX_DELAY", 0.01)
    await keep(store, "a", "b")
    with store.busy(lambda handle: batched.load_session("public", handle)) as slow:
        await asyncio.sleep(0)
        for handle in ("a", "b"):
            assert (await batched.load_session("public", handle)).handle == handle
        assert not any(each.done() for each in slow)
    await asyncio.gather(*slow)
    assert (await batched.load_session("public", "a")).handle == "a"


async def test_many_who_would_move_one_session_wait_no_longer_than_one(
    store: Store, batched, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batching, "MAX_DELAY", 0.01)
    await keep(store, "a")
    with store.busy(lambda handle: batched.advance_line("public", handle, LINE, make_step())) as slow:
        await asyncio.sleep(0)
        store.held["a"] = asyncio.Event()
        waiting = [
            asyncio.create_task(batched.advance_line("public", "a", LINE, make_step(line=bytes([number]) * 32)))
            for number in range(5)
        ]
        await asyncio.sleep(0)
        monkeypatch.setattr(batching, "MAX_DELAY", 3600.0)  # for whoever would be left by the first who set off
        async with asyncio.timeout(10):
            for _ in range(IN_FLIGHT + len(waiting)):
                await store.sent.get()
        store.held["a"].set()
        assert sum(await asyncio.gather(*waiting)) == 1
        assert not any(each.done() for each in slow)
    await asyncio.gather(*slow)


async def test_who_has_gone_is_not_asked_for(store: Store, batched):
    await keep(store, "a")
    with store.busy(lambda handle: batched.load_session("public", handle)):
        await asyncio.sleep(0)
        gone, stays = (asyncio.create_task(batched.load_session("public", handle)) for handle in ("gone", "a"))
        await asyncio.sleep(0)
        gone.cancel()
    assert (await stays).handle == "a"
    assert gone.cancelled()
    assert store.statements[IN_FLIGHT:] == [["a"]]


async def test_those_under_way_who_go_leave_their_places_to_others(store: Store, batched):
    await keep(store, "a", "b")
    with store.busy(lambda handle: batched.load_session("public", handle)) as slow:
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(batched.load_session("public", handle)) for handle in ("a", "b")]
        await asyncio.sleep(0)
        for each in slow:
            each.cancel()
        assert [row.handle for row in await asyncio.gather(*waiting)] == ["a", "b"]
        assert store.statements[IN_FLIGHT:] == [["a", "b"]]
