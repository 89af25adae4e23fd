"""A user's way from sign-in to sign-out, on each framework and store."""

import json
from datetime import timedelta
from queue import SimpleQueue
from typing import Any

import pytest

from tallystick import TheftEvent
from tests.integrations.browser import REFRESH, SIGN_OUT, Browser
from tests.integrations.conftest import Serve

HOUR = timedelta(hours=1, seconds=1)
DAYS = timedelta(days=101)


def test_signing_in_sets_both_cookies_and_the_front_token(browser: Browser):
    reply = browser.sign_in("ada")
    access, refresh = reply.cookies["sAccessToken"], reply.cookies["sRefreshToken"]
    assert (access.path, refresh.path) == ("/", REFRESH)
    assert access.expires_at == browser.clock() + 365 * 86_400_000
    assert refresh.expires_at == browser.clock() + 100 * 86_400_000
    assert "domain" not in access.attributes
    assert "secure" not in access.attributes
    assert access.attributes["samesite"] == refresh.attributes["samesite"] == "Lax"
    assert set(reply.session_headers) == {"front-token"}
    front = reply.front_token
    assert (front["uid"], front["ate"]) == ("ada", browser.clock() + 3_600_000)
    assert front["up"]["sessionHandle"] == reply.json["handle"]


def test_a_signed_in_user_is_known_and_nothing_is_set_again(browser: Browser):
    handle = browser.sign_in("ada").json["handle"]
    reply = browser.get("/me")
    assert reply.json == {"user": "ada", "handle": handle, "payload": {}}
    assert reply.is_silent
    assert reply.header("cache-control") is None


def test_a_name_in_any_script_arrives_whole(browser: Browser):
    browser.sign_in("łukasz 馬 / 马".replace("/", "-"))
    assert browser.get("/me").json["user"] == "łukasz 馬 - 马"


def test_without_tokens_the_answer_is_401_and_nothing_is_cleared(browser: Browser):
    for method, path in (("GET", "/me"), ("POST", "/me"), ("POST", SIGN_OUT), ("GET", "/database")):
        reply = browser.send(method, path)
        assert (reply.status, reply.json) == (401, {"message": "unauthorised"})
        assert reply.is_silent, "another response may be setting tokens at this moment (P-8)"


def test_the_first_visit_s_refresh_without_tokens_clears_everything(browser: Browser):
    reply = browser.refresh()
    assert (reply.status, reply.json) == (401, {"message": "unauthorised"})
    assert reply.clears_everything
    assert reply.header("content-type") == "application/json; charset=utf-8"


def test_a_refresh_with_an_access_token_alone_clears_it(browser: Browser):
    browser.sign_in()
    del browser.jar["sRefreshToken", REFRESH]
    assert browser.refresh().clears_everything


@pytest.mark.parametrize("mode", ["cookie", "header"])
def test_an_expired_access_token_is_refreshed_and_the_first_use_replaces_it(serve: Serve, mode: Any):
    served = serve()
    browser = served.browser(mode)
    browser.sign_in()
    served.clock.advance(HOUR)
    expired = browser.get("/me")
    assert (expired.status, expired.json, expired.is_silent) == (401, {"message": "try refresh token"}, True)
    old = browser.refresh_token
    refreshed = browser.refresh()
    assert (refreshed.status, refreshed.json) == (200, {})
    assert browser.refresh_token != old
    assert refreshed.front_token["up"]["parentRefreshTokenHash1"] is not None
    first_use = browser.get("/me")
    assert first_use.status == 200
    assert first_use.front_token["up"]["parentRefreshTokenHash1"] is None
    if mode == "cookie":
        assert set(first_use.cookies) == {"sAccessToken"}
        assert set(first_use.session_headers) == {"front-token"}
    else:
        assert not first_use.cookies
        assert set(first_use.session_headers) == {"front-token", "st-access-token"}
    assert browser.get("/me").is_silent


def test_the_sdk_s_refresh_and_repeat_is_not_seen_by_the_page(serve: Serve):
    served = serve()
    browser = served.browser()
    browser.sign_in()
    for _ in range(5):
        served.clock.advance(HOUR)
        assert browser.call("POST", "/me").status == 200


