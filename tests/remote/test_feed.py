"""Facades that follow the stream of endings of cores in processes of their own, which are killed and started again."""

import asyncio
import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tallystick import GeneralError, Unauthorised
from tests.remote.cores import WAIT_SECONDS, RemoteFacades, Scripted
from tests.service.operating import Service
from tests.service.serving import write_settings
from tests.unit.facades import KINDS
from tests.unit.test_facades import refuse

API_KEY = "a-key-of-at-least-20-characters"


@pytest.fixture
def cores(tmp_path) -> Iterator[list[Service]]:
    """Two services on one database."""
    arguments = ["--config", str(write_settings(tmp_path, api_keys=API_KEY)), f"sqlite:///{tmp_path}/core.db"]
    pair = [Service(tmp_path, arguments) for _ in range(2)]
    try:
        for core in pair:
            core.start()
        yield pair
    finally:
        for core in pair:
            core.kill()


class Apps(RemoteFacades):
    """Facades that follow, and time that passes for them."""

    def follow(self, *cores: Service, **settings: Any) -> Any:
        url = ",".join(core.url for core in cores)
        defaults = {"api_key": API_KEY, "core_timeout": timedelta(seconds=20), "instant_revocation": True}
        sessions = self.make(url, **{**defaults, **settings}, entropy=None)
        sessions.open()
        return sessions

    def wait_for(self, condition) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "what was waited for did not come"
            if self.kind == "sync":
                time.sleep(0.02)
            else:
                self.runner.run(asyncio.sleep(0.02))  # its tasks run meanwhile


@pytest.fixture(params=KINDS)
def apps(request) -> Iterator[Apps]:
    with asyncio.Runner() as runner:
        made = Apps(request.param, None, runner, None)
        yield made
        made.close()


def is_refused(sessions: Any, token: str) -> bool:
    """By the feed alone: where it is silent, this accepts."""
    try:
        sessions.get_session(token, on_feed_silence="accept")
    except Unauthorised as error:
        return error.reason == "no_session"
    return False


def test_what_one_app_revokes_another_refuses_without_asking(apps, cores):
    one, other = apps.follow(cores[0]), apps.follow(cores[1])
    first, second = (one.create_new_session("ada") for _ in range(2))
    assert other.get_session(first.access_token.token).session == first.session
    apps.wait_for(lambda: other.feed.state.is_fresh)
    one.revoke_session(first.session.handle)
    apps.wait_for(lambda: is_refused(other, first.access_token.token))
    apps.wait_for(lambda: is_refused(one, first.access_token.token))
    assert not is_refused(other, second.access_token.token)
    one.revoke_all_sessions_for_user("ada")
    apps.wait_for(lambda: is_refused(other, second.access_token.token))
    latecomer = apps.follow(cores[0])
    apps.wait_for(lambda: is_refused(latecomer, second.access_token.token))


def test_a_payload_that_was_changed_elsewhere_shows_at_once(apps, cores):
    one, other = apps.follow(cores[0]), apps.follow(cores[1])
    created = one.create_new_session("ada", {"role": "admin", "a": 1})
    one.merge_into_jwt_payload(created.session.handle, {"role": None})
    token = created.access_token.token
    apps.wait_for(lambda: other.get_session(token, on_feed_silence="accept").session.jwt_payload == {"a": 1})


def test_while_the_core_is_gone_the_app_s_choice_holds_and_later_nothing_is_missing(apps, cores):
    one, other = cores
    sessions, elsewhere = apps.follow(one), apps.follow(other, instant_revocation=False)
    created = sessions.create_new_session("ada")
    token = created.access_token.token
    apps.wait_for(lambda: sessions.feed.state.is_fresh)
    one.kill()
    apps.wait_for(lambda: not sessions.feed.state.is_fresh)
    elsewhere.revoke_session(created.session.handle)
    assert refuse(GeneralError, lambda: sessions.get_session(token)).reason == "store_failed"
    silent = refuse(GeneralError, lambda: sessions.get_session(token, on_feed_silence="refuse"))
    assert silent.reason == "feed_silent"
    assert not is_refused(sessions, token)
    one.start()
    apps.wait_for(lambda: is_refused(sessions, token))
    apps.wait_for(lambda: sessions.feed.state.is_fresh)


def test_where_one_host_dies_another_tells(apps, cores):
    one, other = cores
    sessions = apps.follow(one, other)
    created = sessions.create_new_session("ada")
    apps.wait_for(lambda: sessions.feed.state.is_fresh)
    one.kill()
    apps.follow(other).revoke_session(created.session.handle)
    apps.wait_for(lambda: is_refused(sessions, created.access_token.token))
    one.start()
    other.kill()
    apps.wait_for(lambda: sessions.feed.state.is_fresh)
    assert is_refused(sessions, created.access_token.token)


def test_a_core_without_the_stream_is_told_at_the_start(apps, scripted: Scripted):
    scripted.answer(200, b'{"versions": ["5.4"]}')
    scripted.answer(404, b"")
    sessions = apps.make(scripted.url, instant_revocation=True, entropy=None)
    error = refuse(GeneralError, sessions.open)
    assert (error.reason, "check_database" in error.message) == ("no_feed", True)
    assert scripted.heard[-1][:2] == ("HEAD", "/tallystick/endings")


def test_and_an_app_that_was_not_opened_asks_it_each_time_and_its_log_says_why(facades, board, clock, caplog):
    url = board.add(clock)
    board.without_feed.add(url)
    with caplog.at_level(logging.WARNING, "tallystick"):
        sessions = facades.make(url, instant_revocation=True)
        error = refuse(GeneralError, sessions.open)
        created = sessions.create_new_session("ada")
        token = created.access_token.token
        assert sessions.get_session(token).session == created.session
        assert not sessions.feed.state.is_fresh
        sessions.revoke_session(created.session.handle)
        assert refuse(Unauthorised, lambda: sessions.get_session(token)).reason == "no_session"
    assert error.reason == "no_feed"
    assert f"the feed of endings is silent: {error.message}" in caplog.messages
