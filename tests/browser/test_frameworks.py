"""The browser's story on FastAPI, Flask and Django, with the SDK of today and with the oldest that npm still has."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tallystick.presets import classic
from tallystick.storage.memory import MemoryStore
from tests.browser.serving import listen, make_server, running, running_wsgi
from tests.browser.site import PAGE
from tests.browser.traffic import REFRESH, Traffic
from tests.integrations.apps import django_app
from tests.integrations.apps.django_project import open_wsgi
from tests.integrations.apps.fastapi_app import FastApiApp
from tests.integrations.apps.flask_app import FlaskApp
from tests.integrations.plan import Plan

LIFE = timedelta(seconds=2)
Serve = Callable[..., str]


@contextmanager
def fastapi(plan: Plan) -> Iterator[str]:
    # Not in a runner of its own: the loop is the server's.
    app = FastApiApp().build(plan, plan.make_async_sessions())
    with running(make_server(app), listen()) as url:
        yield url


@contextmanager
def flask(plan: Plan) -> Iterator[str]:
    with FlaskApp().open(plan) as client, running_wsgi(client.app, listen()) as url:
        yield url


@contextmanager
def django(plan: Plan) -> Iterator[str]:
    with (
        open_wsgi(plan, django_app.__name__, ALLOWED_HOSTS=["localhost"]) as client,
        running_wsgi(client.app, listen()) as url,
    ):
        yield url


@pytest.fixture(params=[fastapi, flask, django], ids=lambda framework: framework.__name__)
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Starts the framework's app with these settings; its address."""
    with ExitStack() as stack:

        def start(store: MemoryStore | None = None, **settings: Any) -> str:
            settings = {"access_token_validity": LIFE, **settings}
            plan = Plan(store or MemoryStore(), lambda: time.time_ns() // 1_000_000, settings)
            return stack.enter_context(request.param(plan))

        yield start


@dataclass(frozen=True)
class Tab:
    """A page of the app's own origin, with an SDK in it."""

    page: Page
    url: str

    def ask(self, path: str, method: str = "GET", *, fetch: str = "fetch") -> dict[str, Any]:
        answer: dict[str, Any] = self.page.evaluate(
            """async ([url, method, fetch]) => {
                const response = await window[fetch](url, { method });
                return { status: response.status, body: await response.json() };
            }""",
            [self.url + path, method, fetch],
        )
        return answer

    def sign_in(self, user: str = "ada") -> str:
        answer = self.ask(f"/login/{user}", "POST")
        assert answer["status"] == 200
        return str(answer["body"]["handle"])


def open_tab(device: BrowserContext, url: str, sdk: Path, init: str) -> Tab:
    """The page and its script are put in place by the browser; all else comes from the app."""
    page = device.new_page()
    page.route(f"{url}/", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.route(f"{url}/sdk.js", lambda route: route.fulfill(path=sdk))
    page.goto(f"{url}/")
    # Older SDKs do not keep the browser's own.
    page.evaluate(f"url => {{ window.plainFetch = window.fetch.bind(window); {init} }}", url)
    return Tab(page, url)


def open_today(device: BrowserContext, url: str, sdk: Path) -> Tab:
    return open_tab(device, url, sdk, "SuperTokens.init({ apiDomain: url });")


def open_classic(device: BrowserContext, url: str, sdk: Path) -> Tab:
    init = f"SuperTokens.init({{ refreshTokenUrl: url + '{REFRESH}', sessionExpiredStatusCode: 440 }});"
    return open_tab(device, url, sdk, init)


def names(device: BrowserContext) -> set[str]:
    return {str(cookie.get("name")) for cookie in device.cookies()}


def wait_for_expiry() -> None:
    time.sleep(LIFE.total_seconds() + 0.1)


def run_story(one: Tab, two: Tab, device: BrowserContext) -> None:
    """Sign in, call, two tabs whose token runs out together, POST with anti-CSRF, sign out."""
    handle = one.sign_in()
    traffic = Traffic(device)
    for tab in (one, two):
        assert tab.ask("/me")["body"]["user"] == "ada"
    for _ in range(2):
        wait_for_expiry()
        one.page.evaluate("url => { window.answer = fetch(url + '/me').then(r => r.json()) }", one.url)
        assert two.ask("/me")["body"]["handle"] == handle
        assert one.page.evaluate("answer")["handle"] == handle
    wait_for_expiry()
    assert one.ask("/me", "POST")["status"] == 200
    assert 3 <= len(traffic.refreshes) <= 6
    assert set(traffic.refreshes) == {200}
    assert one.ask("/revoke", "POST")["status"] == 200
    assert not {"sAccessToken", "sRefreshToken", "sIdRefreshToken"} & names(device)
    assert two.page.evaluate("SuperTokens.doesSessionExist()") is False


def test_the_story_with_the_sdk_of_today(serve: Serve, device: BrowserContext, sdk: Path):
    url = serve()
    run_story(open_today(device, url, sdk), open_today(device, url, sdk), device)


def test_the_story_with_prefixed_and_partitioned_cookies(device: BrowserContext, sdk: Path):
    """Chromium takes localhost for secure."""
    settings = {
        "access_token_validity": LIFE,
        "cookie_secure": True,
        "cookie_prefix": "__Host-",
        "cookie_partitioned": True,
    }
    with fastapi(Plan(MemoryStore(), lambda: time.time_ns() // 1_000_000, settings)) as url:
        tab = open_today(device, url, sdk)
        tab.sign_in()
        assert {"__Host-sAccessToken", "__Secure-sRefreshToken"} < names(device)
        run_story(tab, open_today(device, url, sdk), device)
        assert not {"__Host-sAccessToken", "__Secure-sRefreshToken"} & names(device)


def test_the_story_with_the_classic_sdk(serve: Serve, device: BrowserContext, classic_sdk: Path):
    url = serve(**classic())
    one, two = open_classic(device, url, classic_sdk), open_classic(device, url, classic_sdk)
    assert one.page.evaluate("SuperTokens.doesSessionExist()") is False
    assert one.ask("/me")["status"] == 440
    run_story(one, two, device)
    one.sign_in()
    assert names(device) == {"sAccessToken", "sRefreshToken", "sIdRefreshToken", "sIRTFrontend"}
    refused = one.ask("/me", "POST", fetch="plainFetch")
    assert (refused["status"], refused["body"]) == (440, {"message": "try refresh token"}), "it has no anti-CSRF token"
    assert one.ask("/auth/signout", "POST")["status"] == 200
    assert not names(device)


def test_a_classic_browser_keeps_its_session_when_page_and_server_move_on(
    serve: Serve, device: BrowserContext, sdk: Path, classic_sdk: Path
):
    """Cookies do not tell ports apart, so the new server is just another."""
    store = MemoryStore()
    handle = open_classic(device, serve(store, **classic()), classic_sdk).sign_in()
    tab = open_today(device, serve(store), sdk)
    assert tab.ask("/me")["body"]["handle"] == handle
    assert "sIdRefreshToken" not in names(device)
    assert tab.page.evaluate("SuperTokens.doesSessionExist()") is True
