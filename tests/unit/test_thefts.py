"""What happens besides the answer when a theft is found: the event, and the app's handler."""

import asyncio
import functools
import threading
from datetime import timedelta

import pytest

from tallystick import (
    AsyncSessions,
    BadInput,
    ClientInfo,
    GeneralError,
    Sessions,
    TheftEvent,
    TokenTheftDetected,
    Unauthorised,
)
from tallystick.notices import AT_ONCE
from tallystick.testing import START
from tests.unit.workshop import SECRET

VICTIM = ClientInfo("a browser", "192.0.2.1")
THIEF = ClientInfo("a script", "198.51.100.7")
PATIENCE = 20


def steal(sessions, user="user-1"):
    """Two holders of one token go on; the victim comes second."""
    created = sessions.create_new_session(user, tenant_id="t1", client=VICTIM)
    text = created.refresh_token.token
    his, hers = (sessions.refresh_session(text, client=one).refresh_token.token for one in (THIEF, VICTIM))
    sessions.refresh_session(his, client=THIEF)
    with pytest.raises(TokenTheftDetected) as caught:
        sessions.refresh_session(hers, client=VICTIM)
    return caught.value, hers


def event_of(error, **changes):
    values = {
        "app_id": "public",
        "tenant_id": "t1",
        "session_handle": error.session_handle,
        "user_id": "user-1",
        "kind": "sibling",
        "presented_generation": 1,
        "line_generation": 1,
        "detected_at": START,
        "presenter_user_agent": "a browser",
        "presenter_address": "192.0.2.1",
        "holder_user_agent": "a script",
        "holder_address": "198.51.100.7",
    }
    return TheftEvent(**(values | changes))


def test_a_theft_is_recorded_once_with_both_sides(sessions):
    error, hers = steal(sessions)
    assert sessions.get_theft_events() == [event_of(error)] == [error.event]
    with pytest.raises(Unauthorised):
        sessions.refresh_session(hers)
    assert len(sessions.get_theft_events()) == 1


def test_thefts_are_listed_by_user_and_newest_first(sessions, clock):
    first, _ = steal(sessions)
    clock.advance(timedelta(minutes=1))
    second, _ = steal(sessions, "user-2")
    assert [event.session_handle for event in sessions.get_theft_events()] == [
        second.session_handle,
        first.session_handle,
    ]
    assert sessions.get_theft_events(limit=1) == [second.event]
    assert sessions.get_theft_events("user-1") == [first.event]
    assert sessions.get_theft_events("nobody") == []


@pytest.mark.parametrize("limit", [0, -1, 1001, "10", True, None, 2.0])
def test_a_limit_out_of_range_is_refused(sessions, limit):
    with pytest.raises(BadInput) as refused:
        sessions.get_theft_events(limit=limit)
    assert refused.value.reason == "bad_limit"


def test_a_purge_drops_events_that_are_old_enough(facades, clock):
    sessions = facades.make(theft_retention=timedelta(days=30))
    steal(sessions)
    clock.advance(timedelta(days=30))
    sessions.purge_expired()
    assert len(sessions.get_theft_events()) == 1
    clock.advance(timedelta(milliseconds=1))
    sessions.purge_expired()
    assert sessions.get_theft_events() == []


# What is kept of a client


def test_information_names_the_client_that_refreshed_last(sessions, clock):
    created = sessions.create_new_session("u", client=VICTIM)
    handle = created.session.handle
    child = sessions.refresh_session(created.refresh_token.token, client=THIEF)
    found = sessions.get_session_information(handle)
    assert (found.user_agent, found.address, found.time_refreshed) == ("a browser", "192.0.2.1", START)
    clock.advance(timedelta(minutes=1))
    sessions.refresh_session(child.refresh_token.token, client=THIEF)
    found = sessions.get_session_information(handle)
    assert (found.user_agent, found.address, found.time_refreshed) == ("a script", "198.51.100.7", START + 60_000)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"keep_user_agent": False}, (None, "192.0.2.1")),
        ({"keep_address": False}, ("a browser", None)),
    ],
)
def test_what_the_settings_forbid_is_kept_nowhere(facades, settings, kept):
    sessions = facades.make(**settings)
    created = sessions.create_new_session("u", client=VICTIM)
    found = sessions.get_session_information(created.session.handle)
    assert (found.user_agent, found.address) == kept
    event = steal(sessions)[0].event
    assert (event.presenter_user_agent, event.presenter_address) == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("x" * 10_000, "x" * 255),
        ("a\0b\r\nc\x1b[31md\ud800e", "abc[31mde"),
        ("", None),
        ("Zoë's browser", "Zoë's browser"),
    ],
)
def test_what_a_client_says_of_itself_is_cut_to_what_is_safe(sessions, given, kept):
    created = sessions.create_new_session("u", client=ClientInfo(given, given[:64]))
    found = sessions.get_session_information(created.session.handle)
    assert found.user_agent == kept
    assert found.address == (None if kept is None else kept[:64])


