"""What each step on sessions does when nobody else is about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tallystick.storage.interface import AsyncSessionStore
from tallystick.testing.contract.rows import CAUSE, CHILD, LATER, LINE, NOW, OTHER_LINE, make_session, make_step
from tallystick.testing.contract.running import fetch, scenario
from tallystick.types import SessionRow

TEXTS = {
    "empty object": "{}",
    "unicode": '{"name":"Zoë 李 🔑","rtl":"שלום"}',
    "escaped NUL": r'{"nul":"a\u0000b"}',
    "backslashes, quotes and percents": r'{"a":"\\ \" \' % %s :name ? $1"}',
    "long": '{"a":"' + "x" * 65_000 + '"}',
}


async def keep(store: AsyncSessionStore, *rows: SessionRow) -> None:
    for row in rows:
        await store.insert_session(row)


async def list_all(store: AsyncSessionStore, limit: int) -> dict[str, SessionRow]:
    listed: dict[str, SessionRow] = {}
    page, after = await store.list_sessions("public", None, limit)
    listed |= {row.handle: row for row in page}
    while after is not None:
        page, after = await store.list_sessions("public", after, limit)
        listed |= {row.handle: row for row in page}
    return listed


async def keep_a_crowd(store: AsyncSessionStore) -> None:
    await keep(
        store,
        make_session(handle="young", created_at=NOW - 1),
        make_session(handle="old", created_at=NOW - 3),
        make_session(handle="tenant", created_at=NOW - 2, tenant_id="t1"),
        make_session(handle="over", expires_at=NOW),
        make_session(handle="stranger", user_id="other"),
        make_session(handle="capital", user_id="User"),
        make_session(handle="elsewhere", app_id="elsewhere"),
    )


class SessionScenarios:
    """Each step on sessions, alone."""

    @scenario
    async def test_a_session_comes_back_as_it_was_kept(self, store: AsyncSessionStore) -> None:
        row = make_session(previous=OTHER_LINE, used_at=NOW, generation=2**40)
        await store.insert_session(row)
        assert await store.load_session("public", "handle") == row

    @scenario
    async def test_a_session_without_previous_and_used_at_comes_back_with_none(self, store: AsyncSessionStore) -> None:
        await store.insert_session(make_session())
        row = await fetch(store)
        assert (row.previous, row.used_at) == (None, None)

    @scenario
    async def test_bytes_come_back_as_bytes(self, store: AsyncSessionStore) -> None:
        await store.insert_session(make_session(previous=OTHER_LINE))
        row = await fetch(store)
        assert {type(row.line), type(row.previous), type(row.nonce)} == {bytes}

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
    @scenario
    async def test_json_text_comes_back_to_the_letter(self, store: AsyncSessionStore, text: str) -> None:
        await keep(store, make_session(jwt_payload=text, session_data=text))
        row = await fetch(store)
        assert (row.jwt_payload, row.session_data) == (text, text)
        assert await store.update_jwt_payload("public", "handle", '{"b":1}', NOW, text)
        assert await store.update_jwt_payload("public", "handle", text, NOW)
        assert await store.update_session_data("public", "handle", text, NOW)
        assert await store.load_session("public", "handle") == row

    @scenario
    async def test_a_second_session_of_one_handle_is_an_error_and_changes_nothing(
        self, store: AsyncSessionStore
    ) -> None:
        first = make_session()
        await store.insert_session(first)
        with pytest.raises(Exception, match="handle"):
            await store.insert_session(make_session(user_id="intruder"))
        assert await store.load_session("public", "handle") == first

    @scenario
    async def test_one_handle_in_two_apps_is_two_sessions(self, store: AsyncSessionStore) -> None:
        rows = make_session(app_id="one"), make_session(app_id="two", user_id="other")
        await keep(store, *rows)
        assert [await store.load_session(app, "handle") for app in ("one", "two")] == list(rows)

    @scenario
    async def test_a_session_that_is_not_there_is_none(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session())
        assert await store.load_session("public", "handl") is None
        assert await store.load_session("public", "Handle") is None
        assert await store.load_session("public", "handle ") is None
        assert await store.load_session("elsewhere", "handle") is None

    @scenario
    async def test_an_expired_session_is_still_loaded(self, store: AsyncSessionStore) -> None:
        row = make_session(expires_at=1, absolute_expires_at=1)
        await store.insert_session(row)
        assert await store.load_session("public", "handle") == row

    # advance_line

    @scenario
    async def test_an_advance_writes_the_step_and_nothing_else(self, store: AsyncSessionStore) -> None:
        row = make_session(used_at=NOW)
        await keep(store, row, make_session(handle="bystander"))
        assert await store.advance_line("public", "handle", LINE, make_step())
        assert await store.load_session("public", "handle") == replace(
            row,
            generation=1,
            line=CHILD,
            previous=LINE,
            used_at=None,
            expires_at=LATER + 7,
            refreshed_at=NOW,
            user_agent="another browser",
            address="2001:db8::1",
        )
        assert await store.load_session("public", "bystander") == make_session(handle="bystander")

    @scenario
    async def test_an_advance_may_set_used_at(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session())
        assert await store.advance_line("public", "handle", LINE, make_step(used_at=NOW))
        assert (await fetch(store)).used_at == NOW

    @pytest.mark.parametrize(
        ("app_id", "handle", "expected_line"),
        [("elsewhere", "handle", LINE), ("public", "nobody", LINE), ("public", "handle", OTHER_LINE)],
        ids=["wrong app", "absent", "wrong line"],
    )
    @scenario
    async def test_an_advance_of_what_is_not_so_changes_nothing(
        self, store: AsyncSessionStore, app_id: str, handle: str, expected_line: bytes
    ) -> None:
        await keep(store, make_session())
        assert not await store.advance_line(app_id, handle, expected_line, make_step())
        assert not await store.mark_used(app_id, handle, expected_line, NOW, LATER)
        assert await store.load_session("public", "handle") == make_session()

    @scenario
    async def test_an_advance_done_twice_is_done_once(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session())
        step = make_step()
        assert await store.advance_line("public", "handle", LINE, step)
        assert not await store.advance_line("public", "handle", LINE, step)

    @scenario
    async def test_an_advance_to_the_same_line_counts_as_done(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session())
        step = make_step(line=LINE, generation=0, expires_at=LATER)
        assert await store.advance_line("public", "handle", LINE, step)
        assert await store.advance_line("public", "handle", LINE, step)

    # mark_used

    @scenario
    async def test_the_first_use_is_marked_with_the_new_end(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session(), make_session(handle="bystander"))
        assert await store.mark_used("public", "handle", LINE, NOW, LATER + 5)
        assert await store.load_session("public", "handle") == make_session(used_at=NOW, expires_at=LATER + 5)
        assert await store.load_session("public", "bystander") == make_session(handle="bystander")

    @scenario
    async def test_a_second_use_is_not_marked(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session())
        await store.mark_used("public", "handle", LINE, NOW, LATER)
        assert not await store.mark_used("public", "handle", LINE, NOW + 1, LATER + 1)
        assert (await fetch(store)).used_at == NOW

    @scenario
    async def test_a_use_at_zero_is_a_use(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session())
        assert await store.mark_used("public", "handle", LINE, 0, LATER)
        assert not await store.mark_used("public", "handle", LINE, NOW, LATER)
        assert (await fetch(store)).used_at == 0

    # update_jwt_payload, update_session_data

    @scenario
    async def test_a_payload_is_replaced_and_nothing_else(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session(), make_session(handle="bystander"))
        assert await store.update_jwt_payload("public", "handle", '{"a":1}', NOW)
        assert await store.load_session("public", "handle") == make_session(jwt_payload='{"a":1}')
        assert await store.load_session("public", "bystander") == make_session(handle="bystander")

    @scenario
    async def test_data_is_replaced_and_nothing_else(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session(), make_session(handle="bystander"))
        assert await store.update_session_data("public", "handle", '{"a":1}', NOW)
        assert await store.load_session("public", "handle") == make_session(session_data='{"a":1}')
        assert await store.load_session("public", "bystander") == make_session(handle="bystander")

    @scenario
    async def test_replacing_with_the_same_text_counts_as_done(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session())
        for _ in range(2):
            assert await store.update_jwt_payload("public", "handle", '{"role":"admin"}', NOW)
            assert await store.update_session_data("public", "handle", "{}", NOW)

    @pytest.mark.parametrize(("app_id", "handle"), [("elsewhere", "handle"), ("public", "nobody")])
    @scenario
    async def test_what_is_not_there_is_not_updated(self, store: AsyncSessionStore, app_id: str, handle: str) -> None:
        await keep(store, make_session())
        assert not await store.update_jwt_payload(app_id, handle, "{}", NOW)
        assert not await store.update_session_data(app_id, handle, '{"a":1}', NOW)
        assert await store.load_session("public", "handle") == make_session()

    @scenario
    async def test_a_payload_is_swapped_only_if_it_is_the_very_text_expected(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session(jwt_payload='{"a":1}'))
        for expected in ('{"a": 1}', '{"A":1}', '{"a":1} ', "", "{}"):
            assert not await store.update_jwt_payload("public", "handle", "{}", NOW, expected)
        assert await store.update_jwt_payload("public", "handle", '{"b":2}', NOW, '{"a":1}')
        assert not await store.update_jwt_payload("public", "handle", '{"c":3}', NOW, '{"a":1}')
        assert (await fetch(store)).jwt_payload == '{"b":2}'

    # The last millisecond

    @pytest.mark.parametrize("end", ["expires_at", "absolute_expires_at"])
    @pytest.mark.parametrize(("instant", "is_alive"), [(LATER - 1, True), (LATER, False), (LATER + 1, False)])
    @scenario
    async def test_a_session_is_alive_up_to_its_last_millisecond(
        self, store: AsyncSessionStore, end: str, instant: int, is_alive: bool
    ) -> None:
        ends = {"expires_at": LATER + 9, "absolute_expires_at": LATER + 9} | {end: LATER}
        await keep(store, make_session(**ends))
        assert await store.update_jwt_payload("public", "handle", "{}", instant) is is_alive
        assert await store.update_jwt_payload("public", "handle", "{}", instant, "{}") is is_alive
        assert await store.update_session_data("public", "handle", "{}", instant) is is_alive
        assert await store.list_handles_of_user("public", "user", None, instant) == ["handle"] * is_alive
        assert await store.purge_sessions("public", instant, 10) == (not is_alive)
        assert (await store.load_session("public", "handle") is not None) is is_alive

    # delete_sessions

    @scenario
    async def test_deleting_tells_which_were_there(self, store: AsyncSessionStore) -> None:
        await keep(
            store, *(make_session(handle=handle) for handle in "abc"), make_session(app_id="elsewhere", handle="z")
        )
        assert sorted(await store.delete_sessions("public", ["a", "nobody", "c", "a", "z"], CAUSE)) == ["a", "c"]
        assert await store.load_session("public", "a") is None
        assert await store.load_session("public", "b") is not None
        assert await store.load_session("elsewhere", "z") is not None

    @scenario
    async def test_deleting_again_deletes_nothing(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session())
        assert await store.delete_sessions("public", ["handle"], CAUSE) == ["handle"]
        assert await store.delete_sessions("public", ["handle"], CAUSE) == []

    @scenario
    async def test_deleting_nothing_deletes_nothing(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session())
        assert await store.delete_sessions("public", [], CAUSE) == []
        assert await store.load_session("public", "handle") is not None

    @scenario
    async def test_what_has_expired_is_deleted_too(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session(expires_at=1))
        assert await store.delete_sessions("public", ("handle",), CAUSE) == ["handle"]

    @scenario
    async def test_a_deleted_session_takes_no_further_step(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session())
        await store.delete_sessions("public", ["handle"], CAUSE)
        assert not await store.advance_line("public", "handle", LINE, make_step())
        assert not await store.mark_used("public", "handle", LINE, NOW, LATER)
        assert not await store.update_session_data("public", "handle", "{}", NOW)

    @scenario
    async def test_more_handles_than_a_statement_may_have_are_all_deleted(self, store: AsyncSessionStore) -> None:
        await keep(store, *(make_session(handle=f"h{number}") for number in range(3)))
        asked = ["h0", *(f"nobody-{number}" for number in range(1200)), "h1", "h2", "h0"]
        assert sorted(await store.delete_sessions("public", asked, CAUSE)) == ["h0", "h1", "h2"]

    # By user

    @scenario
    async def test_a_users_living_sessions_are_listed_oldest_first(self, store: AsyncSessionStore) -> None:
        await keep_a_crowd(store)
        assert await store.list_handles_of_user("public", "user", None, NOW) == ["old", "tenant", "young"]

    @scenario
    async def test_a_users_sessions_are_listed_by_tenant(self, store: AsyncSessionStore) -> None:
        await keep_a_crowd(store)
        assert await store.list_handles_of_user("public", "user", "public", NOW) == ["old", "young"]
        assert await store.list_handles_of_user("public", "user", "t1", NOW) == ["tenant"]
        assert await store.list_handles_of_user("public", "user", "t2", NOW) == []

    @scenario
    async def test_sessions_of_one_millisecond_are_listed_in_the_order_of_their_handles(
        self, store: AsyncSessionStore
    ) -> None:
        await keep(store, *(make_session(handle=handle) for handle in ("b", "c", "a")))
        assert await store.list_handles_of_user("public", "user", None, NOW) == ["a", "b", "c"]

    @scenario
    async def test_a_user_without_sessions_has_none_listed_and_none_deleted(self, store: AsyncSessionStore) -> None:
        await keep_a_crowd(store)
        assert await store.list_handles_of_user("public", "nobody", None, NOW) == []
        assert await store.delete_sessions_of_user("public", "nobody", None, CAUSE) == []
        assert await store.delete_sessions_of_user("nowhere", "user", None, CAUSE) == []

    @scenario
    async def test_all_sessions_of_a_user_are_deleted_expired_or_not(self, store: AsyncSessionStore) -> None:
        await keep_a_crowd(store)
        deleted = await store.delete_sessions_of_user("public", "user", None, CAUSE)
        assert sorted(deleted) == ["old", "over", "tenant", "young"]
        assert await store.delete_sessions_of_user("public", "user", None, CAUSE) == []
        assert await store.load_session("public", "stranger") is not None
        assert await store.load_session("elsewhere", "elsewhere") is not None

    @scenario
    async def test_a_users_sessions_are_deleted_by_tenant(self, store: AsyncSessionStore) -> None:
        await keep_a_crowd(store)
        assert await store.delete_sessions_of_user("public", "user", "t1", CAUSE) == ["tenant"]
        assert await store.list_handles_of_user("public", "user", None, NOW) == ["old", "young"]

    @scenario
    async def test_user_ids_in_any_script_are_told_apart(self, store: AsyncSessionStore) -> None:
        users = ["李", "Zoë", "Zoe\u0308", "zoë", "🔑", "' OR 1=1 --", "%"]
        await keep(store, *(make_session(handle=str(number), user_id=user) for number, user in enumerate(users)))
        listed = [await store.list_handles_of_user("public", user, None, NOW) for user in users]
        assert listed == [[str(number)] for number in range(len(users))]

    # purge_sessions

    @scenario
    async def test_a_purge_takes_what_is_over_and_no_more_than_its_limit(self, store: AsyncSessionStore) -> None:
        await keep(
            store,
            *(make_session(handle=f"over-{number}", expires_at=NOW) for number in range(3)),
            make_session(handle="over-absolutely", absolute_expires_at=NOW),
            make_session(handle="alive"),
            make_session(handle="elsewhere", app_id="elsewhere", expires_at=NOW),
        )
        assert [await store.purge_sessions("public", NOW, 3) for _ in range(3)] == [3, 1, 0]
        assert await store.load_session("public", "alive") is not None
        assert await store.load_session("elsewhere", "elsewhere") is not None

    # load_sessions, list_sessions, put_sessions

    @scenario
    async def test_of_several_sessions_those_that_there_are_come_as_they_are(self, store: AsyncSessionStore) -> None:
        rows = [make_session(handle=f"h{number:04}") for number in range(1200)]
        await store.put_sessions([*rows, over := make_session(handle="over", expires_at=NOW + 1)], NOW)
        await keep(store, make_session(app_id="elsewhere", handle="elsewhere"))
        wanted = ["h0001", "none", "over", "elsewhere", "h0001", "H0001"]
        found = await store.load_sessions("public", wanted)
        assert sorted(found, key=lambda row: row.handle) == [rows[1], over]
        assert await store.load_sessions("public", []) == []
        assert len(await store.load_sessions("public", [row.handle for row in rows])) == len(rows)

    @scenario
    async def test_all_sessions_of_an_app_are_listed_page_by_page_expired_or_not(
        self, store: AsyncSessionStore
    ) -> None:
        rows = {f"h{number:02}": make_session(handle=f"h{number:02}") for number in range(25)}
        rows["over"] = make_session(handle="over", expires_at=1)
        await keep(store, *rows.values(), make_session(app_id="elsewhere", handle="z"))
        assert await list_all(store, 7) == rows
        assert await list_all(store, 26) == rows
        assert await list_all(store, 1000) == rows

    @scenario
    async def test_an_app_without_sessions_lists_none(self, store: AsyncSessionStore) -> None:
        assert await list_all(store, 10) == {}

    @scenario
    async def test_what_is_there_all_the_while_is_listed_whatever_is_deleted_meanwhile(
        self, store: AsyncSessionStore
    ) -> None:
        handles = [f"h{number:02}" for number in range(40)]
        await keep(store, *(make_session(handle=handle) for handle in handles))
        page, after = await store.list_sessions("public", None, 10)
        listed = {row.handle for row in page}
        await store.delete_sessions("public", handles[::2], CAUSE)
        while after is not None:
            page, after = await store.list_sessions("public", after, 10)
            listed |= {row.handle for row in page}
        assert listed >= set(handles[1::2])

    @scenario
    async def test_sessions_are_put_whole_whether_they_are_there_or_not(self, store: AsyncSessionStore) -> None:
        await keep(store, make_session(handle="old", used_at=NOW, user_agent="before"), make_session(handle="other"))
        rows = [
            make_session(handle="old", line=CHILD, previous=LINE, generation=7, expires_at=LATER + 5, user_agent=None),
            make_session(handle="new", created_at=NOW - 5000, session_data='{"a":1}'),
        ]
        for _ in range(2):
            await store.put_sessions(rows, NOW)
            assert [await fetch(store, row.handle) for row in rows] == rows
        assert await fetch(store, "other") == make_session(handle="other")
        assert await store.list_handles_of_user("public", "user", None, NOW) == ["new", "old", "other"]
        assert await store.advance_line("public", "old", CHILD, make_step())
        assert sorted(await store.delete_sessions_of_user("public", "user", None, CAUSE)) == ["new", "old", "other"]

    @scenario
    async def test_putting_nothing_does_nothing_and_very_many_are_all_put(self, store: AsyncSessionStore) -> None:
        await store.put_sessions([], NOW)
        rows = {f"h{number:04}": make_session(handle=f"h{number:04}") for number in range(1200)}
        await store.put_sessions(list(rows.values()), NOW)
        assert await list_all(store, 500) == rows

    # open, close

    @scenario
    async def test_opening_and_closing_again_does_nothing(self, store: AsyncSessionStore) -> None:
        await store.open()
        await keep(store, make_session())
        await store.open()
        assert await store.load_session("public", "handle") == make_session()
        await store.close()
