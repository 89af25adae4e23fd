"""Each pitfall of spec/fdi.md 6 that concerns a server, by its number: tests of its own here, or the one elsewhere.

What any framework could get wrong is tested on each of them; here is what is decided before, so one of them will do.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tallystick import AntiCsrf, Config, Sessions
from tallystick.integrations.wsgi import SessionMiddleware, create_new_session, get_session
from tallystick.testing import FakeClock
from tallystick.transport.cookies import Cookie
from tallystick.transport.decisions import decide_verification
from tallystick.transport.policy import make_policy, name_domain
from tests.integrations.apps.wsgi_app import PlainWsgiApp
from tests.integrations.browser import Browser
from tests.integrations.conftest import Serve
from tests.integrations.plan import SECRET, AppUnderTest
from tests.integrations.wsgi import WsgiClient

DAY = 86_400_000
HOUR = timedelta(hours=1, seconds=1)

BROWSER_ALONE = {
    3: "the SDK drops a copy of its own token",
    4: "the SDK notices that the browser keeps no cookies",
    11: "the SDK's refresh does not go through its own interceptor",
    12: "the SDK remembers the body",
    15: "the SDK's attemptRefreshingSession",
    18: "a script's cookies in Safari; the docs say which mode bears it",
    22: "as 18",
    26: "the app chooses header mode",
    27: "a script's cookies in a frame",
    62: "the SDK's old interceptor",
}

ELSEWHERE = {
    55: ["test_claims_that_are_there_and_young_enough_are_checked_without_asking_anyone"],
    2: ["test_several_access_cookies_are_refused_until_the_older_domain_is_cleared"],
    5: ["test_a_cors_layer_that_is_told_what_to_expose_must_be_told_of_our_headers", "check_reply"],
    6: ["test_signing_out_ends_the_session_and_clears_the_requests_own_method_only"],
    7: ["test_a_refresh_with_an_access_token_alone_clears_it"],
    8: ["test_without_tokens_the_answer_is_401_and_nothing_is_cleared"],
    9: ["test_two_tabs_refresh_at_once_and_both_stay_signed_in"],
    10: ["test_a_lost_refresh_answer_costs_nothing"],
    13: ["test_the_first_visit_s_refresh_without_tokens_clears_everything"],
    14: ["test_a_broken_store_is_503_and_signs_nobody_out"],
    20: ["test_signing_in_sets_both_cookies_and_the_front_token"],
    24: ["test_via_token_a_refresh_without_the_token_signs_out"],
    30: ["test_several_access_cookies_are_refused_until_the_older_domain_is_cleared"],
    33: ["test_every_kind_of_answer_of_ours_has_cors_headers"],
    34: ["test_the_apps_own_exposed_headers_stay_and_a_response_with_tokens_is_not_stored", "check_reply"],
    35: ["test_the_published_keys_verify_our_access_tokens_for_anyone"],
    36: ["test_a_hundred_users_at_once_each_get_their_own", "test_threads_share_the_sessions_and_nothing_of_a_request"],
    37: ["test_function_views_get_session_and_user"],
    38: ["test_behind_a_proxy_s_prefix_the_routes_are_found"],
    39: ["test_a_streamed_response_carries_a_replaced_token_and_stays_a_stream", "test_a_stream_is_not_read_ahead"],
    40: ["test_an_optional_session_is_none_on_options", "test_a_session_required_on_options_says_so_loudly"],
    41: ["test_an_optional_session_is_none_only_without_a_token_of_ours"],
    42: ["test_signing_out_clears_also_where_the_session_was_gone_already"],
    44: ["test_signing_in_by_the_other_method_clears_the_first"],
    45: ["test_the_apps_own_error_handler_answers_and_the_tokens_are_cleared_all_the_same"],
    46: ["test_a_merged_payload_shows_at_once_in_the_session_the_token_and_the_front_token"],
    47: ["test_a_payload_too_large_for_a_cookie_is_refused_and_nothing_is_set"],
    48: ["test_a_proxy_s_word_on_the_scheme_counts_where_the_settings_trust_it"],
    49: ["test_a_hundred_users_at_once_each_get_their_own"],
    50: ["test_a_whole_story_is_told_without_an_event_loop"],
    51: ["test_the_largest_payload_that_is_taken_fits_its_cookie_at_every_step"],
    52: ["test_the_usual_verify_makes_no_store_call"],
    54: ["test_a_revoked_session_lives_until_its_token_expires_unless_the_store_is_asked"],
    57: ["test_a_foreign_authorization_header_does_not_disturb_a_cookie_session"],
    58: ["test_with_both_methods_the_header_wins_and_a_refresh_clears_the_cookies"],
    59: ["test_a_cookie_of_the_older_interface_asks_for_a_refresh_which_takes_it_away"],
    61: ["test_the_apps_own_exposed_headers_stay_and_a_response_with_tokens_is_not_stored"],
}


@pytest.fixture
def framework() -> AppUnderTest:
    return PlainWsgiApp()


@pytest.fixture
def store_url() -> str:
    return "memory://"


def test_every_pitfall_has_a_test_or_is_the_browser_s():
    sources = "\n".join(path.read_text("utf-8") for path in Path(__file__).parents[1].rglob("*.py"))
    here = {int(number) for number in re.findall(r"^def test_p(\d+)_", Path(__file__).read_text("utf-8"), re.MULTILINE)}
    assert sorted([*here, *ELSEWHERE, *BROWSER_ALONE]) == list(range(1, 63))
    missing = [name for names in ELSEWHERE.values() for name in names if f"def {name}(" not in sources]
    assert missing == []


def test_p1_401_is_for_sessions_alone(serve: Serve):
    browser = serve().browser()
    browser.sign_in()
    body = [("content-type", "application/json")]
    for content in (b'{"sub":"eve"}', json.dumps({"note": "x" * 4000}).encode()):
        assert browser.send("POST", "/payload", body, content).status == 400
    assert browser.post("/login-and-refuse/ada").status == 418


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize(
    ("at", "said"),
    [(1_700_000_000_000, "Tue, 14 Nov 2023 22:13:20 GMT"), (1_689_000_000_000, "Mon, 10 Jul 2023 14:40:00 GMT")],
    ids=["winter", "summer"],
)
def test_p16_dates_are_gmt_wherever_the_server_stands(zone: str, at: int, said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        expires = Cookie("a", "b", "/", None, at, False, "lax").attributes["Expires"]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert expires == said


def test_p17_no_cookie_asks_to_be_kept_for_longer_than_400_days(serve: Serve):
    years = timedelta(days=3650)
    browser = serve(refresh_token_validity=years, absolute_lifetime=years).browser()
    reply = browser.sign_in()
    lives = {cookie.name: (cookie.expires_at - browser.clock()) // DAY for cookie in reply.cookies.values()}
    assert lives == {"sAccessToken": 365, "sRefreshToken": 400}


def test_p19_tokens_are_issued_now_so_that_the_sdk_can_tell_the_client_s_clock(serve: Serve):
    served = serve()
    browser = served.browser()
    assert browser.sign_in().front_token["up"]["iat"] == served.clock() // 1000
    served.clock.advance(HOUR)
    assert browser.refresh().front_token["up"]["iat"] == served.clock() // 1000


def test_p21_a_cookie_is_never_over_before_its_token(serve: Serve):
    served = serve(refresh_token_validity=timedelta(days=2))
    served.clock.advance(timedelta(milliseconds=1))
    reply = served.browser().sign_in()
    over = reply.cookies["sRefreshToken"].expires_at - (served.clock() + 2 * DAY)
    assert 0 < over < 1000


class Request:
    """A page's POST that brings nothing."""

    method = "POST"
    path = "/"
    is_https = True

    def header(self, name: str) -> str | None:
        return None