@pytest.mark.parametrize("client", ["a browser", {"user_agent": "x"}, ClientInfo(b"bytes"), ClientInfo(None, 7)])
def test_a_client_that_is_none_is_refused(sessions, client):
    text = sessions.create_new_session("u").refresh_token.token
    for call in (
        lambda: sessions.create_new_session("u", client=client),
        lambda: sessions.refresh_session(text, client=client),
    ):
        with pytest.raises(BadInput) as refused:
            call()
        assert refused.value.reason == "bad_client"


# The handler


def test_the_handler_is_called_once_with_the_event(facades):
    told, seen = [], threading.Event()

    def handler(event):
        told.append((event, threading.current_thread()))
        seen.set()

    error, _ = steal(facades.make(on_token_theft=handler))
    assert seen.wait(PATIENCE)
    [(event, thread)] = told
    assert event == error.event
    assert thread is not threading.main_thread()
    assert thread.daemon, "it must not keep the process from ending"


def test_a_handler_that_raises_changes_nothing_and_is_logged(facades, caplog):
    seen = threading.Event()

    def handler(_event):
        seen.set()
        raise RuntimeError("no mail today")

    error, _ = steal(facades.make(on_token_theft=handler))
    assert seen.wait(PATIENCE)
    for thread in threading.enumerate():
        if thread.name == "tallystick-theft":
            thread.join(PATIENCE)
    assert f"on_token_theft failed for session {error.session_handle}" in caplog.text
    assert "no mail today" in caplog.text


def test_handlers_that_hang_hold_up_nobody_and_are_bounded(facades, caplog):
    release, started = threading.Event(), threading.Semaphore(0)

    def handler(_event):
        started.release()
        release.wait(PATIENCE)

    sessions = facades.make(on_token_theft=handler)
    for _ in range(AT_ONCE):
        steal(sessions)
        assert started.acquire(timeout=PATIENCE)
    error, _ = steal(sessions)
    assert f"on_token_theft not called for {error.session_handle}" in caplog.text
    assert not started.acquire(blocking=False)
    assert len(sessions.get_theft_events()) == AT_ONCE + 1, "it is recorded all the same"
    release.set()
    for thread in threading.enumerate():
        if thread.name == "tallystick-theft":
            thread.join(PATIENCE)
    steal(sessions)
    assert started.acquire(timeout=PATIENCE), "and the next is told again"


async def steal_async(sessions):
    created = await sessions.create_new_session("u")
    text = created.refresh_token.token
    children = [(await sessions.refresh_session(text)).refresh_token.token for _ in range(2)]
    await sessions.refresh_session(children[0])
    with pytest.raises(TokenTheftDetected) as caught:
        await sessions.refresh_session(children[1])
    return caught.value


class Caller:
    def __init__(self):
        self.told = asyncio.Queue()

    async def __call__(self, event):
        await self.told.put(event)

    async def second(self, _nothing, event):
        await self.told.put(event)


@pytest.mark.parametrize("kind", ["method", "partial", "object"])
async def test_a_coroutine_function_is_awaited_in_the_apps_own_loop(kind):
    caller = Caller()
    handler = {"method": caller.__call__, "partial": functools.partial(caller.second, None), "object": caller}[kind]
    sessions = AsyncSessions("memory://", secret=SECRET, algorithm="EdDSA", on_token_theft=handler)
    error = await steal_async(sessions)
    assert await asyncio.wait_for(caller.told.get(), PATIENCE) == error.event


async def test_a_coroutine_that_raises_or_hangs_changes_nothing(caplog):
    async def handler(event):
        if not hung:
            hung.append(asyncio.current_task())
            await asyncio.Event().wait()
        failed.set()
        raise RuntimeError("no mail today")

    hung, failed = [], asyncio.Event()
    sessions = AsyncSessions("memory://", secret=SECRET, algorithm="EdDSA", on_token_theft=handler)
    await steal_async(sessions)
    await steal_async(sessions)
    await asyncio.wait_for(failed.wait(), PATIENCE)
    await asyncio.sleep(0)
    assert "no mail today" in caplog.text
    hung[0].cancel()


def test_a_coroutine_function_is_refused_where_nothing_can_await_it():
    async def handler(_event): ...

    for wrong in (handler, functools.partial(handler), Caller()):
        with pytest.raises(GeneralError, match="Sessions cannot await") as refused:
            Sessions("memory://", secret=SECRET, on_token_theft=wrong)
        assert refused.value.reason == "bad_config"


def test_what_is_no_function_is_refused(facades):
    with pytest.raises(GeneralError, match="on_token_theft") as refused:
        facades.make(on_token_theft="mail@example.com")
    assert refused.value.reason == "bad_config"