def test_two_tabs_refresh_at_once_and_both_stay_signed_in(serve: Serve):
    served = serve()
    first = served.browser()
    first.sign_in()
    second = first.copy()
    served.clock.advance(HOUR)
    assert (first.refresh().status, second.refresh().status) == (200, 200)
    assert first.refresh_token != second.refresh_token
    assert first.get("/me").status == second.get("/me").status == 200


def test_a_lost_refresh_answer_costs_nothing(serve: Serve):
    served = serve()
    browser = served.browser()
    browser.sign_in()
    served.clock.advance(HOUR)
    lost = browser.copy()
    assert lost.refresh().status == 200
    served.clock.advance(timedelta(days=3))
    assert browser.call("GET", "/me").status == 200


def test_a_thief_and_the_victim_are_both_thrown_out(serve: Serve):
    served = serve()
    victim = served.browser()
    victim.sign_in()
    thief = victim.copy()
    served.clock.advance(HOUR)
    assert victim.call("GET", "/me").status == 200
    served.clock.advance(timedelta(minutes=1))
    caught = thief.refresh()
    assert (caught.status, caught.json) == (401, {"message": "token theft detected"})
    assert caught.clears_everything
    assert not thief.is_signed_in
    assert victim.get("/database").clears_everything, "the session has ended for its owner too"
    assert victim.refresh().status == 401


def test_the_app_is_told_who_was_on_either_side_of_a_theft(serve: Serve):
    told: SimpleQueue[TheftEvent] = SimpleQueue()
    served = serve(on_token_theft=told.put)
    victim = served.browser()
    victim.post("/login/ada", user_agent="her browser")
    thief = victim.copy()
    his, hers = thief.refresh(user_agent="his script"), victim.refresh(user_agent="her browser")
    assert (his.status, hers.status) == (200, 200)
    assert thief.refresh(user_agent="his script").status == 200
    assert victim.refresh(user_agent="her browser").status == 401
    event = told.get(timeout=20)
    assert (event.kind, event.user_id) == ("sibling", "ada")
    assert (event.presenter_user_agent, event.presenter_address) == ("her browser", "127.0.0.1")
    assert (event.holder_user_agent, event.holder_address) == ("his script", "127.0.0.1")


def test_a_session_that_nobody_used_for_long_is_over(serve: Serve):
    served = serve()
    browser = served.browser()
    browser.sign_in()
    served.clock.advance(DAYS)
    reply = browser.refresh()
    assert (reply.status, reply.clears_everything) == (401, True)


@pytest.mark.parametrize("mode", ["cookie", "header"])
def test_signing_out_ends_the_session_and_clears_the_requests_own_method_only(serve: Serve, mode: Any):
    browser = serve().browser(mode)
    browser.sign_in()
    before = browser.copy()
    reply = browser.sign_out()
    assert (reply.status, reply.json) == (200, {"status": "OK"})
    assert reply.header("front-token") == "remove"
    assert reply.clears_cookies is (mode == "cookie")
    assert reply.clears_headers is (mode == "header")
    assert bool(reply.cookies) is (mode == "cookie")
    assert not browser.is_signed_in
    assert before.get("/database").status == 401
    assert before.refresh().status == 401


def test_signing_out_clears_also_where_the_session_was_gone_already(browser: Browser):
    handle = browser.sign_in().json["handle"]
    assert browser.post(f"/elsewhere/{handle}").json == {"revoked": True}
    reply = browser.sign_out()
    assert (reply.status, reply.clears_cookies, reply.header("front-token")) == (200, True, "remove")


def test_signing_out_with_an_expired_token_asks_for_a_refresh_first(serve: Serve):
    served = serve()
    browser = served.browser()
    browser.sign_in()
    served.clock.advance(HOUR)
    assert browser.sign_out().json == {"message": "try refresh token"}
    assert browser.refresh().status == 200
    assert browser.sign_out().clears_cookies


