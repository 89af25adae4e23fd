"""The contract: the log of endings, which no path that ends a session gets around."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tallystick.storage.interface import AsyncSessionStore
from tallystick.testing.contract.rows import CAUSE, LATER, LINE, NOW, make_session, make_step, make_theft
from tallystick.testing.contract.running import RACERS, ROUNDS, race, scenario
from tallystick.types import Cause, Ending

CHANGE = Cause("changed", NOW, LATER, "0" * 64)
PLACES_ELSEWHERE = ("nonsense", "1-host/5,3", "0a1b/1700000000-0", "1.5/7:7:", "9" * 40, "-1", "²")
"""None of them the store's own: those of others, and what nobody gave."""
_PATIENCE = 20
_LONG = 3


class Follower:
    """Reads a log as a process does that follows it."""

    def __init__(self, store: AsyncSessionStore, app_id: str = "public") -> None:
        self._store, self._app_id = store, app_id
        self.place: str | None = None

    async def catch_up(self, limit: int = 3) -> list[Ending]:
        """What has come, without what came twice."""
        seen: dict[Ending, None] = {}
        while True:
            page = await self._store.read_endings(self._app_id, self.place, limit)
            assert len(page.endings) <= limit
            self.place = page.place
            seen |= dict.fromkeys(page.endings)
            if page.is_last:
                return list(seen)

    async def handles(self) -> list[str]:
        return sorted(ending.handle for ending in await self.catch_up())


async def keep(store: AsyncSessionStore, *handles: str, **changes: Any) -> None:
    for handle in handles:
        await store.insert_session(make_session(handle=handle, **changes))


Act = Callable[[AsyncSessionStore], Awaitable[object]]

PATHS: dict[str, tuple[Act, list[str]]] = {
    "by handle": (lambda store: store.delete_sessions("public", ["a", "nobody", "c", "a"], CAUSE), ["a", "c"]),
    "of a user": (lambda store: store.delete_sessions_of_user("public", "user", None, CAUSE), ["a", "b", "c", "t"]),
    "of a user in a tenant": (lambda store: store.delete_sessions_of_user("public", "user", "t1", CAUSE), ["t"]),
    "by a theft": (lambda store: store.record_theft(make_theft(session_handle="b"), CAUSE), ["b"]),
    "for want of room": (
        lambda store: store.insert_session_within(make_session(handle="new", created_at=NOW), 3, True, None, CAUSE),
        ["a", "b"],
    ),
    "by the one that replaces it": (
        lambda store: store.insert_session_within(make_session(handle="new"), 9, False, "stranger", CAUSE),
        ["stranger"],
    ),
}
NOT_ENDING: dict[str, Act] = {
    "an insertion": lambda store: store.insert_session(make_session(handle="new")),
    "a sign-in that is refused": lambda store: store.insert_session_within(
        make_session(handle="new"), 1, False, "a", CAUSE
    ),
    "an advance": lambda store: store.advance_line("public", "a", LINE, make_step()),
    "a use": lambda store: store.mark_used("public", "a", LINE, NOW, LATER),
    "data": lambda store: store.update_session_data("public", "a", "{}", NOW),
    "a payload without a cause": lambda store: store.update_jwt_payload("public", "a", "{}", NOW),
    "a payload of nobody": lambda store: store.update_jwt_payload("public", "nobody", "{}", NOW, None, CHANGE),
    "a deletion of nobody": lambda store: store.delete_sessions("public", ["nobody"], CAUSE),
    "a theft of nobody": lambda store: store.record_theft(make_theft(session_handle="nobody"), CAUSE),
    "a deletion elsewhere": lambda store: store.delete_sessions("elsewhere", ["a"], CAUSE),
    "a purge": lambda store: store.purge_sessions("public", LATER, 2),
}


async def keep_a_crowd(store: AsyncSessionStore) -> None:
    for age, handle in enumerate("cba"):
        await keep(store, handle, created_at=NOW - 1000 - age)
    await keep(store, "t", created_at=NOW - 10, tenant_id="t1")
    await keep(store, "stranger", user_id="other")
    await keep(store, "a", app_id="elsewhere")


