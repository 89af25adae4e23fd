"""What each step on signing keys does when nobody else is about."""

from __future__ import annotations

from tallystick.storage.interface import AsyncSessionStore
from tallystick.testing.contract.rows import NOW, make_key
from tallystick.testing.contract.running import scenario
from tallystick.types import KeyRow


async def keep(store: AsyncSessionStore, *rows: KeyRow) -> list[bool]:
    return [await store.insert_key(row) for row in rows]


class KeyScenarios:
    """Signing keys."""

    @scenario
    async def test_an_app_without_keys_has_none(self, store: AsyncSessionStore) -> None:
        await keep(store, make_key(app_id="elsewhere"))
        assert await store.load_keys("public") == []

    @scenario
    async def test_keys_come_back_as_they_were_kept_newest_first(self, store: AsyncSessionStore) -> None:
        rows = [make_key(sequence) for sequence in (2, 10, 1)]
        assert await keep(store, *rows) == [True] * 3
        assert await store.load_keys("public") == [rows[1], rows[0], rows[2]]

    @scenario
    async def test_a_key_of_a_sequence_that_is_taken_is_not_kept(self, store: AsyncSessionStore) -> None:
        await keep(store, make_key())
        assert await keep(store, make_key(), make_key(kid="late", sealed=b"late")) == [False, False]
        assert await store.load_keys("public") == [make_key()]

    @scenario
    async def test_apps_count_their_keys_apart(self, store: AsyncSessionStore) -> None:
        assert await keep(store, make_key(app_id="one"), make_key(app_id="two")) == [True, True]
        assert await store.load_keys("one") == [make_key(app_id="one")]

    @scenario
    async def test_a_key_is_purged_if_it_was_made_before_the_instant(self, store: AsyncSessionStore) -> None:
        rows = [make_key(sequence, created_at=NOW + sequence) for sequence in (1, 2, 3, 4)]
        await keep(store, *rows, make_key(app_id="elsewhere", created_at=1))
        assert await store.purge_keys("public", NOW + 1) == 0
        assert await store.purge_keys("public", NOW + 3) == 2
        assert await store.load_keys("public") == [rows[3], rows[2]]
        assert len(await store.load_keys("elsewhere")) == 1

    @scenario
    async def test_the_newest_key_is_never_purged(self, store: AsyncSessionStore) -> None:
        rows = [make_key(sequence) for sequence in (1, 2)]
        await keep(store, *rows)
        assert await store.purge_keys("public", NOW + 1_000_000) == 1
        assert await store.purge_keys("public", NOW + 1_000_000) == 0
        assert await store.load_keys("public") == [rows[1]]

    @scenario
    async def test_the_newest_key_is_that_of_the_highest_sequence_also_if_a_clock_went_back(
        self, store: AsyncSessionStore
    ) -> None:
        await keep(store, make_key(1, created_at=NOW), make_key(2, created_at=NOW - 5000))
        assert await store.purge_keys("public", NOW) == 0
        assert await store.purge_keys("public", NOW + 1) == 1
        assert [row.sequence for row in await store.load_keys("public")] == [2]

    @scenario
    async def test_purging_without_keys_purges_none(self, store: AsyncSessionStore) -> None:
        assert await store.purge_keys("public", NOW) == 0
