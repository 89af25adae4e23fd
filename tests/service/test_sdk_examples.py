"""The apps of the documentations of 2020, with Express and without, as a browser sees them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest

from tests.service.examples import run_example
from tests.service.operating import Service

REFRESH = "/api/refresh"
ALL_COOKIES = {"sAccessToken", "sRefreshToken", "sIdRefreshToken"}
FIRST = ("first_express.js", "first_plain.js")
SECOND = ("second_express.js",)
every_app = pytest.mark.parametrize("app", [*FIRST, *SECOND])


@dataclass
class Visitor:
    """A browser with the SDK of that time in it: cookies by their paths, and the anti-CSRF token sent back."""

    url: str
    jar: dict[str, tuple[str, str]] = field(default_factory=dict)
    anti_csrf: str | None = None
    has_session: bool = False

    def copy(self) -> "Visitor":
        return Visitor(self.url, dict(self.jar), self.anti_csrf, self.has_session)

    @property
    def cookies(self) -> dict[str, str]:
        return {name: value for name, (value, _) in self.jar.items()}

    def get(self, path: str) -> httpx.Response:
        return self.send("GET", path)

    def post(self, path: str) -> httpx.Response:
        return self.send("POST", path)

    def send(self, method: str, path: str) -> httpx.Response:
        sent = [f"{name}={value}" for name, (value, at) in self.jar.items() if path.startswith(at)]
        headers = {"cookie": "; ".join(sent)} | ({"anti-csrf": self.anti_csrf} if self.anti_csrf else {})
        answer = httpx.request(method, self.url + path, headers=headers)
        for line in answer.headers.get_list("set-cookie"):
            self._keep(line)
        self.anti_csrf = answer.headers.get("anti-csrf", self.anti_csrf)
        if "id-refresh-token" in answer.headers:
            self.has_session = answer.headers["id-refresh-token"] != "remove"
        return answer

    def _keep(self, line: str) -> None:
        ((name, cookie),) = SimpleCookie(line).items()
        assert (cookie["domain"], cookie["httponly"], cookie["secure"]) == ("localhost", True, "")
        if parsedate_to_datetime(cookie["expires"]).timestamp() <= 0:
            self.jar.pop(name, None)
        else:
            self.jar[name] = (cookie.value, cookie["path"])


@pytest.fixture(scope="module")
def start_app(strict_core: Service) -> Iterator[Callable[[str], str]]:
    with ExitStack() as stack:
        running: dict[str, str] = {}

        def start_app(app: str) -> str:
            if app not in running:
                running[app] = stack.enter_context(run_example(app, strict_core.url))
            return running[app]

        yield start_app


@pytest.fixture
def visitor(app: str, start_app: Callable[[str], str]) -> Visitor:
    visitor = Visitor(start_app(app))
    assert visitor.post("/login/ada").json() == {"user": "ada"}
    assert visitor.has_session
    return visitor


def told(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


def refused(answer: httpx.Response) -> str:
    return str(told(answer, 440)["message"])


@every_app
def test_a_login_sets_three_cookies_of_which_the_refresh_token_goes_to_one_path(visitor: Visitor):
    assert {name: path for name, (_, path) in visitor.jar.items()} == {
        "sAccessToken": "/",
        "sRefreshToken": REFRESH,
        "sIdRefreshToken": "/",
    }
    assert told(visitor.get("/me")) == {"user": "ada", "payload": {"plan": "basic"}}


@every_app
def test_the_first_request_after_a_refresh_replaces_the_access_cookie_once(visitor: Visitor):
    logged_in = visitor.cookies
    told(visitor.post(REFRESH))
    refreshed = visitor.cookies
    assert all(refreshed[name] != logged_in[name] for name in ALL_COOKIES)
    told(visitor.get("/me"))
    used = visitor.cookies
    assert used["sAccessToken"] != refreshed["sAccessToken"]
    assert used["sRefreshToken"] == refreshed["sRefreshToken"]
    told(visitor.get("/me"))
    assert visitor.cookies == used


@every_app
def test_a_stolen_refresh_token_ends_the_session_of_both(visitor: Visitor):
    thief = visitor.copy()
    told(visitor.post(REFRESH))
    told(visitor.get("/me"))
    assert refused(thief.post(REFRESH)) == "token theft detected"
    assert (thief.cookies, thief.has_session) == ({}, False)
    assert refused(visitor.post(REFRESH)) == "unauthorised"
    assert (visitor.cookies, visitor.has_session) == ({}, False)


@every_app
def test_data_of_the_session_is_kept_by_the_core(visitor: Visitor):
    assert [told(visitor.post("/visit"))["visits"] for _ in range(3)] == [1, 2, 3]


@every_app
def test_a_post_without_the_anti_csrf_token_is_sent_to_refresh(visitor: Visitor):
    attacker = visitor.copy()
    for wrong in (None, "another"):
        attacker.anti_csrf = wrong
        assert refused(attacker.post("/visit")) == "try refresh token"
        assert told(attacker.get("/me"))["user"] == "ada"
    assert told(visitor.post("/visit")) == {"visits": 1}


@every_app
def test_a_logout_clears_the_cookies_and_ends_the_session(visitor: Visitor):
    other = visitor.copy()
    told(visitor.post("/logout"))
    assert (visitor.cookies, visitor.has_session) == ({}, False)
    assert refused(other.post(REFRESH)) == "unauthorised"


@every_app
def test_without_an_access_token_a_refresh_is_asked_for_and_without_any_cookie_a_login(visitor: Visitor):
    del visitor.jar["sAccessToken"]
    assert refused(visitor.get("/me")) == "try refresh token"
    told(visitor.post(REFRESH))
    told(visitor.get("/me"))
    visitor.jar.clear()
    assert refused(visitor.post(REFRESH)) == "unauthorised"


@pytest.mark.parametrize("app", SECOND)
def test_a_payload_changed_in_a_request_comes_back_in_a_new_cookie(visitor: Visitor):
    before = visitor.cookies["sAccessToken"]
    assert told(visitor.post("/upgrade")) == {"payload": {"plan": "pro"}}
    assert visitor.cookies["sAccessToken"] != before
    assert told(visitor.get("/me"))["payload"] == {"plan": "pro"}
    told(visitor.post(REFRESH))
    assert told(visitor.get("/me"))["payload"] == {"plan": "pro"}
