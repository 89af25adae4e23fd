"""Cookies or headers, both at once, and what proves that the app's own page sent a request."""

from datetime import timedelta
from typing import Any

import pytest

from tallystick import AntiCsrf
from tests.integrations.browser import REFRESH, Browser
from tests.integrations.conftest import Serve
from tests.integrations.exchange import Headers

HOUR = timedelta(hours=1, seconds=1)
CROSS_SITE = {"api_domain": "https://api.test", "website_domain": "https://site.example"}


def both(first: Browser, second: Browser) -> Browser:
    """A browser that sends the tokens of two: cookies of one, headers of the other."""
    mixed = first.copy()
    mixed.kept |= second.kept
    return mixed


# Transfer methods


@pytest.mark.parametrize("mode", ["header", None, "neither"])
def test_a_client_that_does_not_ask_for_cookies_gets_headers(serve: Serve, mode: Any):
    reply = serve().browser(mode).sign_in()
    assert set(reply.session_headers) == {"front-token", "st-access-token", "st-refresh-token"}
    assert not reply.cookies


@pytest.mark.parametrize(("forced", "asked"), [("cookie", "header"), ("header", "cookie")])
def test_the_settings_may_allow_one_method_only(serve: Serve, forced: Any, asked: Any):
    served = serve(token_transfer_method=forced)
    browser = served.browser(asked)
    assert bool(browser.sign_in().cookies) is (forced == "cookie")
    assert browser.get("/me").status == 200
    other = serve().browser(asked)
    other.sign_in()
    other.client = served.client
    assert other.get("/me").status == 401, "tokens of the method that is not allowed are not looked at"


def test_the_mode_s_spelling_does_not_matter(serve: Serve):
    assert serve().browser("COOKIE").sign_in().cookies


def test_signing_in_by_the_other_method_clears_the_first(serve: Serve):
    browser = serve().browser("cookie")
    browser.sign_in("ada")
    browser.mode = "header"
    reply = browser.sign_in("bob")
    assert reply.clears_cookies
    assert reply.header("front-token") not in (None, "remove")
    assert browser.get("/me").json["user"] == "bob"
    browser.mode = "cookie"
    back = browser.sign_in("cy")
    assert back.clears_headers
    assert set(back.cookies) == {"sAccessToken", "sRefreshToken"}
    assert all(cookie.value for cookie in back.cookies.values())
    assert browser.get("/me").json["user"] == "cy"


def test_a_sign_in_without_another_method_s_token_clears_nothing(serve: Serve):
    browser = serve().browser("cookie")
    browser.sign_in("ada")
    again = browser.sign_in("bob")
    assert set(again.session_headers) == {"front-token"}
    assert "remove" not in again.session_headers.values()


def test_a_cookie_session_is_honoured_although_the_frontend_now_prefers_headers(serve: Serve):
    browser = serve().browser("cookie")
    browser.sign_in()
    browser.mode = "header"
    assert browser.get("/me").status == 200
    assert set(browser.refresh().cookies) == {"sAccessToken", "sRefreshToken"}


def test_with_both_methods_the_header_wins_and_a_refresh_clears_the_cookies(serve: Serve):
    served = serve()
    ada, bob = served.browser("cookie"), served.browser("header")
    ada.sign_in("ada")
    bob.sign_in("bob")
    mixed = both(ada, bob)
    assert mixed.get("/me").json["user"] == "bob"
    reply = mixed.refresh()
    assert reply.clears_cookies
    assert set(reply.session_headers) == {"front-token", "st-access-token", "st-refresh-token"}
    assert reply.front_token["uid"] == "bob"


@pytest.mark.parametrize("value", ["Bearer abc", "Bearer a.b.c", "Basic YTpi", "bearer x", "Bearer ", "", "Bearer"])
def test_a_foreign_authorization_header_does_not_disturb_a_cookie_session(browser: Browser, value: str):
    browser.sign_in()
    assert browser.get("/me", authorization=value).status == 200


