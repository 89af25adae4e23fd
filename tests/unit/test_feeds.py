"""The feed of endings through both facades: who hears, how soon, and what silence does."""

import asyncio
import logging
import os
import re
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from types import ModuleType

import pytest

from tallystick import GeneralError, Sessions, Unauthorised
from tallystick.storage.memory import MemoryStore
from tallystick.telling import EndTeller
from tallystick.types import Ending
from tests.unit.workshop import SECRET

PATIENCE = 30
QUICK = {"feed_interval": timedelta(milliseconds=20), "feed_lease": timedelta(milliseconds=500)}


class Breakable(MemoryStore):
    """A log that can be out of reach for a while, or hang."""

    is_broken = False

    def read_endings(self, app_id, after, limit):
        if self.is_broken:
            raise OSError("out of reach")
        return super().read_endings(app_id, after, limit)


@pytest.fixture
def store():
    return Breakable()


@pytest.fixture
def made(facades, store):
    """Facades on one store, closed at the end."""
    opened = []

    def make(**settings):
        sessions = facades.make(store, **{"instant_revocation": True, **QUICK, **settings})
        opened.append(sessions)
        sessions.open()
        return sessions

    yield make
    for sessions in opened:
        sessions.close()


def refused(sessions, token, **options):
    """Whether the token is refused, soon."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            sessions.get_session(token, **options)
        except Unauthorised:
            return True
        time.sleep(0.005)
    return False


def becomes(sessions, *, fresh):
    """Whether the feed is heard, or silent, soon."""
    deadline = time.monotonic() + PATIENCE
    while sessions.feed.state.is_fresh is not fresh:
        if time.monotonic() > deadline:
            return False
        sessions.get_jwks()  # the loop of an asynchronous feed goes on only while something is awaited
        time.sleep(0.01)
    return True


def is_silent(sessions):
    return becomes(sessions, fresh=False)


def is_heard(sessions):
    return becomes(sessions, fresh=True)


def test_without_it_there_is_no_feed(facades):
    sessions = facades.make()
    assert sessions.feed is None
    created = sessions.create_new_session("ada")
    sessions.revoke_session(created.session.handle)
    assert sessions.get_session(created.access_token.token).session.user_id == "ada"


@pytest.mark.parametrize("how", ["handle", "user", "sign-in", "by another process"])
def test_a_session_that_ends_is_refused_without_asking_the_store(made, store, how):
    sessions, other = made(), made()
    created = sessions.create_new_session("ada")
    token = created.access_token.token
    assert sessions.get_session(token).session.user_id == "ada"
    match how:
        case "handle":
            sessions.revoke_session(created.session.handle)
        case "user":
            sessions.revoke_all_sessions_for_user("ada")
        case "sign-in":
            sessions.create_new_session("ada", replaces=token)
        case _:
            other.revoke_session(created.session.handle)
    assert refused(sessions, token)
    assert refused(other, token)
    assert sessions.feed.has_ended(created.session.handle)


def test_a_role_that_is_taken_away_is_gone_at_once_and_the_new_token_costs_no_more(made):
    sessions = made()
    created = sessions.create_new_session("ada", {"role": "admin"})
    token = created.access_token.token
    sessions.update_jwt_payload(created.session.handle, {"role": "user"})
    deadline = time.monotonic() + PATIENCE
    while (found := sessions.get_session(token)).session.jwt_payload == {"role": "admin"}:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert found.session.jwt_payload == {"role": "user"}
    assert sessions.get_session(found.access_token.token).access_token is None


def test_where_the_log_is_out_of_reach_the_store_is_asked(made, store, caplog):
    sessions = made()
    created = sessions.create_new_session("ada")
    assert is_heard(sessions)
    with caplog.at_level(logging.WARNING, "tallystick"):
        store.is_broken = True
        assert is_silent(sessions)
        assert sessions.get_session(created.access_token.token).session.user_id == "ada"
        sessions.revoke_session(created.session.handle)
        with pytest.raises(Unauthorised):
            sessions.get_session(created.access_token.token)
        store.is_broken = False
        deadline = time.monotonic() + PATIENCE
        while len(told := [record.message for record in caplog.records if "feed" in record.message]) < 2:
            sessions.get_jwks()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert is_heard(sessions)
    assert told == ["the feed of endings is silent: OSError", "the feed of endings goes on"]


def test_or_everything_is_refused_or_accepted_globally_or_at_one_place(made, store):
    sessions = made(on_feed_silence="refuse")
    created = sessions.create_new_session("ada")
    store.is_broken = True
    assert is_silent(sessions)
    token = created.access_token.token
    with pytest.raises(GeneralError) as silent:
        sessions.get_session(token)
    assert silent.value.reason == "feed_silent"
    assert sessions.get_session(token, on_feed_silence="check_store").session.user_id == "ada"
    sessions.revoke_session(created.session.handle)
    assert sessions.get_session(token, on_feed_silence="accept").session.user_id == "ada"
    with pytest.raises(Unauthorised):
        sessions.get_session(token, on_feed_silence="check_store")


def test_a_word_that_is_none_is_refused_also_while_nothing_is_silent(made):
    sessions = made()
    token = sessions.create_new_session("ada").access_token.token
    with pytest.raises(GeneralError, match="'acept', but must be 'check_store', 'refuse' or 'accept'") as refused:
        sessions.get_session(token, on_feed_silence="acept")
    assert refused.value.reason == "bad_config"


def test_the_app_is_told_of_each_end_in_order_and_of_none_that_was_before(facades, made):
    told = []

    def plain(ending):
        told.append((ending.handle, ending.kind, ending.user_id))
        if len(told) == 1:
            raise ValueError("the app's own fault")

    async def coroutine(ending):
        plain(ending)

    before = made()
    before.revoke_session(before.create_new_session("ada").session.handle)
    sessions = made(on_session_end=coroutine if facades.kind == "async" else plain)
    handles = [sessions.create_new_session(f"user-{number}").session.handle for number in range(20)]
    for handle in handles:
        before.revoke_session(handle)
    deadline = time.monotonic() + PATIENCE
    while len(told) < 20 and time.monotonic() < deadline:
        sessions.get_jwks()
        time.sleep(0.01)
    assert told == [(handle, "revoked", f"user-{number}") for number, handle in enumerate(handles)]


def test_a_handler_that_would_never_be_told_is_refused(facades):
    for settings in ({"on_session_end": print}, {"on_session_end": "mail", "instant_revocation": True}):
        with pytest.raises(GeneralError) as refusal:
            facades.make(**settings)
        assert refusal.value.reason == "bad_config"


def test_a_coroutine_function_is_no_handler_of_synchronous_code():
    async def handler(ending): ...

    with pytest.raises(GeneralError, match="coroutine"):
        Sessions("memory://", secret=SECRET, on_session_end=handler, instant_revocation=True)


def test_a_look_that_hangs_is_told_of_and_given_up_and_another_thread_takes_over(monkeypatch, caplog):
    monkeypatch.setattr("tallystick.feeds.STUCK_SECONDS", 1)
    hang = threading.Event()

    class Hanging(MemoryStore):
        looks = 0

        def read_endings(self, app_id, after, limit):
            self.looks += 1
            if self.looks == 2:
                hang.wait()
            return super().read_endings(app_id, after, limit)

    store = Hanging()
    with Sessions(store, secret=SECRET, algorithm="EdDSA", instant_revocation=True, **QUICK) as sessions:
        created = sessions.create_new_session("ada")
        sessions.revoke_session(created.session.handle)
        deadline = time.monotonic() + PATIENCE
        while not sessions.feed.has_ended(created.session.handle):
            with suppress(Unauthorised):
                sessions.get_session(created.access_token.token)
            assert time.monotonic() < deadline
            time.sleep(0.01)
        hang.set()
    told = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(r"the feed of endings is silent: the log was last read \d+\.\d seconds ago", told[0])
    assert told[1] == "the feed of endings goes on"


def test_so_is_one_with_more_endings_than_there_is_room_for(made, monkeypatch, caplog):
    monkeypatch.setattr("tallystick.protocol.revocation.FULL", 2)
    sessions = made()
    created = [sessions.create_new_session("ada") for _ in range(3)]
    sessions.revoke_all_sessions_for_user("ada")
    assert all(refused(sessions, one.access_token.token) for one in created), "by the store, if need be"
    assert is_silent(sessions)
    assert sessions.feed.state.endings == 2
    assert "more sessions have ended than" in caplog.text


def test_a_token_that_outlives_the_memory_of_endings_is_asked_for(facades, made, store, clock):
    """As when ``access_token_validity`` was shortened: a session's end is forgotten before its tokens are over."""
    before = facades.make(store, access_token_validity=timedelta(days=1))
    created, other = (before.create_new_session("ada") for _ in range(2))
    sessions = made()
    sessions.revoke_session(created.session.handle)
    clock.advance(timedelta(hours=2))
    sessions.purge_expired()
    later = made()
    assert refused(later, created.access_token.token)
    assert later.get_session(other.access_token.token).session == other.session
    before.close()