def test_an_optional_session_is_none_only_without_a_token_of_ours(serve: Serve):
    served = serve()
    browser = served.browser()
    assert browser.get("/optional").json == {"user": None}
    assert browser.get("/optional", authorization="Bearer a.b.c").json == {"user": None}
    browser.sign_in("ada")
    assert browser.get("/optional").json == {"user": "ada"}
    served.clock.advance(HOUR)
    assert browser.get("/optional").status == 401


def test_a_revoked_session_lives_until_its_token_expires_unless_the_store_is_asked(browser: Browser):
    handle = browser.sign_in().json["handle"]
    browser.post(f"/elsewhere/{handle}")
    assert browser.get("/me").status == 200
    reply = browser.get("/database")
    assert (reply.status, reply.clears_everything) == (401, True)


def test_revoke_session_clears_the_tokens_with_its_own_response(browser: Browser):
    browser.sign_in()
    reply = browser.post("/revoke")
    assert (reply.status, reply.json, reply.clears_cookies) == (200, {}, True)
    assert not browser.is_signed_in


def test_session_data_is_kept_and_replaced_whole(browser: Browser):
    browser.sign_in()
    assert browser.get("/data").json == {"cart": []}
    body = json.dumps({"cart": ["tea"]}).encode()
    assert browser.send("POST", "/data", [("content-type", "application/json")], body).status == 200
    assert browser.get("/data").json == {"cart": ["tea"]}


def test_a_session_tells_when_it_was_created_and_when_it_ends(serve: Serve):
    served = serve()
    browser = served.browser()
    start = served.clock()
    browser.sign_in()
    served.clock.advance(timedelta(minutes=1))
    assert browser.get("/times").json == {"created": start, "expiry": start + 100 * 86_400_000}


def test_data_of_a_session_that_has_ended_meanwhile_is_unauthorised(browser: Browser):
    handle = browser.sign_in().json["handle"]
    browser.post(f"/elsewhere/{handle}")
    reply = browser.get("/data")
    assert (reply.status, reply.clears_everything) == (401, True)
    browser.sign_in()
    handle = browser.get("/me").json["handle"]
    browser.post(f"/elsewhere/{handle}")
    for path in ("/data", "/payload"):
        gone = browser.copy().send("POST", path, [("content-type", "application/json")], b"{}")
        assert (gone.status, gone.clears_everything) == (401, True)


def test_a_merged_payload_shows_at_once_in_the_session_the_token_and_the_front_token(browser: Browser):
    body = [("content-type", "application/json")]
    browser.send("POST", "/login/ada", body, b'{"role":"user","plan":"free"}')
    reply = browser.send("POST", "/payload", body, b'{"role":"admin","plan":null,"name":"\xc5\x81"}')
    assert reply.json == {"role": "admin", "name": "Ł"}
    assert reply.front_token["up"].items() >= {"role": "admin", "name": "Ł"}.items()
    assert "plan" not in reply.front_token["up"]
    assert set(reply.cookies) == {"sAccessToken"}
    assert browser.get("/me").json["payload"] == {"role": "admin", "name": "Ł"}
    assert browser.refresh().front_token["up"]["role"] == "admin"


def test_a_payload_too_large_for_a_cookie_is_refused_and_nothing_is_set(browser: Browser):
    body = [("content-type", "application/json")]
    large = json.dumps({"note": "x" * 4000}).encode()
    reply = browser.send("POST", "/login/ada", body, large)
    assert (reply.status, reply.is_silent) == (400, True)
    assert "4096 bytes" in reply.json["message"]
    browser.sign_in()
    assert browser.send("POST", "/payload", body, large).status == 400
    assert browser.send("POST", "/payload", body, b'{"sub":"eve"}').status == 400
    assert browser.get("/me").json["payload"] == {}


def test_the_largest_payload_that_is_taken_fits_its_cookie_at_every_step(serve: Serve):
    served = serve()
    browser = served.browser()
    body = [("content-type", "application/json")]
    accepted = 0
    for size in range(1500, 3000, 25):
        reply = browser.send("POST", "/login/ada", body, json.dumps({"note": "x" * size}).encode())
        if reply.status == 400:
            break
        accepted = size
    assert accepted
    served.clock.advance(HOUR)
    assert browser.call("GET", "/me").status == 200
