"""The real browser SDK on a page, against an Express app on supertokens-node, on the core service."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.serving import address, listen, make_server, running
from tests.browser.site import Site, call, make_website
from tests.browser.traffic import Traffic
from tests.service.examples import run_example
from tests.service.serving import run_core

MakeSite = Callable[..., Site]
SECONDS = 3
BEFORE_THE_SIGN_IN = "the SDK's first request of all asks for a refresh too: that one is refused, no other"


@pytest.fixture
def make_express_site(sdk: Path, tmp_path: Path) -> Iterator[MakeSite]:
    """Starts a core, an API on it and a website."""
    with ExitStack() as stack:

        def make_express_site(transport: str = "cookie", **settings: object) -> Site:
            core = stack.enter_context(run_core(tmp_path, **{"access_token_validity": SECONDS, **settings}))
            listener = listen()
            website = address(listener)
            stack.enter_context(running(make_server(make_website(sdk)), listener))
            api = stack.enter_context(run_example("newest_express.js", core.url, website, transport))
            return Site(website, api.replace("127.0.0.1", "localhost"), tmp_path / "core.db")

        yield make_express_site


@pytest.mark.parametrize("transport", ["cookie", "header"])
def test_a_visitor_signs_in_is_refreshed_and_signs_out(
    make_express_site: MakeSite, device: BrowserContext, transport: str
):
    site = make_express_site(transport)
    traffic = Traffic(device)
    page = site.open(device, tokenTransferMethod=transport)
    assert site.get(page)["status"] == 401
    site.sign_in(page)
    handle = site.get(page)["body"]["handle"]
    expire(page)
    assert site.post(page)["body"] == {"user": "ada", "handle": handle}
    assert site.get(page)["body"]["handle"] == handle
    assert set(traffic.refreshes[1:]) == {200}, BEFORE_THE_SIGN_IN
    assert payload(page)["name"] == "łukasz 馬"
    page.evaluate("SuperTokens.signOut()")
    assert page.evaluate("SuperTokens.doesSessionExist()") is False
    assert site.get(page)["status"] == 401


def test_an_answer_that_once_brought_tokens_does_not_bring_them_back(
    make_express_site: MakeSite, device: BrowserContext
):
    """Express answers a repeated GET with 304, and the browser then shows the headers that it has kept: with an old
    anti-CSRF token among them the next refresh is refused."""
    site = make_express_site()
    traffic = Traffic(device)
    page = site.open(device)
    site.sign_in(page)
    for first in (site.get, site.post, site.get):
        expire(page)
        assert first(page)["status"] == 200
        assert site.get(page)["status"] == 200
    assert set(traffic.refreshes[1:]) == {200}, BEFORE_THE_SIGN_IN


def test_two_tabs_are_refreshed_once_for_both_and_signed_out_together(
    make_express_site: MakeSite, device: BrowserContext
):
    site = make_express_site()
    traffic = Traffic(device)
    one, other = site.open(device), site.open(device)
    site.sign_in(one)
    for _ in range(3):
        expire(one)
        with traffic.expect_refreshes(200):
            for tab in (one, other):
                tab.evaluate(f"window.asked = fetch('{site.api}/me').then(r => r.status)")
            assert [tab.evaluate("asked") for tab in (one, other)] == [200, 200]
    one.evaluate("SuperTokens.signOut()")
    assert other.evaluate("SuperTokens.doesSessionExist()") is False
    assert site.get(other)["status"] == 401


def test_a_session_revoked_elsewhere_ends_at_the_next_refresh_and_at_once_where_the_database_is_asked(
    make_express_site: MakeSite, device: BrowserContext
):
    site = make_express_site()
    page = site.open(device)
    site.sign_in(page)
    assert call(page, f"{site.api}/checked")["status"] == 200
    assert len(call(page, f"{site.api}/revoke-everywhere/ada", "POST")["body"]["handles"]) == 1
    assert call(page, f"{site.api}/checked")["status"] == 401
    assert site.get(page)["status"] == 401
    assert page.evaluate("SuperTokens.doesSessionExist()") is False
    assert "UNAUTHORISED" in page.evaluate("events")


def test_a_payload_changed_by_the_api_is_seen_by_the_page_at_once(make_express_site: MakeSite, device: BrowserContext):
    site = make_express_site()
    page = site.open(device)
    site.sign_in(page)
    assert call(page, f"{site.api}/upgrade", "POST") == {"status": 200, "body": {"plan": "pro"}}
    assert payload(page)["plan"] == "pro"
    expire(page)
    assert site.get(page)["status"] == 200
    assert payload(page)["plan"] == "pro"


def payload(page: Page) -> dict[str, object]:
    told: dict[str, object] = page.evaluate("SuperTokens.getAccessTokenPayloadSecurely()")
    return told


def expire(page: Page) -> None:
    """Wait until the access token has run out, by the page's clock; with either transport its payload is at hand."""
    page.evaluate(
        """async () => {
            const { exp } = await SuperTokens.getAccessTokenPayloadSecurely();
            await new Promise(resolve => setTimeout(resolve, Math.max(0, exp * 1000 - Date.now()) + 20));
        }"""
    )
