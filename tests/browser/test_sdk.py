"""The real browser SDK on a page of another origin than the API: expiry, tabs, both transfer methods, failures."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from playwright.sync_api import BrowserContext, Page

from tallystick import AntiCsrf
from tests.browser.site import FRONT_TOKEN, Site
from tests.browser.traffic import REFRESH, Traffic

MakeSite = Callable[..., Site]
NewDevice = Callable[..., BrowserContext]
LONG = timedelta(minutes=1)


def cookie(context: BrowserContext, name: str) -> dict[str, Any] | None:
    return next((dict(one) for one in context.cookies() if one["name"] == name), None)


def value(context: BrowserContext, name: str) -> str:
    found = cookie(context, name)
    assert found is not None
    return str(found["value"])


def test_an_anonymous_visitor_makes_one_refresh_call_and_never_another(site: Site, device: BrowserContext):
    traffic = Traffic(device)
    page = site.open(device)
    with traffic.expect_refreshes(401):
        assert page.evaluate("SuperTokens.doesSessionExist()") is False
        assert site.get(page)["status"] == 401
        page.reload()
        site.init(page)
        assert page.evaluate("SuperTokens.doesSessionExist()") is False
        assert site.get(page)["status"] == 401
    (refused,) = traffic.of(REFRESH, "POST")
    assert refused.got["front-token"] == "remove"
    assert refused.got["access-control-allow-origin"] == site.website


def test_calls_in_parallel_after_expiry_share_one_refresh(site: Site, device: BrowserContext):
    traffic = Traffic(device)
    page = site.open(device)
    site.sign_in(page)
    site.expire(page)
    with traffic.expect_refreshes(200):
        statuses = page.evaluate(
            "api => Promise.all(Array.from({ length: 8 }, () => fetch(api + '/me').then(r => r.status)))", site.api
        )
    assert statuses == [200] * 8
    assert "REFRESH_SESSION" in page.evaluate("events")


def test_an_xml_http_request_is_refreshed_too(site: Site, device: BrowserContext):
    page = site.open(device)
    site.sign_in(page)
    site.expire(page)
    status = page.evaluate(
        """api => new Promise(resolve => {
            const request = new XMLHttpRequest();
            request.onload = () => resolve(request.status);
            request.open("GET", api + "/me");
            request.send();
        })""",
        site.api,
    )
    assert status == 200


def test_the_first_use_after_a_refresh_replaces_the_access_token_once(make_site: MakeSite, device: BrowserContext):
    site = make_site(access_token_validity=LONG)
    page = site.open(device)
    site.sign_in(page)
    first = value(device, "sAccessToken")
    site.get(page)
    assert value(device, "sAccessToken") == first, "a first token has no parent"
    assert page.evaluate("SuperTokens.attemptRefreshingSession()") is True
    refreshed = value(device, "sAccessToken")
    assert refreshed != first
    site.get(page)
    replaced = value(device, "sAccessToken")
    assert replaced != refreshed
    site.get(page)
    assert value(device, "sAccessToken") == replaced


def test_two_tabs_whose_token_runs_out_together_both_stay_signed_in(site: Site, device: BrowserContext):
    traffic = Traffic(device)
    tabs = [site.open(device), site.open(device)]
    site.sign_in(tabs[0])
    for _ in range(5):
        site.expire(tabs[0])
        with traffic.expect_refreshes(200):
            assert at_once(tabs, f"fetch('{site.api}/me').then(r => r.status)") == [200, 200]


def test_two_tabs_that_refresh_at_the_same_moment_both_stay_signed_in(make_site: MakeSite, device: BrowserContext):
    """Without the SDK's lock between tabs: as with private storage, an old SDK, or a lost answer."""
    site = make_site(access_token_validity=LONG)
    tabs = [site.open(device), site.open(device)]
    site.sign_in(tabs[0])
    refresh = f"""__supertokensOriginalFetch("{site.api}{REFRESH}", {{
        method: "POST", credentials: "include", headers: {{ rid: "session" }} }}).then(r => r.status)"""
    use = f"__supertokensOriginalFetch('{site.api}/me', {{ credentials: 'include' }}).then(r => r.status)"
    for _ in range(25):
        assert at_once(tabs, refresh) == [200, 200]
        assert at_once(tabs, use) == [200, 200]


def test_a_reload_keeps_the_session(site: Site, device: BrowserContext):
    page = site.open(device)
    site.sign_in(page)
    handle = site.get(page)["body"]["handle"]
    site.expire(page)
    page.reload()
    site.init(page)
    assert page.evaluate("SuperTokens.doesSessionExist()") is True
    assert site.get(page)["body"]["handle"] == handle


