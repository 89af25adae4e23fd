"""The contract: theft events."""

from __future__ import annotations

from tallystick.storage.interface import AsyncSessionStore
from tallystick.testing.contract.rows import CAUSE, NOW, make_session, make_theft
from tallystick.testing.contract.running import scenario
from tallystick.types import TheftEvent


async def keep(store: AsyncSessionStore, *events: TheftEvent) -> None:
    for event in events:
        await store.insert_session(make_session(app_id=event.app_id, handle=event.session_handle))
        assert await store.record_theft(event, CAUSE)


class TheftScenarios:
    """Theft events."""

    @scenario
    async def test_a_theft_deletes_its_session_and_is_kept(self, store: AsyncSessionStore) -> None:
        await store.insert_session(make_session())
        await store.insert_session(make_session(handle="other"))
        assert await store.record_theft(make_theft(), CAUSE) is True
        assert await store.load_session("public", "handle") is None
        assert await store.load_session("public", "other") is not None
        assert await store.load_thefts("public", None, 10) == [make_theft()]

    @scenario
    async def test_a_theft_of_a_session_that_is_gone_is_not_kept(self, store: AsyncSessionStore) -> None:
        assert await store.record_theft(make_theft(), CAUSE) is False
        await store.insert_session(make_session(app_id="another"))
        assert await store.record_theft(make_theft(), CAUSE) is False
        assert await store.load_thefts("public", None, 10) == []
        assert await store.load_session("another", "handle") is not None

    @scenario
    async def test_all_that_is_unknown_of_both_sides_stays_unknown(self, store: AsyncSessionStore) -> None:
        unknown = make_theft(presenter_user_agent=None, presenter_address=None)
        known = make_theft(
            session_handle="known", holder_user_agent="x" * 255, holder_address="y" * 64, detected_at=NOW - 1
        )
        for event in (unknown, known):
            await store.insert_session(make_session(handle=event.session_handle))
            await store.record_theft(event, CAUSE)
        assert await store.load_thefts("public", None, 10) == [unknown, known]

    @scenario
    async def test_thefts_are_listed_newest_first_of_one_user_or_of_all(self, store: AsyncSessionStore) -> None:
        first = make_theft(session_handle="a", detected_at=NOW)
        second = make_theft(session_handle="b", detected_at=NOW + 1, user_id="other")
        third = make_theft(session_handle="c", detected_at=NOW + 2)
        foreign = make_theft(session_handle="d", detected_at=NOW + 3, app_id="another")
        await keep(store, second, third, first, foreign)
        assert await store.load_thefts("public", None, 10) == [third, second, first]
        assert await store.load_thefts("public", None, 2) == [third, second]
        assert await store.load_thefts("public", "user", 10) == [third, first]
        assert await store.load_thefts("public", "nobody", 10) == []
        assert await store.load_thefts("another", None, 10) == [foreign]

    @scenario
    async def test_old_thefts_are_purged_in_their_own_app(self, store: AsyncSessionStore) -> None:
        old = make_theft(session_handle="a", detected_at=NOW - 1)
        new = make_theft(session_handle="b", detected_at=NOW)
        foreign = make_theft(session_handle="c", detected_at=NOW - 1, app_id="another")
        await keep(store, old, new, foreign)
        assert await store.purge_thefts("public", NOW) == 1
        assert await store.load_thefts("public", None, 10) == [new]
        assert await store.load_thefts("another", None, 10) == [foreign]
