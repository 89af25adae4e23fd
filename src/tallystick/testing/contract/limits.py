"""The contract: a cap on a user's sessions, alone and with sixteen sign-ins at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tallystick.storage.interface import AsyncSessionStore
from tallystick.testing.contract.rows import CAUSE, LATER, NOW, make_session
from tallystick.testing.contract.running import RACERS, ROUNDS, race, scenario


async def keep(store: AsyncSessionStore, *handles: str, **changes: Any) -> None:
    for age, handle in enumerate(reversed(handles)):
        await store.insert_session(make_session(handle=handle, created_at=NOW - 1000 - age, **changes))


async def handles_of(store: AsyncSessionStore, user_id: str = "user") -> list[str]:
    return await store.list_handles_of_user("public", user_id, None, NOW)


class LimitScenarios:
    """A cap on a user's sessions."""

    @pytest.mark.parametrize("evicts", [True, False])
    @scenario
    async def test_where_there_is_room_a_session_is_kept_whole_and_nothing_else_happens(
        self, store: AsyncSessionStore, evicts: bool
    ) -> None:
        await keep(store, "a", "b")
        row = make_session(handle="new", created_at=NOW)
        assert await store.insert_session_within(row, 3, evicts, None, CAUSE) == []
        assert await store.load_session("public", "new") == row
        assert await handles_of(store) == ["a", "b", "new"]

    @scenario
    async def test_without_room_the_oldest_are_evicted(self, store: AsyncSessionStore) -> None:
        await keep(store, "a", "b", "c")
        row = make_session(handle="new", created_at=NOW)
        assert sorted(await store.insert_session_within(row, 2, True, None, CAUSE) or []) == ["a", "b"]
        assert await handles_of(store) == ["c", "new"]

    @scenario
    async def test_of_sessions_of_one_age_the_first_by_handle_is_the_oldest(self, store: AsyncSessionStore) -> None:
        for handle in ("c", "a", "b"):
            await store.insert_session(make_session(handle=handle))
        assert await store.insert_session_within(make_session(handle="new"), 3, True, None, CAUSE) == ["a"]
        assert await handles_of(store) == ["b", "c", "new"]

    @scenario
    async def test_a_new_session_is_never_evicted_itself_whatever_its_clock_says(
        self, store: AsyncSessionStore
    ) -> None:
        await keep(store, "a", "b")
        row = make_session(handle="new", created_at=NOW - 5000)
        assert await store.insert_session_within(row, 1, True, None, CAUSE) is not None
        assert await handles_of(store) == ["new"]

    @scenario
    async def test_without_room_and_eviction_nothing_is_done(self, store: AsyncSessionStore) -> None:
        await keep(store, "a", "b")
        before = await store.load_session("public", "a")
        assert await store.insert_session_within(make_session(handle="new"), 2, False, None, CAUSE) is None
        assert await store.load_session("public", "new") is None
        assert await handles_of(store) == ["a", "b"]
        assert await store.load_session("public", "a") == before
        assert await store.insert_session_within(make_session(handle="new"), 3, False, None, CAUSE) == []

    @scenario
    async def test_only_living_sessions_of_the_user_in_the_app_take_room_in_whatever_tenant(
        self, store: AsyncSessionStore
    ) -> None:
        await keep(store, "over", expires_at=NOW)
        await keep(store, "ended", absolute_expires_at=NOW)
        await keep(store, "of another", user_id="another")
        await keep(store, "elsewhere", app_id="elsewhere")
        await keep(store, "tenant", tenant_id="t1")
        row = make_session(handle="new", created_at=NOW)
        assert await store.insert_session_within(row, 1, False, None, CAUSE) is None
        assert await store.insert_session_within(row, 2, False, None, CAUSE) == []
        evicting = make_session(handle="newer", created_at=NOW + 1)
        assert sorted(await store.insert_session_within(evicting, 1, True, None, CAUSE) or []) == ["new", "tenant"]
        for app_id, handle in (
            ("public", "over"),
            ("public", "ended"),
            ("public", "of another"),
            ("elsewhere", "elsewhere"),
        ):
            assert await store.load_session(app_id, handle) is not None

    @pytest.mark.parametrize("evicts", [True, False])
    @scenario
    async def test_the_session_that_is_replaced_takes_no_room_and_is_deleted(
        self, store: AsyncSessionStore, evicts: bool
    ) -> None:
        await keep(store, "a", "b")
        row = make_session(handle="new", created_at=NOW)
        assert await store.insert_session_within(row, 2, evicts, "b", CAUSE) == ["b"]
        assert await handles_of(store) == ["a", "new"]

    @scenario
    async def test_the_session_that_is_replaced_may_be_another_user_s_over_or_gone(
        self, store: AsyncSessionStore
    ) -> None:
        await keep(store, "of another", user_id="another")
        await keep(store, "over", expires_at=NOW)
        for handle, replaced in (("x", "of another"), ("y", "over"), ("z", "gone")):
            deleted = await store.insert_session_within(make_session(handle=handle), 5, False, replaced, CAUSE)
            assert deleted == ([] if replaced == "gone" else [replaced])
        assert await handles_of(store) == ["x", "y", "z"]

    @scenario
    async def test_the_session_to_replace_stays_where_the_new_one_is_refused(self, store: AsyncSessionStore) -> None:
        await keep(store, "a", "b", "c")
        assert await store.insert_session_within(make_session(handle="new"), 2, False, "a", CAUSE) is None
        assert await handles_of(store) == ["a", "b", "c"]

    @scenario
    async def test_a_handle_that_is_taken_is_an_error_and_evicts_nobody(self, store: AsyncSessionStore) -> None:
        await keep(store, "a", "b")
        with pytest.raises(Exception, match="a"):
            await store.insert_session_within(make_session(handle="a", user_id="intruder"), 1, True, "b", CAUSE)
        assert await handles_of(store) == ["a", "b"]
        assert await handles_of(store, "intruder") == []

    @pytest.mark.parametrize("round_", range(ROUNDS))
    @scenario
    async def test_sixteen_sign_ins_at_once_leave_exactly_the_cap_and_each_eviction_is_told_once(
        self, store: AsyncSessionStore, round_: int
    ) -> None:
        await keep(store, "old-1", "old-2", "old-3")
        rows = [make_session(handle=f"new-{number:02}", created_at=NOW) for number in range(RACERS)]
        told = await race(store.insert_session_within(row, 3, True, None, CAUSE) for row in rows)
        evicted = [handle for some in told for handle in some or []]
        assert len(evicted) == len(set(evicted)) == RACERS
        left = await handles_of(store)
        assert len(left) == 3
        assert set(left) | set(evicted) == {"old-1", "old-2", "old-3", *(row.handle for row in rows)}

    @pytest.mark.parametrize("round_", range(ROUNDS))
    @scenario
    async def test_of_sixteen_sign_ins_at_once_as_many_succeed_as_there_is_room(
        self, store: AsyncSessionStore, round_: int
    ) -> None:
        await keep(store, "old")
        rows = [make_session(handle=f"new-{number:02}", created_at=NOW) for number in range(RACERS)]
        told = await race(store.insert_session_within(row, 4, False, None, CAUSE) for row in rows)
        kept = [row.handle for row, answer in zip(rows, told, strict=True) if answer is not None]
        assert (len(kept), told.count([])) == (3, 3)
        assert await handles_of(store) == ["old", *sorted(kept)]

    @scenario
    async def test_sign_ins_of_many_users_at_once_do_not_take_each_other_s_room(self, store: AsyncSessionStore) -> None:
        rows = [make_session(handle=f"h{number}", user_id=f"user-{number}") for number in range(RACERS)]
        assert await race(store.insert_session_within(row, 1, False, None, CAUSE) for row in rows) == [[]] * RACERS

    @scenario
    async def test_sign_ins_and_revocations_of_one_user_at_once_do_not_block_each_other(
        self, store: AsyncSessionStore
    ) -> None:
        await keep(store, *(f"old-{number:02}" for number in range(20)))
        rows = [make_session(handle=f"new-{number:02}", created_at=NOW) for number in range(8)]
        old = [f"old-{number:02}" for number in range(20)]
        evicted, deleted, _ = await asyncio.gather(
            race(store.insert_session_within(row, 5, True, None, CAUSE) for row in rows),
            race(
                [
                    *(store.delete_sessions_of_user("public", "user", None, CAUSE) for _ in range(4)),
                    *(store.delete_sessions("public", old, CAUSE) for _ in range(2)),
                ]
            ),
            race(store.purge_sessions("public", LATER, 10) for _ in range(2)),
        )
        gone = [handle for some in (*evicted, *deleted) for handle in some or []]
        assert len(gone) == len(set(gone)), "a handle was told twice"
        assert len(await handles_of(store)) <= 5
