"""What a sign-in does to the session before it, and the cap on a user's sessions, on each framework and store."""

from datetime import timedelta
from typing import Any

import pytest

from tallystick.presets import aal3
from tests.integrations.conftest import Serve


@pytest.mark.parametrize("mode", ["cookie", "header"])
def test_a_session_that_was_planted_or_copied_before_the_sign_in_is_worth_nothing_after_it(serve: Serve, mode: Any):
    browser = serve().browser(mode)
    planted = browser.sign_in("mallory").json["handle"]
    thief = browser.copy()
    signed_in = browser.sign_in("ada").json["handle"]
    assert signed_in != planted
    assert browser.get("/me").json["user"] == "ada"
    assert thief.get("/database").status == 401
    assert thief.copy().refresh().status == 401
    assert browser.get("/database").json["handle"] == signed_in


def test_signing_in_again_with_an_expired_access_token_ends_the_former_session_too(serve: Serve):
    served = serve()
    browser = served.browser()
    browser.sign_in("ada")
    former = browser.copy()
    served.clock.advance(timedelta(hours=2))
    browser.sign_in("ada")
    assert former.refresh().status == 401
    assert browser.get("/me").status == 200


def test_a_sign_in_ends_no_session_of_another_browser(serve: Serve):
    served = serve()
    phone, laptop = served.browser(), served.browser()
    phone.sign_in("ada")
    laptop.sign_in("ada")
    assert phone.get("/database").status == laptop.get("/database").status == 200


def test_changing_from_headers_to_cookies_ends_the_session_in_the_headers(serve: Serve):
    browser = serve().browser("header")
    browser.sign_in("ada")
    former = browser.copy()
    browser.mode = "cookie"
    browser.sign_in("ada")
    assert former.get("/database").status == 401
    assert browser.get("/database").status == 200


def test_a_bearer_token_of_another_system_bars_no_sign_in(serve: Serve):
    browser = serve().browser()
    assert browser.post("/login/ada", authorization="Bearer a-token-of-another-system").status == 200
    assert browser.get("/me").json["user"] == "ada"


def test_a_sign_in_beyond_the_cap_is_409_and_changes_nothing(serve: Serve):
    served = serve(max_sessions_per_user=1, session_limit_policy="reject")
    first, second = served.browser(), served.browser()
    first.sign_in("ada")
    refused = second.post("/login/ada")
    assert (refused.status, refused.json) == (409, {"message": "this user has 1 session already"})
    assert refused.is_silent
    assert first.get("/database").status == 200
    assert first.sign_in("ada"), "in its own place there is room"
    first.sign_out()
    second.sign_in("ada")


def test_or_it_ends_the_oldest(serve: Serve):
    served = serve(max_sessions_per_user=2)
    browsers = [served.browser() for _ in range(3)]
    for browser in browsers:
        served.clock.advance(timedelta(seconds=1))
        browser.sign_in("ada")
    assert [browser.get("/database").status for browser in browsers] == [401, 200, 200]


def test_a_browser_left_alone_is_signed_out_after_the_inactivity_timeout_and_one_in_use_is_not(serve: Serve):
    served = serve(**aal3())
    left, used = served.browser(), served.browser()
    for browser in (left, used):
        browser.sign_in("ada")
    for _ in range(4):
        served.clock.advance(timedelta(minutes=4))
        assert used.call("GET", "/me").status == 200
    reply = left.call("GET", "/me")
    assert (reply.status, left.is_signed_in, used.is_signed_in) == (401, False, True)