def test_a_browser_that_lost_what_scripts_wrote_recovers_its_session(site: Site, device: BrowserContext):
    """As Safari does to cookies of scripts after seven days (spec/fdi.md 2.12)."""
    page = site.open(device)
    site.sign_in(page)
    for name in ("sFrontToken", "st-last-access-token-update"):
        device.clear_cookies(name=name)
    assert page.evaluate("SuperTokens.doesSessionExist()") is True
    assert site.get(page)["status"] == 200


def test_signing_out_takes_the_tokens_and_ends_the_session_in_both_tabs(site: Site, device: BrowserContext):
    one, other = site.open(device), site.open(device)
    site.sign_in(one)
    assert site.get(other)["status"] == 200
    one.evaluate("SuperTokens.signOut()")
    assert cookie(device, "sAccessToken") is None
    assert cookie(device, "sRefreshToken") is None
    assert other.evaluate("SuperTokens.doesSessionExist()") is False
    assert site.get(other)["status"] == 401


def test_the_tokens_are_http_only_and_the_refresh_token_goes_to_one_path(site: Site, device: BrowserContext):
    traffic = Traffic(device)
    page = site.open(device)
    site.sign_in(page)
    site.expire(page)
    site.get(page)
    seen = page.evaluate("document.cookie")
    assert "sFrontToken" in seen
    for name in ("sAccessToken", "sRefreshToken"):
        kept = cookie(device, name)
        assert kept is not None
        assert kept["httpOnly"] is True
        assert kept["sameSite"] == "Lax"
        assert name not in seen
        assert kept["value"] not in seen
    refresh = cookie(device, "sRefreshToken")
    assert refresh is not None
    assert refresh["path"] == REFRESH
    assert all(one.path == REFRESH for one in traffic.all() if "sRefreshToken=" in one.sent.get("cookie", ""))


def test_letters_of_any_script_arrive_in_the_payload(site: Site, device: BrowserContext):
    page = site.open(device)
    site.sign_in(page)
    payload = page.evaluate("SuperTokens.getAccessTokenPayloadSecurely()")
    assert payload["name"] == "łukasz 馬"
    assert page.evaluate("SuperTokens.getUserId()") == "ada"
    assert payload["iss"] == f"{site.api}/auth"


def test_another_origin_sees_headers_and_errors_and_a_stranger_sees_nothing(site: Site, device: BrowserContext):
    traffic = Traffic(device)
    page = site.open(device)
    assert site.get(page)["status"] == 401
    site.sign_in(page)
    site.expire(page)
    assert site.post(page)["status"] == 200
    for one in traffic.all():
        if one.path in ("/me", "/act", REFRESH) or one.path.startswith("/sign-in"):
            assert one.got["access-control-allow-origin"] == site.website
            assert one.got["access-control-allow-credentials"] == "true"
    (signed_in,) = traffic.of("/sign-in/ada", "POST")
    exposed = signed_in.got["access-control-expose-headers"]
    assert "front-token" in exposed
    stranger = device.new_page()
    stranger.goto(site.api + "/openapi.json")
    stranger.goto(site.website.replace("localhost", "127.0.0.1"))  # the same server, but another origin
    outcome = stranger.evaluate(
        "api => fetch(api + '/me', { credentials: 'include' }).then(() => 'read', () => 'hidden')", site.api
    )
    assert outcome == "hidden"


def test_anti_csrf_by_token_lets_the_page_act_and_nobody_else(make_site: MakeSite, device: BrowserContext):
    site = make_site(anti_csrf=AntiCsrf.VIA_TOKEN, access_token_validity=LONG)
    page = site.open(device)
    site.sign_in(page)
    first = value(device, "sAntiCsrf")
    assert site.post(page)["status"] == 200
    assert site.attack(page)["status"] == 401
    assert site.attack(page, "/me", "GET")["status"] == 200, "a GET changes nothing"
    assert page.evaluate("SuperTokens.attemptRefreshingSession()") is True
    assert site.post(page)["status"] == 200
    assert value(device, "sAntiCsrf") != first
    page.evaluate("SuperTokens.signOut()")
    assert cookie(device, "sAntiCsrf") is None


def test_a_refresh_without_the_anti_csrf_token_is_refused(make_site: MakeSite, device: BrowserContext):
    site = make_site(anti_csrf=AntiCsrf.VIA_TOKEN)
    page = site.open(device)
    site.sign_in(page)
    assert site.attack(page, REFRESH)["status"] == 401


