"""In a sync framework no event loop is ever started, nor made (P-50)."""

import asyncio
from asyncio.base_events import BaseEventLoop
from datetime import timedelta
from typing import Any

import pytest

from tests.integrations.conftest import Serve
from tests.integrations.frameworks import FRAMEWORKS
from tests.integrations.plan import AppUnderTest

SYNC = [framework for framework in FRAMEWORKS if framework.name in ("wsgi", "flask", "django-wsgi", "drf")]


@pytest.fixture(params=SYNC, ids=lambda framework: framework.name)
def framework(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AppUnderTest:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("an event loop, in a sync framework")

    monkeypatch.setattr(BaseEventLoop, "__init__", refuse)
    monkeypatch.setattr(BaseEventLoop, "run_forever", refuse)
    # What was not made to the end complains when it is collected.
    monkeypatch.setattr(BaseEventLoop, "__del__", lambda _loop: None)
    with pytest.raises(AssertionError):
        asyncio.new_event_loop()
    found: AppUnderTest = request.param
    return found


def test_a_whole_story_is_told_without_an_event_loop(serve: Serve):
    served = serve({"has_cors": True, "has_own_middleware": True})
    browser = served.browser()
    body = [("content-type", "application/json")]
    assert browser.get("/me").status == 401
    browser.sign_in()
    thief = browser.copy()
    served.clock.advance(timedelta(hours=1, seconds=1))
    assert browser.call("GET", "/me").status == 200
    assert browser.send("POST", "/data", body, b'{"cart":[]}').status == 200
    assert browser.send("POST", "/payload", body, b'{"role":"admin"}').status == 200
    for path in ("/database", "/data", "/times", "/optional", "/sync", "/auth/jwt/jwks.json"):
        assert browser.get(path).status == 200
    assert browser.get("/stream").chunks == [b"one", b"two", b"three"]
    served.clock.advance(timedelta(minutes=1))
    assert thief.refresh().json == {"message": "token theft detected"}
    assert browser.get("/database").clears_everything
    browser.sign_in()
    assert browser.sign_out().clears_cookies
