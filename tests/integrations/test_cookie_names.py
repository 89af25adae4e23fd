"""Cookie name prefixes and CHIPS, on each framework (RFC 6265bis section 4.1.3)."""

import pytest

from tallystick import Config, GeneralError
from tallystick.presets import classic
from tests.integrations.browser import Browser
from tests.integrations.conftest import Serve
from tests.integrations.exchange import Reply, SetCookie, parse_set_cookie

SECURE = {"cookie_secure": True}


def all_cookies(reply: Reply) -> dict[str, SetCookie]:
    found = [parse_set_cookie(value) for name, value in reply.headers if name == "set-cookie"]
    return {cookie.name: cookie for cookie in found}


def jar_of(reply: Reply) -> str:
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in all_cookies(reply).values())


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"cookie_prefix": "__Host-"}, {"__Host-sAccessToken", "__Secure-sRefreshToken"}),
        ({"cookie_prefix": "__Host-", "refresh_token_path": "/"}, {"__Host-sAccessToken", "__Host-sRefreshToken"}),
        ({"cookie_prefix": "__Secure-"}, {"__Secure-sAccessToken", "__Secure-sRefreshToken"}),
        (
            {"cookie_prefix": "__Secure-", "cookie_domain": "site.test"},
            {"__Secure-sAccessToken", "__Secure-sRefreshToken"},
        ),
    ],
)
def test_the_cookies_have_the_prefix_and_are_what_browsers_ask_of_it(serve: Serve, settings, names):
    browser = serve(**SECURE, **settings).browser()
    reply = browser.sign_in()
    cookies = all_cookies(reply)
    assert set(cookies) == names
    for name, cookie in cookies.items():
        assert "secure" in cookie.attributes
        if name.startswith("__Host-"):
            assert (cookie.path, cookie.attributes.get("domain")) == ("/", None)
    jar = jar_of(reply)
    assert browser.get("/me", cookie=jar).status == 200
    assert browser.refresh(cookie=jar).status == 200
    assert set(all_cookies(browser.send("POST", "/auth/signout", [("cookie", jar)]))) == names


@pytest.mark.parametrize(
    "spelling", ["sAccessToken", "__host-sAccessToken", "__HOST-sAccessToken", "__Secure-sAccessToken"]
)
def test_a_cookie_under_any_other_name_is_not_looked_at(serve: Serve, spelling: str):
    """Browsers let anyone plant those."""
    browser = serve(**SECURE, cookie_prefix="__Host-").browser()
    token = all_cookies(browser.sign_in())["__Host-sAccessToken"].value
    assert browser.get("/me", cookie=f"{spelling}={token}").status == 401
    assert browser.get("/me", cookie=f"__Host-sAccessToken={token}").status == 200


def test_partitioned_cookies_say_so_also_when_they_are_cleared(serve: Serve):
    browser = serve(**SECURE, cookie_partitioned=True).browser()
    replies = [browser.sign_in(), browser.refresh(), browser.get("/me"), browser.sign_out()]
    for reply in replies:
        assert reply.cookies
        assert all("partitioned" in cookie.attributes for cookie in reply.cookies.values())


def test_without_the_settings_there_is_neither(browser: Browser):
    cookies = all_cookies(browser.sign_in())
    assert set(cookies) == {"sAccessToken", "sRefreshToken"}
    assert not any("partitioned" in cookie.attributes for cookie in cookies.values())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cookie_prefix": "__Host-"}, "cookie_prefix is '__Host-', but must be left out unless cookies are Secure"),
        ({"cookie_partitioned": True}, "cookie_partitioned is True, but must be left out unless cookies are Secure"),
        ({"cookie_prefix": "__Host-", "cookie_domain": "a.test", **SECURE}, "'__Secure-' with a cookie_domain"),
        ({"cookie_prefix": "__Host-", "access_token_path": "/api", **SECURE}, "another access_token_path than /"),
        ({"cookie_prefix": "__Mine-", **SECURE}, "cookie_prefix is '__Mine-'"),
        ({"cookie_partitioned": "yes", **SECURE}, "cookie_partitioned is 'yes', but must be True or False"),
        ({"cookie_prefix": "__Secure-", **SECURE, **classic()}, "None with the classic interface"),
    ],
)
def test_what_no_browser_would_keep_is_refused_at_start(settings, said):
    with pytest.raises(GeneralError) as refused:
        Config(**settings)
    assert said in refused.value.message