class EndingScenarios:
    """The log of endings."""

    @scenario
    async def test_an_empty_log_has_a_place_from_which_it_goes_on(self, store: AsyncSessionStore) -> None:
        page = await store.read_endings("public", None, 10)
        assert (page.endings, page.is_last) == ([], True)
        again = await store.read_endings("public", page.place, 10)
        assert (again.endings, again.is_last) == ([], True)

    @scenario
    async def test_at_a_place_of_another_kind_of_store_a_log_is_read_from_its_beginning(
        self, store: AsyncSessionStore
    ) -> None:
        await keep(store, "a", "b")
        await store.delete_sessions("public", ["a"], CAUSE)
        place: str | None = None
        for elsewhere in PLACES_ELSEWHERE:
            page = await store.read_endings("public", elsewhere, 10)
            assert ([ending.handle for ending in page.endings], page.is_last) == (["a"], True), elsewhere
            place = page.place
        await store.delete_sessions("public", ["b"], CAUSE)
        page = await store.read_endings("public", place, 10)
        assert [ending.handle for ending in page.endings] == ["b"]

    @pytest.mark.parametrize("kind", ["revoked", "sign_in", "theft"])
    @scenario
    async def test_an_ending_says_whose_session_it_was_why_and_when(self, store: AsyncSessionStore, kind: Any) -> None:
        await keep(store, "handle", user_id="Zoë", tenant_id="t1")
        cause = replace(CAUSE, kind=kind)
        await store.delete_sessions("public", ["handle"], cause)
        page = await store.read_endings("public", None, 10)
        assert page.endings == [Ending("handle", "Zoë", "t1", kind, NOW, LATER)]

    @pytest.mark.parametrize(("act", "ended"), PATHS.values(), ids=PATHS)
    @scenario
    async def test_every_path_that_ends_a_session_tells_of_it(
        self, store: AsyncSessionStore, act: Act, ended: list[str]
    ) -> None:
        await keep_a_crowd(store)
        log, elsewhere = Follower(store), Follower(store, "elsewhere")
        assert await log.handles() == []
        await act(store)
        assert await log.handles() == ended
        assert await log.handles() == [], "a log goes on from its place"
        assert await Follower(store).handles() == ended, "and begins at its beginning"
        assert await elsewhere.handles() == []

    @pytest.mark.parametrize("act", NOT_ENDING.values(), ids=NOT_ENDING)
    @scenario
    async def test_what_ends_nothing_tells_of_nothing(self, store: AsyncSessionStore, act: Act) -> None:
        await keep_a_crowd(store)
        await act(store)
        assert await Follower(store).handles() == []

    @scenario
    async def test_a_payload_that_changes_for_a_cause_is_told_of(self, store: AsyncSessionStore) -> None:
        await keep(store, "handle")
        assert await store.update_jwt_payload("public", "handle", "{}", NOW, None, CHANGE)
        [ending] = await Follower(store).catch_up()
        assert (ending.handle, ending.kind) == ("handle", "changed")
        assert ending.payload_digest in (CHANGE.payload_digest, None)

    @scenario
    async def test_a_log_is_read_page_by_page_in_order(self, store: AsyncSessionStore) -> None:
        handles = [f"h{number:02}" for number in range(25)]
        await keep(store, *handles)
        log = Follower(store)
        await log.catch_up()
        for handle in handles:
            await store.delete_sessions("public", [handle], CAUSE)
        assert [ending.handle for ending in await log.catch_up(limit=4)] == handles
        assert [ending.handle for ending in await Follower(store).catch_up(limit=5)] == handles

    @scenario
    async def test_endings_that_nobody_needs_any_more_are_purged_in_their_own_app(
        self, store: AsyncSessionStore
    ) -> None:
        await keep(store, "old", "new")
        await keep(store, "foreign", app_id="elsewhere")
        log = Follower(store)
        await store.delete_sessions("public", ["old"], replace(CAUSE, forget_at=NOW))
        await store.delete_sessions("public", ["new"], replace(CAUSE, forget_at=NOW + 1))
        await store.delete_sessions("elsewhere", ["foreign"], replace(CAUSE, forget_at=NOW))
        assert await store.purge_endings("public", NOW) == 1
        assert await store.purge_endings("public", NOW) == 0
        assert await log.handles() == ["new"]
        assert await Follower(store, "elsewhere").handles() == ["foreign"]

    @scenario
    async def test_a_log_that_was_purged_whole_goes_on_after_the_places_that_were_given(
        self, store: AsyncSessionStore
    ) -> None:
        await keep(store, "a", "b", "c")
        log = Follower(store)
        await store.delete_sessions("public", ["a", "b"], CAUSE)
        await log.catch_up()
        assert await store.purge_endings("public", LATER) == 2
        assert await log.handles() == []
        await store.delete_sessions("public", ["c"], CAUSE)
        assert await log.handles() == ["c"]

    @pytest.mark.parametrize("round_", range(ROUNDS))
    @scenario
    async def test_of_many_endings_at_once_a_follower_misses_none(self, store: AsyncSessionStore, round_: int) -> None:
        handles = [f"h{number:02}" for number in range(RACERS * 4)]
        await keep(store, *handles)
        log, seen, is_over = Follower(store), set[str](), False

        async def follow() -> None:
            while not is_over:
                seen.update(ending.handle for ending in await log.catch_up(limit=10))
                await asyncio.sleep(0)  # a store in memory lets nobody else run

        following = asyncio.create_task(follow())
        for start in range(0, len(handles), RACERS):
            await race(store.delete_sessions("public", [handle], CAUSE) for handle in handles[start : start + RACERS])
        is_over = True
        await following
        assert seen | {ending.handle for ending in await log.catch_up()} == set(handles)

    @scenario
    async def test_who_waits_for_an_ending_goes_on_when_there_is_one_or_the_time_is_over(
        self, store: AsyncSessionStore
    ) -> None:
        await keep(store, "a")
        log, began = Follower(store), time.monotonic()
        await log.catch_up()
        assert log.place is not None
        await store.wait_for_endings("public", log.place, 0.01)
        ending = asyncio.create_task(store.delete_sessions("public", ["a"], CAUSE))
        found: list[str] = []
        while not found:
            await store.wait_for_endings("public", log.place, _LONG)
            found = await log.handles()
        await ending
        assert found == ["a"]
        assert time.monotonic() - began < _PATIENCE
