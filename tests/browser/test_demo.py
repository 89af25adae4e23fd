"""The demo's story, as a person goes through it."""

import re
import sys
from collections.abc import Callable
from signal import SIGINT
from subprocess import PIPE, Popen

import httpx
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.browser.serving import ROOT
from tests.browser.traffic import REFRESH, Traffic

NewDevice = Callable[..., BrowserContext]


def visit(demo: str, device: BrowserContext) -> Page:
    page = device.new_page()
    page.goto(demo)
    return page


def sign_in(demo: str, device: BrowserContext, user: str = "Ada") -> Page:
    page = visit(demo, device)
    page.get_by_role("button", name=user).click()
    expect_signed_in(page, user)
    return page


def expect_signed_in(page: Page, user: str = "Ada") -> None:
    expect(page.locator("#session-title")).to_have_text(user)
    expect(page.locator("main")).to_have_attribute("data-state", "in")


def expect_signed_out(page: Page) -> Locator:
    expect(page.locator("main")).to_have_attribute("data-state", "out")
    return page.locator("#notice")


def let_it_run_out(page: Page) -> None:
    page.wait_for_selector("#clock[data-phase=over]")


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def call(page: Page) -> Locator:
    press(page, "Call the protected API")
    return page.locator("#result")


def log(page: Page) -> list[str]:
    """Statuses and paths of the requests in the page's own log."""
    rows = page.locator("#log li[data-status]").all()
    return [f"{row.get_attribute('data-status')} {row.get_attribute('data-path')}" for row in rows]


def test_one_signs_in_and_calls_the_protected_api(demo: str, device: BrowserContext):
    page = sign_in(demo, device)
    expect(call(page)).to_contain_text("Hello, Ada")
    assert "200 /api/hello" in log(page)


def test_the_page_needs_no_mouse(demo: str, device: BrowserContext):
    page = visit(demo, device)
    page.get_by_role("button", name="Grace").focus()
    page.keyboard.press("Enter")
    expect_signed_in(page, "Grace")
    page.get_by_role("button", name="Call the protected API").focus()
    page.keyboard.press("Space")
    expect(page.locator("#result")).to_contain_text("Hello, Grace")


def test_the_log_shows_the_401_the_refresh_and_the_repeated_call(demo: str, device: BrowserContext):
    page = sign_in(demo, device)
    let_it_run_out(page)
    page.get_by_role("button", name="Clear").click()
    expect(call(page)).to_contain_text("Hello, Ada")
    assert log(page)[:3] == ["401 /api/hello", f"200 {REFRESH}", "200 /api/hello"]
    expect(page.locator("#log [data-retry]")).to_contain_text("repeated by the SDK")


def test_calls_every_second_go_on_over_many_refreshes(demo: str, device: BrowserContext):
    traffic = Traffic(device)
    page = sign_in(demo, device)
    page.get_by_text("Every second", exact=True).click()
    expect(page.locator("#log [data-refresh][data-status='200']").nth(2)).to_be_visible(timeout=60_000)
    expect_signed_in(page)
    assert set(traffic.refreshes[1:]) == {200}, "all but the anonymous visitor's"


def test_a_second_tab_shares_the_session_and_a_sign_out_ends_both(demo: str, device: BrowserContext):
    page = sign_in(demo, device)
    with device.expect_page() as opened:
        page.get_by_role("link", name="Open a second tab").click()
    other = opened.value
    expect_signed_in(other)
    for _ in range(2):
        let_it_run_out(page)
        for tab in (page, other):
            tab.get_by_role("button", name="Call the protected API").click(no_wait_after=True)
        for tab in (page, other):
            expect(tab.locator("#result")).to_contain_text("Hello, Ada")
    page.locator("#sign-out").click()
    expect(expect_signed_out(page)).to_have_text("You signed out.")
    expect(expect_signed_out(other)).to_contain_text("in another tab")


def test_a_reload_keeps_the_session(demo: str, device: BrowserContext):
    page = sign_in(demo, device)
    identity = page.locator("#identity").inner_text()
    let_it_run_out(page)
    page.reload()
    expect_signed_in(page)
    expect(page.locator("#identity")).to_have_text(identity)


def test_signing_out_one_device_leaves_the_other(demo: str, new_device: NewDevice):
    laptop, phone = sign_in(demo, new_device()), sign_in(demo, new_device())
    laptop.reload()
    rows = laptop.locator("#sessions li")
    expect(rows).to_have_count(2)
    expect(laptop.locator("#sessions li[data-current]")).to_have_count(1)
    laptop.locator("#sessions li:not([data-current]) button").click()
    expect(rows).to_have_count(1)
    let_it_run_out(phone)
    call(phone)
    expect_signed_out(phone)
    expect(call(laptop)).to_contain_text("Hello, Ada")
    expect_signed_in(laptop)