def test_a_bearer_token_that_is_no_refresh_token_does_not_disturb_a_refresh_by_cookie(browser: Browser):
    browser.sign_in()
    for token in ("abc", "a.b.c", browser.access_token):
        assert browser.refresh(authorization=f"Bearer {token}").status == 200
    assert browser.get("/me").status == 200


def test_several_access_cookies_are_refused_until_the_older_domain_is_cleared(serve: Serve):
    browser = serve().browser()
    browser.sign_in()
    twice: Headers = [("cookie", f"sAccessToken={browser.access_token}; sAccessToken={browser.access_token}")]
    reply = browser.send("GET", "/me", twice)
    assert (reply.status, reply.json, reply.is_silent) == (401, {"message": "try refresh token"}, True)
    unset = browser.send("POST", REFRESH, twice)
    assert (unset.status, unset.is_silent) == (500, True)
    assert "older_cookie_domain" in unset.json["message"]
    cleared = serve(older_cookie_domain="").browser().send("POST", REFRESH, twice)
    assert cleared.status == 200
    assert cleared.session_headers == {}
    assert {cookie.name: cookie.value for cookie in cleared.cookies.values()} == {"sAccessToken": ""}


def test_cookies_that_http2_has_split_over_headers_are_one(browser: Browser):
    browser.sign_in()
    split: Headers = [("cookie", "a=b"), ("cookie", f"sAccessToken={browser.access_token}"), ("cookie", "c=d")]
    assert browser.send("GET", "/me", split).status == 200


def test_a_cookie_of_the_older_interface_asks_for_a_refresh_which_takes_it_away(browser: Browser):
    browser.sign_in()
    browser.jar["sIdRefreshToken", "/"] = "something"
    for path in ("/me", "/optional"):
        assert browser.get(path).json == {"message": "try refresh token"}
    reply = browser.refresh()
    assert reply.status == 200
    assert reply.cookies["sIdRefreshToken"].value == ""
    assert browser.get("/me").status == 200


def test_cookies_carry_the_attributes_that_the_settings_say_and_are_cleared_with_the_same(serve: Serve):
    served = serve(
        {"scheme": "https"}, cookie_domain=".site.test", cookie_same_site="strict", api_domain="https://api.site.test"
    )
    browser = served.browser()
    signed_in, signed_out = browser.sign_in(), browser.sign_out()
    for name in ("sAccessToken", "sRefreshToken"):
        given, taken = (reply.cookies[name].attributes for reply in (signed_in, signed_out))
        assert {**given, "expires": ""} == {**taken, "expires": ""}
        assert (given["domain"], given["samesite"], given["secure"]) == (".site.test", "Strict", "")
    assert signed_in.front_token["up"]["iss"] == "https://api.site.test/auth"


def test_without_settings_secure_follows_the_request_s_scheme(serve: Serve):
    over_tls = serve({"scheme": "https"}).browser().sign_in()
    assert all("secure" in cookie.attributes for cookie in over_tls.cookies.values())


def test_cookies_that_no_browser_would_keep_are_refused_with_the_reason_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
):
    domains = {"api_domain": "http://api.test", "website_domain": "http://site.example"}
    browser = serve(**domains).browser()
    reply = browser.post("/login/ada")
    assert (reply.status, reply.json, reply.is_silent) == (500, {"message": "internal error"}, True)
    assert "insecure_cookies" in caplog.text
    browser.mode = "header"
    assert browser.sign_in().status == 200


# Anti-CSRF


def test_without_anti_csrf_a_post_needs_nothing(serve: Serve):
    browser = serve().browser(rid=None)
    assert "anti-csrf" not in browser.sign_in().session_headers
    assert browser.post("/me").status == 200
    assert browser.refresh().status == 200