@pytest.mark.parametrize("mode", list(AntiCsrf))
def test_p23_without_a_token_an_optional_session_asks_for_no_anti_csrf(mode: AntiCsrf):
    policy = make_policy(Config(anti_csrf=mode), Request())
    assert decide_verification(Request(), policy, session_required=False, anti_csrf_check=True) is None


@pytest.mark.parametrize(
    ("api", "website", "same_site"),
    [
        ("https://api.example.com", "https://www.example.com", "lax"),
        ("https://example.com:8443", "https://example.com", "lax"),
        ("http://api.example.com", "https://www.example.com", "none"),
        ("https://api.example.com", "https://example.org", "none"),
        ("https://one.github.io", "https://two.github.io", "none"),
        ("https://a.s3.amazonaws.com", "https://b.s3.amazonaws.com", "none"),
        ("https://one.co.uk", "https://two.co.uk", "none"),
        ("http://localhost:8000", "http://localhost:3000", "lax"),
        ("http://localhost:8000", "http://127.0.0.1:3000", "lax"),
    ],
)
def test_p25_same_site_follows_scheme_and_registrable_domain(api: str, website: str, same_site: str):
    policy = make_policy(Config(api_domain=api, website_domain=website), Request())
    assert policy.same_site == same_site
    expected = AntiCsrf.VIA_CUSTOM_HEADER if same_site == "none" else AntiCsrf.NONE
    assert policy.anti_csrf is expected