def test_a_role_that_one_request_fetched_is_told_of_when_it_is_merged_by_handle(made, store):
    sessions = made()
    created = sessions.create_new_session("ada", {"role": "admin"})
    store.update_jwt_payload(
        "public", created.session.handle, "{}", 0
    )  # as a fetch of a stale claim does, which tells nobody
    sessions.merge_into_jwt_payload(created.session.handle, {"role": None})
    deadline = time.monotonic() + PATIENCE
    while sessions.get_session(created.access_token.token).session.jwt_payload:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_app_s_own_module_called_uwsgi_is_not_taken_for_the_server(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "uwsgi", ModuleType("uwsgi"))
    sessions = made()
    created = sessions.create_new_session("ada")
    assert sessions.get_session(created.access_token.token).session == created.session
    assert is_heard(sessions)


def end_of(handle):
    return Ending(handle, "ada", "public", "revoked", 0, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_handler_that_leaves_its_thread_is_called_for_the_next_ending_all_the_same():
    told, threads = [], []

    def handler(ending):
        told.append(ending.handle)
        threads.append(threading.current_thread())
        raise SystemExit

    teller = EndTeller(handler, may_be_async=False)
    for handle in ("first", "second"):
        teller.tell(end_of(handle))
        deadline = time.monotonic() + PATIENCE
        while handle not in told or threads[-1].is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_handler_whose_event_loop_was_left_is_called_in_the_next_one():
    async def handler(ending):
        told.set_result(ending.handle)
        await asyncio.sleep(PATIENCE)

    teller = EndTeller(handler, may_be_async=True)

    async def tell(handle):
        nonlocal told
        told = asyncio.get_running_loop().create_future()
        teller.tell(end_of(handle))
        assert await asyncio.wait_for(told, PATIENCE) == handle

    told = None
    asyncio.run(tell("first"))
    asyncio.run(tell("second"))


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12: that is the point
def test_a_fork_of_a_process_that_is_telling_tells_by_itself():
    reader, writer = os.pipe()
    parent, first_is_told, may_go_on, told = os.getpid(), threading.Event(), threading.Event(), threading.Event()

    def handler(ending):
        if os.getpid() == parent:
            first_is_told.set()
            may_go_on.wait(PATIENCE)
        else:
            os.write(writer, ending.handle.encode())
            told.set()

    teller = EndTeller(handler, may_be_async=False)
    teller.tell(end_of("first"))
    assert first_is_told.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        try:
            teller.tell(end_of("second"))
            told.wait(PATIENCE)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    assert os.read(reader, 100) == b"second"
    os.close(reader)
    may_go_on.set()