def test_sites_apart_ask_for_the_rid_header_by_default(serve: Serve):
    served = serve(**CROSS_SITE)
    browser = served.browser()
    reply = browser.sign_in()
    assert {cookie.attributes["samesite"] for cookie in reply.cookies.values()} == {"None"}
    assert all("secure" in cookie.attributes for cookie in reply.cookies.values())
    assert "anti-csrf" not in reply.session_headers
    assert browser.post("/me").status == 200
    browser.rid = None
    assert browser.get("/me").status == 200
    for method, path in (("POST", "/me"), ("HEAD", "/me"), ("GET", "/checked")):
        refused = browser.send(method, path)
        assert (refused.status, refused.is_silent) == (401, True)
    assert browser.post("/unchecked").status == 200
    assert browser.refresh().clears_everything


def test_via_token_asks_for_the_token_on_everything_but_get(serve: Serve):
    browser = serve(anti_csrf=AntiCsrf.VIA_TOKEN).browser(rid=None)
    token = browser.sign_in().session_headers["anti-csrf"]
    assert browser.post("/me").status == browser.get("/checked").status == 200
    for wrong in ("", "x", token[:-1], token + "x", "\xff"):
        refused = browser.post("/me", anti_csrf=wrong)
        assert (refused.status, refused.json, refused.is_silent) == (401, {"message": "try refresh token"}, True)
    browser.sends_anti_csrf = False
    assert browser.get("/me").status == browser.post("/unchecked").status == 200
    for method, path in (("POST", "/me"), ("HEAD", "/me"), ("GET", "/checked"), ("POST", "/auth/signout")):
        assert browser.send(method, path).status == 401
    assert browser.get("/me").status == 200, "the refusals changed nothing"


def test_via_token_gives_a_new_token_with_each_refresh_and_none_with_a_replacement(serve: Serve):
    browser = serve(anti_csrf=AntiCsrf.VIA_TOKEN).browser()
    first = browser.sign_in().session_headers["anti-csrf"]
    second = browser.refresh().session_headers["anti-csrf"]
    assert first != second
    replaced = browser.post("/me")
    assert replaced.status == 200
    assert set(replaced.session_headers) == {"front-token"}
    assert browser.post("/me", anti_csrf=first).status == 401


@pytest.mark.parametrize("sent", [None, "", "x", "\xff"])
def test_via_token_a_refresh_without_the_token_signs_out(serve: Serve, sent: str | None):
    browser = serve(anti_csrf=AntiCsrf.VIA_TOKEN).browser()
    browser.sign_in()
    browser.sends_anti_csrf = False
    reply = browser.refresh() if sent is None else browser.refresh(anti_csrf=sent)
    assert (reply.status, reply.clears_everything) == (401, True)


@pytest.mark.parametrize("mode", list(AntiCsrf))
def test_headers_need_no_anti_csrf_of_any_kind(serve: Serve, mode: AntiCsrf):
    browser = serve(anti_csrf=mode).browser("header", rid=None)
    assert "anti-csrf" not in browser.sign_in().session_headers
    assert browser.post("/me").status == browser.get("/checked").status == 200
    refreshed = browser.refresh()
    assert refreshed.status == 200
    assert "anti-csrf" not in refreshed.session_headers


def test_a_session_from_before_the_switch_to_tokens_gets_one_with_its_next_refresh(serve: Serve, tmp_path: Any):
    url = f"sqlite:///{tmp_path}/shared.sqlite"
    browser = serve({"url": url}).browser()
    browser.sign_in()
    assert browser.refresh().status == 200
    browser.client = serve({"url": url}, anti_csrf=AntiCsrf.VIA_TOKEN).client
    refused = browser.post("/me")
    assert (refused.status, refused.is_silent) == (401, True)
    assert browser.refresh().session_headers["anti-csrf"]
    assert browser.post("/me").status == 200


def test_signing_out_takes_an_anti_csrf_token_that_the_same_response_would_have_set(serve: Serve):
    browser = serve(anti_csrf=AntiCsrf.VIA_TOKEN).browser()
    browser.sign_in()
    reply = browser.sign_out()
    assert reply.header("anti-csrf") is None
    assert not browser.kept
