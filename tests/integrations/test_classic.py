"""The 1.0.X interface, from create to theft, on each framework (spec/fdi.md 1.9, 3.1 and 3.2)."""

from datetime import timedelta

import pytest

from tallystick import AntiCsrf
from tallystick.presets import classic
from tallystick.storage.memory import MemoryStore
from tests.integrations.browser import Browser
from tests.integrations.conftest import Serve, Served
from tests.integrations.exchange import Reply

COOKIES = {"sAccessToken", "sRefreshToken", "sIdRefreshToken"}
HOUR = timedelta(hours=1, seconds=1)
MARKER = ("sIdRefreshToken", "/")


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve(**classic())


@pytest.fixture
def browser(served: Served) -> Browser:
    return open_browser(served)


def open_browser(served: Served) -> Browser:
    """One whose SDK knows neither ``rid`` nor ``st-auth-mode``."""
    return served.browser(None, rid=None)


def assert_cleared(reply: Reply) -> None:
    assert set(reply.cookies) == COOKIES
    for cookie in reply.cookies.values():
        assert (cookie.value, cookie.expires_at) == ("", 0)
        assert cookie.path == ("/auth/session/refresh" if cookie.name == "sRefreshToken" else "/")
    assert reply.session_headers == {"id-refresh-token": "remove"}


def test_a_sign_in_sets_three_cookies_and_two_headers_and_nothing_of_today_s(browser: Browser):
    now = browser.clock()
    reply = browser.sign_in()
    assert set(reply.cookies) == COOKIES
    expiry = {name: cookie.expires_at for name, cookie in reply.cookies.items()}
    assert expiry["sAccessToken"] == now + 3_600_000, "the cookie goes when its token does"
    assert expiry["sRefreshToken"] == expiry["sIdRefreshToken"] == now + 100 * 24 * 3_600_000
    assert set(reply.session_headers) == {"id-refresh-token", "anti-csrf"}
    marker = reply.cookies["sIdRefreshToken"].value
    assert reply.header("id-refresh-token") == f"{marker};{expiry['sIdRefreshToken']}"


def test_a_call_has_its_session_and_leaves_the_cookies_alone(browser: Browser):
    browser.sign_in()
    reply = browser.get("/me")
    assert (reply.status, reply.json["user"], reply.is_silent) == (200, "ada", True)


def test_a_token_that_has_run_out_is_refreshed_and_its_first_use_replaces_only_the_access_token(
    browser: Browser, served: Served
):
    browser.sign_in()
    first = browser.jar[MARKER]
    served.clock.advance(HOUR)
    # Its cookie has gone; a browser would no longer send it.
    browser.jar.pop(("sAccessToken", "/"))
    asked = browser.get("/me")
    assert (asked.status, asked.json, asked.is_silent) == (440, {"message": "try refresh token"}, True)
    refreshed = browser.refresh()
    assert (refreshed.status, set(refreshed.cookies)) == (200, COOKIES)
    assert set(refreshed.session_headers) == {"id-refresh-token", "anti-csrf"}
    assert browser.jar[MARKER] != first, "by its change other tabs know of the refresh"
    used = browser.get("/me")
    assert (used.status, set(used.cookies), used.session_headers) == (200, {"sAccessToken"}, {})
    assert browser.get("/me").is_silent


def test_without_an_access_token_a_refresh_is_asked_for_before_anything_else_is_looked_at(browser: Browser):
    assert (browser.get("/me").status, browser.get("/me").json) == (440, {"message": "try refresh token"})
    assert browser.get("/optional").json == {"user": None}
    browser.jar[MARKER] = "something"
    assert browser.get("/optional").json == {"message": "try refresh token"}


def test_an_access_token_without_its_marker_is_of_a_session_that_is_over(browser: Browser):
    browser.sign_in()
    browser.jar.pop(MARKER)
    assert browser.get("/optional").json == {"user": None}
    reply = browser.get("/me")
    assert (reply.status, reply.json) == (440, {"message": "unauthorised"})
    assert_cleared(reply)


def test_a_refresh_without_a_token_clears_all_three_cookies(browser: Browser):
    reply = browser.refresh()
    assert (reply.status, reply.json) == (440, {"message": "unauthorised"})
    assert_cleared(reply)


def test_a_refresh_needs_no_anti_csrf_token_as_these_clients_send_none(browser: Browser):
    browser.sign_in()
    browser.sends_anti_csrf = False
    assert browser.refresh().status == 200


def test_a_post_needs_the_session_s_own_anti_csrf_token(browser: Browser, served: Served):
    browser.sign_in()
    assert browser.post("/me").status == 200
    browser.sends_anti_csrf = False
    refused = browser.post("/me")
    assert (refused.status, refused.json, refused.is_silent) == (440, {"message": "try refresh token"}, True)
    other = open_browser(served)
    other.sign_in("eve")
    browser.kept["anti-csrf"], browser.sends_anti_csrf = other.kept["anti-csrf"], True
    assert browser.post("/me").status == 440


def test_without_anti_csrf_no_such_header_is_given_or_asked_for(serve: Serve):
    browser = open_browser(serve(**classic(anti_csrf=AntiCsrf.NONE)))
    assert set(browser.sign_in().session_headers) == {"id-refresh-token"}
    assert browser.post("/me").status == 200


def test_a_thief_is_noticed_and_both_lose_their_tokens(browser: Browser):
    browser.sign_in()
    thief = browser.copy()
    for one in (browser, thief):
        one.clock.advance(timedelta(minutes=1))  # type: ignore[attr-defined]
    assert browser.refresh().status == 200
    assert browser.get("/me").status == 200
    browser.clock.advance(timedelta(minutes=1))  # type: ignore[attr-defined]
    caught = thief.refresh()
    assert (caught.status, caught.json) == (440, {"message": "token theft detected"})
    assert_cleared(caught)
    assert_cleared(browser.refresh())


def test_signing_out_clears_all_three_cookies(browser: Browser):
    browser.sign_in()
    reply = browser.sign_out()
    assert reply.status == 200
    assert_cleared(reply)
    assert browser.get("/me").status == 440


def test_revoking_in_a_route_clears_all_three_cookies(browser: Browser):
    browser.sign_in()
    assert_cleared(browser.post("/revoke"))


def test_an_authorization_header_is_not_looked_at(browser: Browser):
    browser.sign_in()
    bearer = f"Bearer {browser.access_token}"
    browser.jar.clear()
    assert browser.get("/me", authorization=bearer).status == 440


def test_another_status_may_be_configured(serve: Serve):
    assert open_browser(serve(**classic(session_expired_status_code=401))).get("/me").status == 401


def test_a_browser_moves_to_today_s_interface_with_its_session(serve: Serve):
    store = MemoryStore()
    old = open_browser(serve({"url": store}, **classic()))
    handle = old.sign_in().json["handle"]
    today = serve({"url": store}).browser()
    today.jar = dict(old.jar)
    asked = today.get("/me")
    assert (asked.status, asked.json) == (401, {"message": "try refresh token"})
    moved = today.refresh()
    assert moved.status == 200
    assert moved.cookies["sIdRefreshToken"].value == ""
    assert moved.front_token["uid"] == "ada"
    assert MARKER not in today.jar
    assert today.get("/me").json["handle"] == handle