def test_anti_csrf_by_custom_header_lets_the_page_act_and_nobody_else(make_site: MakeSite, device: BrowserContext):
    site = make_site(anti_csrf=AntiCsrf.VIA_CUSTOM_HEADER)
    traffic = Traffic(device)
    page = site.open(device)
    site.sign_in(page)
    assert cookie(device, "sAntiCsrf") is None
    assert site.post(page)["status"] == 200
    assert site.attack(page)["status"] == 401
    site.expire(page)
    with traffic.expect_refreshes(200):
        assert site.post(page)["status"] == 200


def test_the_header_method_keeps_no_cookie_of_the_servers(site: Site, device: BrowserContext):
    traffic = Traffic(device)
    page = site.open(device, tokenTransferMethod="header")
    site.sign_in(page)
    assert {one["name"] for one in device.cookies() if one["httpOnly"]} == set()
    assert site.post(page)["status"] == 200
    handle = site.get(page)["body"]["handle"]
    site.expire(page)
    with traffic.expect_refreshes(200):
        statuses = page.evaluate(
            "api => Promise.all([1, 2, 3].map(() => fetch(api + '/me').then(r => r.status)))", site.api
        )
    assert statuses == [200] * 3
    page.reload()
    site.init(page, tokenTransferMethod="header")
    assert site.get(page)["body"]["handle"] == handle
    assert page.evaluate("SuperTokens.getAccessToken()")
    page.evaluate("SuperTokens.signOut()")
    assert site.get(page)["status"] == 401
    assert cookie(device, "st-access-token") is None


def test_the_header_method_shows_a_theft_too(site: Site, device: BrowserContext):
    page = site.open(device, tokenTransferMethod="header")
    site.sign_in(page)
    stolen = value(device, "st-refresh-token")
    refresh = """async ([url, token]) => {
        const headers = { authorization: `Bearer ${token}`, rid: "session" };
        const response = await __supertokensOriginalFetch(url, { method: "POST", headers });
        return [response.status, response.headers.get("st-refresh-token")];
    }"""
    status, his = page.evaluate(refresh, [site.api + REFRESH, stolen])
    assert status == 200
    assert page.evaluate("SuperTokens.attemptRefreshingSession()") is True
    assert page.evaluate(refresh, [site.api + REFRESH, his])[0] == 200
    assert page.evaluate("SuperTokens.attemptRefreshingSession()") is False
    assert page.evaluate(refresh, [site.api + REFRESH, his])[0] == 401
    assert page.evaluate("events").count("UNAUTHORISED") == 1


def test_a_browser_keeps_its_session_while_the_store_is_broken(site: Site, device: BrowserContext):
    traffic = Traffic(device)
    page = site.open(device)
    site.sign_in(page)
    handle = site.get(page)["body"]["handle"]
    before = value(device, "sRefreshToken")
    with site.broken_store():
        site.expire(page)
        with traffic.expect_refreshes(503):
            assert site.get(page)["status"] == 503
        assert page.evaluate(f"({FRONT_TOKEN}).uid") == "ada"
        assert value(device, "sRefreshToken") == before
    with traffic.expect_refreshes(200):
        assert site.get(page) == {"status": 200, "body": {"user": "ada", "handle": handle}}
    broken = next(one for one in traffic.of(REFRESH, "POST") if one.status == 503)
    assert "front-token" not in broken.got
    assert broken.got["access-control-allow-origin"] == site.website


def test_a_revoked_session_ends_at_the_next_refresh(site: Site, new_device: NewDevice):
    """And what one device does is nothing to another."""
    one, other = new_device(), new_device()
    mine, theirs = site.open(one), site.open(other)
    site.sign_in(mine)
    site.sign_in(theirs)
    mine.evaluate("SuperTokens.signOut()")
    site.expire(theirs)
    assert site.get(theirs)["status"] == 200
    assert site.get(mine)["status"] == 401


def at_once(tabs: list[Page], promise: str) -> list[Any]:
    """Have all tabs begin the same thing at the same instant of their common clock, and wait for what comes out."""
    start = tabs[0].evaluate("Date.now()") + 60
    for tab in tabs:
        tab.evaluate(
            f"""start => {{
                window.outcome = new Promise(resolve => setTimeout(resolve, start - Date.now())).then(() => {promise});
            }}""",
            start,
        )
    return [tab.evaluate("outcome") for tab in tabs]
