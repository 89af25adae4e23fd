"""Many who come at once: their steps go to the database together, and each gets what is its own."""

import asyncio
from datetime import timedelta

import pytest

from tallystick.service.batching import batch_calls
from tallystick.service.guard import Guard
from tallystick.storage.opening import parse_url
from tallystick.storage.sql.engine import AT_ONCE, make_async_engine
from tallystick.storage.sql.store import AsyncSqlStore
from tests.service.cores import NEWEST, Core, claims_of

PEOPLE, TABS = 40, 3


class Counting(AsyncSqlStore):
    """How many steps went how: alone, or together with others."""

    def __init__(self, url: str) -> None:
        super().__init__(make_async_engine(parse_url(url)), owned=True, migrate=True, is_guarded=True)
        self.together = {"load_session": 0, "advance_line": 0, "mark_used": 0}

    async def load_sessions(self, app_id, handles):
        self.together["load_session"] += len(handles)
        return await super().load_sessions(app_id, handles)

    async def advance_lines(self, app_id, steps):
        self.together["advance_line"] += len(steps)
        return await super().advance_lines(app_id, steps)

    async def mark_all_used(self, app_id, marks):
        self.together["mark_used"] += len(marks)
        return await super().mark_all_used(app_id, marks)


@pytest.fixture
async def counting(postgres_database):
    store = Counting(postgres_database)
    yield store
    await store.close()


async def test_of_all_who_refresh_and_verify_at_once_each_is_answered_as_itself(counting):
    core = Core(store=batch_calls(Guard(AT_ONCE, 30).around(counting)))

    async def all_at_once(calls):
        answers = await asyncio.gather(*calls)
        return [answers[start : start + TABS] for start in range(0, len(answers), TABS)]

    async with core.http:
        created = [await core.create(NEWEST, userId=f"user-{number}") for number in range(PEOPLE)]
        handles = [each["session"]["handle"] for each in created]
        tokens = [each["refreshToken"]["token"] for each in created]
        for _ in range(3):
            core.clock.advance(timedelta(hours=1))
            # All tabs of a browser present the same token, and all are answered: nobody is taken for a thief.
            refreshed = await all_at_once(core.refresh(token, NEWEST) for token in tokens for _ in range(TABS))
            for number, tabs in enumerate(refreshed):
                assert [each["status"] for each in tabs] == ["OK"] * TABS
                assert {each["session"]["handle"] for each in tabs} == {handles[number]}
                assert {each["session"]["userId"] for each in tabs} == {f"user-{number}"}
                assert {claims_of(each["accessToken"]["token"])["sub"] for each in tabs} == {f"user-{number}"}
            verified = await all_at_once(
                core.verify(each["accessToken"]["token"], NEWEST, checkDatabase=True)
                for tabs in refreshed
                for each in tabs
            )
            for number, tabs in enumerate(verified):
                assert {each["session"]["handle"] for each in tabs} == {handles[number]}
                assert {each["session"]["userId"] for each in tabs} == {f"user-{number}"}
            tokens = [tabs[-1]["refreshToken"]["token"] for tabs in refreshed]

        ended = handles[::3]
        await core.remove(*ended, cdi=NEWEST)
        verified = await all_at_once(
            core.verify(each["accessToken"]["token"], NEWEST, checkDatabase=True) for tabs in refreshed for each in tabs
        )
        for handle, tabs in zip(handles, verified, strict=True):
            assert {each["status"] for each in tabs} == {"UNAUTHORISED" if handle in ended else "OK"}
    assert all(number >= PEOPLE for number in counting.together.values()), counting.together