def test_signing_out_everywhere_ends_every_session_of_that_user_alone(demo: str, new_device: NewDevice):
    laptop, phone = sign_in(demo, new_device()), sign_in(demo, new_device())
    stranger = sign_in(demo, new_device(), "Grace")
    press(laptop, "Sign out everywhere")
    expect(expect_signed_out(laptop)).to_have_text("You signed out everywhere.")
    let_it_run_out(phone)
    call(phone)
    expect_signed_out(phone)
    let_it_run_out(stranger)
    expect(call(stranger)).to_contain_text("Hello, Grace")


def test_an_answer_that_was_under_way_at_the_sign_out_does_not_change_why_one_is_signed_out(
    demo: str, device: BrowserContext
):
    page = sign_in(demo, device)
    before = page.evaluate("document.cookie.split('; ').find((pair) => pair.startsWith('sFrontToken='))")
    press(page, "Sign out everywhere")
    expect(expect_signed_out(page)).to_have_text("You signed out everywhere.")
    page.route("**/api/sessions", lambda _: None)  # no answer, as the list's 401 may sign one out before the call
    page.evaluate("(pair) => { document.cookie = pair; }", before)
    expect_signed_in(page)
    call(page)
    expect(expect_signed_out(page)).to_have_text("You signed out everywhere.")


def test_a_thief_in_step_is_detected_and_both_are_thrown_out(demo: str, device: BrowserContext):
    traffic = Traffic(device)
    page = sign_in(demo, device)
    his = page.locator("#thief-result")
    press(page, "Copy my cookies")
    expect(his).to_contain_text("has a copy")
    press(page, "Thief refreshes")
    expect(his).to_contain_text("200")
    press(page, "You refresh")
    expect(page.locator("#steps [aria-current]")).to_contain_text("Thief refreshes again")
    press(page, "Thief calls the API")
    expect(his).to_contain_text("Hello, Ada")
    press(page, "Thief refreshes again")
    expect(page.locator("#steps [aria-current]")).to_contain_text("You refresh again")
    expect_signed_in(page)
    press(page, "You refresh again")
    expect(expect_signed_out(page)).to_contain_text("stolen")
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text("both are thrown out")
    expect(verdict).to_contain_text("sibling")
    expect(page.locator("#rotation .is-caught")).to_have_count(1)
    press(page, "Thief refreshes")
    expect(his).to_contain_text("401")
    refused = traffic.of(REFRESH, "POST")[-1]
    assert (refused.status, refused.got["front-token"]) == (401, "remove")
    assert {one["name"] for one in device.cookies()} == {"st-last-access-token-update"}
    page.get_by_role("button", name="Ada").click()
    expect_signed_in(page)
    expect(verdict).to_be_hidden()


def test_it_is_the_thief_who_is_caught_when_he_comes_second(demo: str, device: BrowserContext):
    page = sign_in(demo, device)
    press(page, "Copy my cookies")
    press(page, "Thief refreshes")
    expect(page.locator("#thief-result")).to_contain_text("200")
    page.evaluate("fetch('/api/hello')")
    for _ in range(2):
        with page.expect_response(f"**{REFRESH}"):
            press(page, "You refresh")
    press(page, "Thief refreshes again")
    expect(page.locator("#verdict")).to_contain_text("The thief presented")
    let_it_run_out(page)
    call(page)
    expect(expect_signed_out(page)).to_contain_text("stolen")


def test_a_script_in_the_page_sees_no_token_and_the_page_loads_nothing_from_elsewhere(
    demo: str, device: BrowserContext
):
    urls: list[str] = []
    problems: list[str] = []
    device.on("request", lambda request: urls.append(request.url))
    device.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    device.on("weberror", lambda error: problems.append(str(error.error)))
    page = sign_in(demo, device)
    tokens = [one["value"] for one in device.cookies() if one["httpOnly"]]
    assert len(tokens) == 2
    everything = page.content() + page.evaluate("document.cookie + JSON.stringify(localStorage)")
    assert not [token for token in tokens if token in everything]
    assert {url.split("/", 3)[2] for url in urls if not url.startswith("data:")} == {demo.split("//")[1]}
    assert [text for text in problems if "401" not in text] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_follows_the_systems_colours_and_fits_its_window(
    demo: str, new_device: NewDevice, scheme: str, width: int
):
    page = sign_in(demo, new_device(color_scheme=scheme, viewport={"width": width, "height": 800}))
    brightness = "parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    assert (page.evaluate(brightness) > 128) is (scheme == "light")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#theme").click()
    assert (page.evaluate(brightness) > 128) is (scheme == "dark")
    page.reload()
    assert (page.evaluate(brightness) > 128) is (scheme == "dark")


def test_the_command_prints_one_address_serves_it_and_ends_on_ctrl_c(assets: None):
    command = [sys.executable, "-m", "demo", "--port", "0"]
    with Popen(command, cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://localhost:\d+", process.stdout.readline())
        assert found is not None
        answer = httpx.get(found.group().replace("localhost", "127.0.0.1"))
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "onclick" not in answer.text
        process.send_signal(SIGINT)
        rest = process.communicate(timeout=20)
    assert rest == ("", "")
    assert process.returncode == 0
