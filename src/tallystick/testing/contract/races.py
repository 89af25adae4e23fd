"""Sixteen at once: threads on a synchronous store, tasks on an asynchronous one. Several rounds, as luck has a part."""

from __future__ import annotations

import asyncio
import random

import pytest

from tallystick.storage.interface import AsyncSessionStore
from tallystick.testing.contract.rows import (
    CAUSE,
    LATER,
    LINE,
    NOW,
    OTHER_LINE,
    make_key,
    make_session,
    make_step,
    make_theft,
)
from tallystick.testing.contract.running import RACERS, ROUNDS, fetch, race, scenario


class RaceScenarios:
    """Each step with sixteen callers at once."""

    @pytest.mark.parametrize("round_", range(ROUNDS))
    @scenario
    async def test_of_sixteen_advances_of_one_line_one_wins_and_its_step_stays(
        self, store: AsyncSessionStore, round_: int
    ) -> None:
        await store.insert_session(make_session())
        steps = [make_step(line=bytes([number]) * 32, generation=number) for number in range(RACERS)]
        won = await race(store.advance_line("public", "handle", LINE, step) for step in steps)
        assert sum(won) == 1
        row = await fetch(store)
        winner = steps[won.index(True)]
        assert (row.line, row.generation, row.previous) == (winner.line, winner.generation, LINE)

    @pytest.mark.parametrize("round_", range(ROUNDS))
    @scenario
    async def test_of_sixteen_first_uses_one_is_marked(self, store: AsyncSessionStore, round_: int) -> None:
        await store.insert_session(make_session())
        won = await race(store.mark_used("public", "handle", LINE, NOW + number, LATER) for number in range(RACERS))
        assert sum(won) == 1
        assert (await fetch(store)).used_at == NOW + won.index(True)

    @scenario
    async def test_sixteen_racers_on_sixteen_lines_all_win(self, store: AsyncSessionStore) -> None:
        handles = [f"h{number}" for number in range(RACERS)]
        await race(store.insert_session(make_session(handle=handle)) for handle in handles)
        assert all(await race(store.advance_line("public", handle, LINE, make_step()) for handle in handles))
        assert not any(await race(store.advance_line("public", handle, OTHER_LINE, make_step()) for handle in handles))

    @scenario
    async def test_a_line_advanced_by_many_in_turn_has_no_gap(self, store: AsyncSessionStore) -> None:
        """Each racer loads and swaps until it has won: sixteen advances, none lost, none done twice."""
        await store.insert_session(make_session())

        async def advance_once() -> None:
            while True:
                row = await fetch(store)
                generation = row.generation + 1
                step = make_step(generation=generation, line=generation.to_bytes(32), previous=row.line)
                if await store.advance_line("public", "handle", row.line, step):
                    return

        await race(advance_once() for _ in range(RACERS))
        assert (await fetch(store)).generation == RACERS

    @scenario
    async def test_sixteen_swaps_of_one_payload_lose_none(self, store: AsyncSessionStore) -> None:
        await store.insert_session(make_session(jwt_payload="0"))

        async def add_one() -> None:
            while True:
                text = (await fetch(store)).jwt_payload
                if await store.update_jwt_payload("public", "handle", str(int(text) + 1), NOW, text):
                    return

        await race(add_one() for _ in range(RACERS))
        assert (await fetch(store)).jwt_payload == str(RACERS)

    @pytest.mark.parametrize("round_", range(ROUNDS))
    @scenario
    async def test_of_sixteen_who_delete_the_same_sessions_each_handle_is_told_to_one(
        self, store: AsyncSessionStore, round_: int
    ) -> None:
        """Each asks in another order: a store that locks rows in the order asked for would deadlock here."""
        handles = [f"h{number}" for number in range(40)]
        for handle in handles:
            await store.insert_session(make_session(handle=handle))
        orders = [random.sample(handles, len(handles)) for _ in range(RACERS)]
        told = await race(store.delete_sessions("public", order, CAUSE) for order in orders)
        assert sorted(handle for some in told for handle in some) == sorted(handles)

    @scenario
    async def test_revoking_by_handle_by_user_and_by_purge_at_once_tells_each_handle_once(
        self, store: AsyncSessionStore
    ) -> None:
        handles = [f"h{number:03}" for number in range(60)]
        # Kept in another order than that of the handles, so that a store's indexes find them in different orders.
        for handle in reversed(handles):
            await store.insert_session(make_session(handle=handle, expires_at=NOW))
        told, counts = await asyncio.gather(
            race(
                [
                    *(store.delete_sessions("public", random.sample(handles, 30), CAUSE) for _ in range(6)),
                    *(store.delete_sessions_of_user("public", "user", None, CAUSE) for _ in range(5)),
                ]
            ),
            race(store.purge_sessions("public", NOW, 7) for _ in range(5)),
        )
        assert sum(len(some) for some in told) + sum(counts) == len(handles)
        assert all(count <= 7 for count in counts)

    @scenario
    async def test_a_session_deleted_amid_advances_stays_deleted(self, store: AsyncSessionStore) -> None:
        await store.insert_session(make_session())
        advances = [store.advance_line("public", "handle", LINE, make_step(line=LINE)) for _ in range(RACERS - 1)]
        *_, deleted = await race([*advances, store.delete_sessions("public", ["handle"], CAUSE)])
        assert deleted == ["handle"]
        assert await store.load_session("public", "handle") is None

    @pytest.mark.parametrize("round_", range(ROUNDS))
    @scenario
    async def test_of_sixteen_keys_of_one_sequence_one_is_kept(self, store: AsyncSessionStore, round_: int) -> None:
        rows = [make_key(kid=f"kid-{number}") for number in range(RACERS)]
        kept = await race(store.insert_key(row) for row in rows)
        assert sum(kept) == 1
        assert await store.load_keys("public") == [rows[kept.index(True)]]

    @pytest.mark.parametrize("round_", range(ROUNDS))
    @scenario
    async def test_of_sixteen_who_find_one_theft_one_records_it(self, store: AsyncSessionStore, round_: int) -> None:
        await store.insert_session(make_session())
        events = [make_theft(presented_generation=number) for number in range(RACERS)]
        told = await race(store.record_theft(event, CAUSE) for event in events)
        assert sum(told) == 1
        assert await store.load_thefts("public", None, RACERS) == [events[told.index(True)]]
        assert await store.load_session("public", "handle") is None