@pytest.mark.parametrize("domain", ["localhost", ".localhost", "127.0.0.1", ".127.0.0.1", "", None])
def test_p28_browsers_refuse_localhost_and_addresses_as_domains(domain: str | None):
    assert name_domain(domain) is None


def test_p29_a_dot_at_the_domain_s_beginning_stays(serve: Serve):
    reply = serve(cookie_domain=".site.test").browser().sign_in()
    assert {cookie.attributes["domain"] for cookie in reply.cookies.values()} == {".site.test"}


@pytest.mark.parametrize("rid", ["session", "anti-csrf", "emailpassword", ""])
def test_p31_the_value_of_rid_routes_nothing(serve: Serve, rid: str):
    browser = serve(anti_csrf=AntiCsrf.VIA_CUSTOM_HEADER).browser(rid=rid)
    browser.sign_in()
    assert browser.post("/me").status == browser.refresh(rid=rid).status == 200


@pytest.mark.parametrize("versions", ["1.16", "1.16,1.17,2.0,3.1,4.0", "nonsense", ""])
def test_p32_a_list_of_versions_disturbs_nothing(browser: Browser, versions: str):
    browser.sign_in()
    assert browser.get("/me", fdi_version=versions).status == browser.refresh(fdi_version=versions).status == 200


def test_p43_what_is_done_to_another_session_does_not_throw_the_caller_out(browser: Browser):
    browser.sign_in()
    reply = browser.post("/elsewhere/00000000-0000-4000-8000-000000000000")
    assert (reply.status, reply.json, reply.is_silent) == (200, {"revoked": False}, True)


def test_p53_another_algorithm_ends_no_session(serve: Serve, tmp_path: Path):
    url = f"sqlite:///{tmp_path}/shared.sqlite"
    browser = serve({"url": url}, algorithm="EdDSA").browser()
    handle = browser.sign_in().json["handle"]
    browser.client = serve({"url": url}, algorithm="ES256").client
    assert browser.call("GET", "/me").json["handle"] == handle
    assert browser.refresh().status == 200
    assert browser.get("/me").json["handle"] == handle


def test_p56_a_token_that_expires_before_its_payload_is_changed_shows_it_after_the_next_refresh():
    clock = FakeClock()

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/login":
            create_new_session(environ, "ada")
        else:
            session = get_session(environ)
            clock.advance(HOUR)
            session.merge_into_access_token_payload({"role": "admin"})
            assert session.get_jwt_payload() == {"role": "admin"}
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []

    sessions = Sessions("memory://", secret=SECRET, algorithm="EdDSA", clock=clock)
    browser = Browser(WsgiClient(SessionMiddleware(app, sessions)), clock)
    browser.post("/login")
    changed = browser.post("/change")
    assert (changed.status, changed.is_silent) == (200, True)
    assert browser.refresh().front_token["up"]["role"] == "admin"


def test_p60_the_front_token_s_claims_keep_their_order(browser: Browser):
    body = [("content-type", "application/json")]
    payload = b'{"zebra":1,"apple":{"z":1,"a":2},"mango":3}'
    signed_in = browser.send("POST", "/login/ada", body, payload)

    def orders(reply: Any) -> Iterator[list[str]]:
        claims = reply.front_token["up"]
        own = [name for name in claims if name in ("zebra", "apple", "mango")]
        yield own
        yield list(claims["apple"])

    first = list(orders(signed_in))
    assert list(orders(browser.refresh())) == first
    assert list(orders(browser.get("/me"))) == first
