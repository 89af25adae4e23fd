"""The ready routes for "your devices", on each framework."""

from datetime import timedelta

import pytest

from tests.integrations.browser import Browser
from tests.integrations.conftest import Serve, Served

DEVICES = "/auth/session/devices"


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve(device_routes=True)


def sign_in(served: Served, user: str = "ada", agent: str = "a browser") -> Browser:
    browser = served.browser()
    assert browser.post(f"/login/{user}", user_agent=agent).status == 200
    return browser


def handle_of(browser: Browser) -> str:
    return str(browser.get("/me").json["handle"])


def test_the_routes_are_not_there_unless_asked_for(serve: Serve):
    browser = serve().browser()
    browser.sign_in()
    assert browser.get(DEVICES).status == 404


def test_a_user_sees_their_own_sessions_newest_first(served: Served):
    first = sign_in(served, agent="a phone")
    began = served.clock()
    served.clock.advance(timedelta(seconds=1))
    second = sign_in(served, agent="a laptop")
    sign_in(served, "bob")
    reply = second.get(DEVICES)
    assert (reply.status, reply.header("cache-control")) == (200, "no-store")
    laptop, phone = reply.json["devices"]
    assert (phone["handle"], laptop["handle"]) == (handle_of(first), handle_of(second))
    assert (phone["isCurrent"], laptop["isCurrent"]) == (False, True)
    assert (phone["userAgent"], laptop["userAgent"]) == ("a phone", "a laptop")
    assert phone["timeCreated"] == phone["timeRefreshed"] == began
    assert phone["expiry"] > served.clock()
    assert set(phone) == {"handle", "isCurrent", "timeCreated", "timeRefreshed", "expiry", "userAgent", "address"}


def test_a_user_ends_one_of_their_sessions(served: Served):
    here, there = sign_in(served), sign_in(served)
    reply = here.send("DELETE", f"{DEVICES}/{handle_of(there)}")
    assert (reply.status, reply.json, reply.is_silent) == (200, {"ended": 1}, True)
    assert there.get("/database").status == 401
    assert here.get("/database").status == 200


def test_a_slash_with_no_handle_behind_it_ends_nothing(served: Served):
    here, there = sign_in(served), sign_in(served)
    reply = here.send("DELETE", f"{DEVICES}/")
    assert (reply.status, reply.json) == (404, {"message": "you have no such session"})
    for browser in (here, there):
        assert browser.get("/database").status == 200


def test_a_user_who_ends_their_own_session_is_signed_out(served: Served):
    browser = sign_in(served)
    reply = browser.send("DELETE", f"{DEVICES}/{handle_of(browser)}")
    assert (reply.status, reply.json, reply.clears_cookies) == (200, {"ended": 1}, True)


def test_a_user_ends_all_their_other_sessions_and_nobody_else_s(served: Served):
    here, bob = sign_in(served), sign_in(served, "bob")
    others = [sign_in(served) for _ in range(3)]
    assert here.send("DELETE", DEVICES).json == {"ended": 3}
    assert [other.get("/database").status for other in others] == [401] * 3
    assert here.get("/database").status == bob.get("/database").status == 200
    assert here.send("DELETE", DEVICES).json == {"ended": 0}


def test_another_user_s_session_cannot_be_ended(served: Served):
    ada, bob = sign_in(served), sign_in(served, "bob")
    for handle in (handle_of(bob), "nonsense", "%00", "x" * 5_000):
        assert ada.send("DELETE", f"{DEVICES}/{handle}").status == 404
    assert ada.send("DELETE", f"{DEVICES}/{handle_of(bob)}/more").status == 404
    assert bob.get("/database").status == 200


@pytest.mark.parametrize(("method", "path"), [("GET", DEVICES), ("DELETE", DEVICES), ("DELETE", f"{DEVICES}/x")])
def test_the_routes_need_a_session_that_still_is(served: Served, method: str, path: str):
    assert served.browser().send(method, path).status == 401
    ended, other = sign_in(served), sign_in(served)
    assert other.send("DELETE", DEVICES).json == {"ended": 1}
    assert ended.send(method, path).status == 401


def test_ending_needs_the_anti_csrf_header(serve: Serve):
    served = serve(device_routes=True, api_domain="https://api.test", website_domain="https://other.example")
    browser = served.browser(rid=None)
    browser.send("POST", "/login/ada")
    assert browser.send("DELETE", DEVICES).json == {"message": "try refresh token"}
