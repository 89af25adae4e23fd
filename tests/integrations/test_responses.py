"""What a response carries besides the app's own: CORS, streams, errors, other middleware."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from jwt import PyJWKSet
from jwt import decode as decode_jwt

from tallystick.testing import START
from tests.integrations.browser import REFRESH, SIGN_OUT, Browser
from tests.integrations.conftest import Serve
from tests.integrations.exchange import Reply
from tests.integrations.plan import WEBSITE
from tests.integrations.stores import BrokenStore

HOUR = timedelta(hours=1, seconds=1)


def has_cors(reply: Reply) -> bool:
    return (
        reply.header("access-control-allow-origin") == WEBSITE
        and reply.header("access-control-allow-credentials") == "true"
    )


@pytest.mark.parametrize("path", ["/me", REFRESH, SIGN_OUT])
def test_a_preflight_is_answered_before_the_session_layer_sees_it(serve: Serve, path: str):
    browser = serve({"has_cors": True}).browser()
    asked = "anti-csrf,authorization,content-type,fdi-version,rid,st-auth-mode"
    reply = browser.send(
        "OPTIONS",
        path,
        [
            ("origin", WEBSITE),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", asked),
        ],
    )
    assert reply.status == 200
    assert has_cors(reply)
    allowed = {name.strip().lower() for name in (reply.header("access-control-allow-headers") or "").split(",")}
    assert allowed >= set(asked.split(","))


def test_every_kind_of_answer_of_ours_has_cors_headers(serve: Serve):
    served = serve({"has_cors": True})
    browser = served.browser()
    assert has_cors(browser.get("/me", origin=WEBSITE))
    assert has_cors(browser.refresh(origin=WEBSITE))
    signed_in = browser.post("/login/ada", origin=WEBSITE)
    assert has_cors(signed_in)
    assert "front-token" in signed_in.exposed
    served.clock.advance(HOUR)
    refused = browser.get("/me", origin=WEBSITE)
    assert refused.status == 401
    assert has_cors(refused)
    for reply in (browser.refresh(origin=WEBSITE), browser.post(SIGN_OUT, origin=WEBSITE)):
        assert reply.status == 200
        assert has_cors(reply)
        assert "front-token" in reply.exposed


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_an_optional_session_is_none_on_options(browser: Browser, method: str):
    browser.sign_in()
    reply = browser.send(method, "/optional")
    assert reply.status in (200, 404, 405)
    if reply.status == 200:
        assert reply.json == {"user": None}


def test_a_session_required_on_options_says_so_loudly(browser: Browser, caplog: pytest.LogCaptureFixture):
    browser.sign_in()
    assert browser.send("OPTIONS", "/strict").status == 500
    assert "bad_method" in caplog.text


def test_head_is_answered_as_get_is(browser: Browser):
    browser.sign_in()
    browser.refresh()
    reply = browser.send("HEAD", "/me")
    assert reply.status == 200
    assert set(reply.cookies) == {"sAccessToken"}


def test_the_apps_own_exposed_headers_stay_and_a_response_with_tokens_is_not_stored(browser: Browser):
    browser.sign_in()
    plain = browser.get("/exposing")
    assert plain.exposed == ["X-App", "Front-Token"]
    assert plain.header("cache-control") == "public, max-age=60"
    browser.refresh()
    replaced = browser.get("/exposing")
    assert sorted(name.lower() for name in replaced.exposed) == ["front-token", "x-app"]
    assert replaced.header("cache-control") == "no-store", "else a shared cache would hand the token to others (P-61)"


def test_a_streamed_response_carries_a_replaced_token_and_stays_a_stream(browser: Browser):
    browser.sign_in()
    browser.refresh()
    reply = browser.get("/stream")
    assert reply.chunks == [b"one", b"two", b"three"]
    assert set(reply.cookies) == {"sAccessToken"}


def test_an_error_of_the_app_after_a_sign_in_still_carries_the_tokens(browser: Browser):
    reply = browser.post("/login-and-refuse/ada")
    assert reply.status == 418
    assert set(reply.cookies) == {"sAccessToken", "sRefreshToken"}
    assert browser.get("/me").json["user"] == "ada"


def test_a_crash_of_the_app_is_its_own(browser: Browser):
    """Where the framework answers it within our middleware, the session that was begun before it goes along."""
    try:
        reply = browser.post("/login-and-crash/ada")
    except ZeroDivisionError:
        assert not browser.is_signed_in
    else:
        assert reply.status == 500
        assert browser.get("/me").json["user"] == "ada"


def test_the_apps_own_error_handler_answers_and_the_tokens_are_cleared_all_the_same(serve: Serve):
    browser = serve({"has_own_handler": True}).browser()
    reply = browser.get("/me")
    assert (reply.status, reply.json, reply.is_silent) == (401, {"message": "mine"}, True)
    handle = browser.sign_in().json["handle"]
    browser.post(f"/elsewhere/{handle}")
    revoked = browser.get("/database")
    assert (revoked.status, revoked.json) == (401, {"message": "mine"})
    assert revoked.clears_everything


def test_a_middleware_of_the_app_in_between_changes_nothing(serve: Serve):
    served = serve({"has_own_middleware": True})
    browser = served.browser()
    assert browser.get("/me").status == 401
    assert browser.sign_in().cookies
    browser.refresh()
    replaced = browser.get("/me")
    assert replaced.cookies
    assert replaced.header("x-app") == "was here"
    handle = browser.get("/me").json["handle"]
    browser.post(f"/elsewhere/{handle}")
    assert browser.get("/database").clears_everything


def test_a_plain_function_as_a_route_gets_the_session_too(browser: Browser):
    browser.sign_in("ada")
    browser.refresh()
    reply = browser.get("/sync")
    assert reply.json["user"] == "ada"
    assert reply.cookies


def test_a_route_that_looks_at_no_session_is_left_alone(browser: Browser):
    browser.sign_in()
    browser.refresh()
    assert browser.get("/none").is_silent


def test_only_the_routes_own_methods_and_paths_are_ours(browser: Browser):
    for method, path in (
        ("GET", REFRESH),
        ("GET", SIGN_OUT),
        ("POST", "/authx/session/refresh"),
        ("POST", "/auth"),
        ("POST", "/auth/session"),
    ):
        assert browser.send(method, path).status in (404, 405)
    browser.sign_in()
    assert browser.post(f"{REFRESH}/").status == 200, "a slash at the end does not matter"


def test_another_base_path_moves_routes_and_cookie(serve: Serve):
    browser = serve(api_base_path="/v1/auth/").browser()
    assert browser.sign_in().cookies["sRefreshToken"].path == "/v1/auth/session/refresh"
    assert browser.post("/v1/auth/session/refresh").status == 200
    assert browser.post("/v1/auth/signout").status == 200
    assert browser.refresh().status == 404


def test_another_status_for_an_expired_session_is_used_throughout(serve: Serve):
    browser = serve(session_expired_status_code=440).browser()
    assert browser.get("/me").status == browser.refresh().status == browser.sign_out().status == 440


def test_behind_a_proxy_s_prefix_the_routes_are_found(serve: Serve):
    served = serve({"root_path": "/api"}, refresh_token_path=f"/api{REFRESH}")
    browser = served.browser()
    assert browser.sign_in().cookies["sRefreshToken"].path == f"/api{REFRESH}"
    # The browser knows the whole path; the client here adds the prefix by itself.
    cookie = f"sRefreshToken={browser.refresh_token}"
    assert browser.refresh(cookie=cookie).status == 200
    assert browser.sign_out().status == 200


@pytest.mark.parametrize("call", [("GET", "/database"), ("POST", REFRESH), ("POST", "/revoke"), ("POST", "/login/bob")])
def test_a_broken_store_is_503_and_signs_nobody_out(serve: Serve, call: Any, caplog: pytest.LogCaptureFixture):
    store = BrokenStore()
    served = serve({"url": store})
    browser = served.browser()
    browser.sign_in()
    before = dict(browser.jar)
    store.is_broken = True
    reply = browser.send(*call)
    assert (reply.status, reply.header("retry-after")) == (503, "1")
    assert reply.is_silent
    assert b"disk" not in reply.body, "what is broken is for the log"
    assert "store_failed" in caplog.text
    assert not any(token in caplog.text for token in browser.seen)
    store.is_broken = False
    assert browser.jar == before
    assert browser.refresh().status == 200


def test_while_the_feed_of_endings_is_silent_a_route_does_what_it_says_and_the_others_what_the_settings_say(
    serve: Serve,
):
    store = BrokenStore()
    quick = {"feed_interval": timedelta(milliseconds=20), "feed_lease": timedelta(milliseconds=500)}
    browser = serve({"url": store}, instant_revocation=True, on_feed_silence="refuse", **quick).browser()
    browser.sign_in()
    before = dict(browser.jar)

    def ask_until(status: int) -> Reply:
        deadline = time.monotonic() + 20
        while (reply := browser.get("/me")).status != status:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return reply

    ask_until(200)
    assert browser.get("/trusting").status == 200
    store.is_broken = True
    refused = ask_until(503)
    assert (refused.header("retry-after"), refused.is_silent) == ("1", True)
    assert browser.get("/trusting").json["user"] == "ada"
    assert browser.get("/database").status == 503
    assert browser.jar == before, "nobody is signed out"


def test_a_path_with_a_line_s_end_in_it_does_not_forge_a_line_of_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
):
    store = BrokenStore()
    browser = serve({"url": store}).browser()
    store.is_broken = True
    assert browser.post("/login/eve\nforged").status == 503
    assert not any(line.startswith("forged") for line in caplog.text.splitlines())


def test_the_published_keys_verify_our_access_tokens_for_anyone(serve: Serve):
    served = serve({"has_cors": True}, algorithm="RS256", api_domain="http://api.test")
    browser = served.browser()
    browser.sign_in("ada")
    reply = browser.get("/auth/jwt/jwks.json")
    assert reply.status == 200
    assert reply.header("access-control-allow-origin") == "*"
    assert reply.header("cache-control") == "max-age=60, must-revalidate"
    assert reply.is_silent
    assert not any(private in key for key in reply.json["keys"] for private in ("d", "p", "q", "k"))
    keys = PyJWKSet.from_dict(reply.json)
    claims = decode_jwt(
        browser.access_token,
        keys.keys[0],
        algorithms=["RS256"],
        issuer="http://api.test/auth",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert (claims["sub"], claims["iat"]) == ("ada", START // 1000)


def test_a_hundred_users_at_once_each_get_their_own(serve: Serve):
    served = serve()
    browsers = []
    for number in range(100):
        browser = served.browser("cookie" if number % 2 else "header")
        browser.sign_in(f"user-{number}")
        browser.refresh()
        browsers.append(browser)
    requests = [("GET", "/me", browser._own_headers("/me", False)) for browser in browsers]
    for number, reply in enumerate(served.client.send_all(requests)):
        assert reply.json["user"] == reply.front_token["uid"] == f"user-{number}"
        assert bool(reply.cookies) is bool(number % 2)


def test_bodies_are_compact_json(browser: Browser):
    body = browser.get("/me").body
    assert body == json.dumps(json.loads(body), separators=(",", ":")).encode()
