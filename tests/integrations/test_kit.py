"""`tallystick.testing`, as an app's own tests use it, on the test client of each framework."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.test import Client as DjangoClient
from starlette.testclient import TestClient

from tallystick import AntiCsrf, AsyncSessions, Sessions
from tallystick.presets import classic
from tallystick.testing import FakeClock, SeededEntropy, hold_answer, sign_in, steal
from tests.integrations.apps import django_app
from tests.integrations.apps.django_project import project, set_up
from tests.integrations.apps.fastapi_app import FastApiApp
from tests.integrations.apps.flask_app import FlaskApp
from tests.integrations.plan import Plan

HOUR = timedelta(hours=1, seconds=1)
MINUTE = timedelta(minutes=1)


@dataclass
class Kit:
    """An app's sessions and clock, and how to make a client of it."""

    sessions: Sessions | AsyncSessions
    clock: FakeClock
    new_client: Callable[[], Any]

    def sign_in(self, user: str = "ada", **options: Any) -> Any:
        return sign_in(self.new_client(), self.sessions, user, **options)

    @staticmethod
    def ask(client: Any, method: str, path: str) -> tuple[int, Any]:
        response = getattr(client, method.lower())(path)
        body = response.json
        return response.status_code, body() if callable(body) else body


Make = Callable[..., Kit]


def make_fastapi(plan: Plan, _stack: ExitStack) -> tuple[Any, Callable[[], Any]]:
    sessions = plan.make_async_sessions()
    app = FastApiApp().build(plan, sessions)
    return sessions, lambda: TestClient(app)


def make_flask(plan: Plan, _stack: ExitStack) -> tuple[Any, Callable[[], Any]]:
    sessions = plan.make_sessions()
    app = FlaskApp().build(plan, sessions)
    return sessions, app.test_client


def make_django(plan: Plan, stack: ExitStack, urls: str = django_app.__name__, client: Any = DjangoClient) -> Any:
    from django.apps import apps  # noqa: PLC0415 - once the project is set up

    stack.enter_context(project(plan, urls, ALLOWED_HOSTS=["testserver"]))
    sessions = apps.get_app_config("tallystick").sessions  # type: ignore[attr-defined]
    return sessions, client


def make_drf(plan: Plan, stack: ExitStack) -> Any:
    set_up()
    from rest_framework.test import APIClient  # noqa: PLC0415 - it reads the settings

    return make_django(plan, stack, "tests.integrations.apps.drf_views", APIClient)


@pytest.fixture(params=[make_fastapi, make_flask, make_django, make_drf], ids=lambda make: make.__name__[5:])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    with ExitStack() as stack:

        def make(**settings: Any) -> Kit:
            clock = FakeClock.from_now()
            return Kit(*_order(request.param(Plan("memory://", clock, settings), stack), clock))

        yield make


def _order(made: tuple[Any, Callable[[], Any]], clock: FakeClock) -> tuple[Any, FakeClock, Callable[[], Any]]:
    return made[0], clock, made[1]


def test_a_client_is_signed_in_in_one_line(make: Make):
    kit = make()
    client = kit.sign_in(jwt_payload={"role": "admin"})
    status, body = kit.ask(client, "GET", "/me")
    assert (status, body["user"], body["payload"]) == (200, "ada", {"role": "admin"})
    assert kit.ask(client, "POST", "/me")[0] == 200
    assert kit.ask(kit.new_client(), "GET", "/me")[0] == 401


@pytest.mark.parametrize(
    "settings",
    [
        {"anti_csrf": AntiCsrf.VIA_TOKEN},
        {"anti_csrf": AntiCsrf.VIA_CUSTOM_HEADER},
        {"access_token_path": "/", "refresh_token_path": "/"},
        classic(),
    ],
    ids=["token", "header", "path", "classic"],
)
def test_it_is_whatever_the_settings_are(make: Make, settings: Any):
    kit = make(**settings)
    client = kit.sign_in()
    assert kit.ask(client, "POST", "/me")[0] == 200


def test_the_clock_takes_it_through_a_refresh(make: Make):
    kit = make()
    client = kit.sign_in()
    kit.clock.advance(HOUR)
    assert kit.ask(client, "GET", "/me") == (401, {"message": "try refresh token"})
    assert kit.ask(client, "POST", "/auth/session/refresh")[0] == 200
    assert kit.ask(client, "GET", "/me")[0] == 200, "the new cookies have replaced the old ones"
    assert kit.ask(client, "POST", "/auth/signout")[0] == 200
    assert kit.ask(client, "GET", "/me")[0] == 401


def test_a_thief_is_noticed(make: Make):
    kit = make()
    client = kit.sign_in()
    thief = steal(client, kit.new_client(), kit.sessions)
    assert kit.ask(thief, "GET", "/me")[1]["user"] == "ada"
    assert kit.ask(client, "POST", "/auth/session/refresh")[0] == 200
    assert kit.ask(client, "GET", "/me")[0] == 200
    kit.clock.advance(MINUTE)
    assert kit.ask(thief, "POST", "/auth/session/refresh") == (401, {"message": "token theft detected"})
    assert kit.ask(client, "POST", "/auth/session/refresh")[0] == 401


def test_a_refresh_whose_answer_is_lost_signs_nobody_out(make: Make):
    kit = make()
    client = kit.sign_in()
    kit.clock.advance(HOUR)
    lost = hold_answer(client, kit.sessions)
    assert (lost.status_code, repr(lost)) == (200, "HeldAnswer(200)")
    assert kit.ask(client, "GET", "/me")[0] == 401, "it has arrived nevertheless"
    assert kit.ask(client, "POST", "/auth/session/refresh")[0] == 200
    assert kit.ask(client, "GET", "/me")[0] == 200


def test_answers_may_come_in_the_wrong_order(make: Make):
    kit = make()
    client = kit.sign_in()
    kit.clock.advance(HOUR)
    late, soon = hold_answer(client, kit.sessions), hold_answer(client, kit.sessions)
    soon.deliver()
    assert kit.ask(client, "GET", "/me")[0] == 200
    late.deliver()
    late.deliver()
    assert kit.ask(client, "GET", "/me")[0] == 200
    assert kit.ask(client, "POST", "/auth/session/refresh")[0] == 200


def test_an_answer_that_takes_cookies_away_can_be_late_too(make: Make):
    kit = make()
    client = kit.sign_in()
    gone = hold_answer(client, kit.sessions, "POST", "/auth/signout")
    assert kit.ask(client, "GET", "/me")[0] == 200, "a token is good until it runs out"
    gone.deliver()
    assert kit.ask(client, "GET", "/me")[0] == 401


def test_there_must_be_something_to_steal(make: Make):
    kit = make()
    with pytest.raises(ValueError, match="sign in first"):
        steal(kit.new_client(), kit.new_client(), kit.sessions)


@pytest.mark.parametrize("wrong", [None, "client", {}, object()])
def test_what_is_no_test_client_is_refused(wrong: Any, tallystick_sessions: Sessions):
    with pytest.raises(TypeError, match="a test client is needed"):
        sign_in(wrong, tallystick_sessions, "ada")


def test_an_asynchronous_client_is_signed_in_where_a_loop_runs(tallystick_async_sessions: AsyncSessions):
    app = FastApiApp().build(Plan("memory://", FakeClock.from_now()), tallystick_async_sessions)

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app.test") as client:
            sign_in(client, tallystick_async_sessions, "ada")
            return (await client.get("/me")).status_code

    assert asyncio.run(ask()) == 200


def test_the_fixtures_share_their_clock(
    tallystick_sessions: Sessions, tallystick_clock: FakeClock, tallystick_async_sessions: AsyncSessions
):
    created = tallystick_sessions.create_new_session("ada")
    assert created.refresh_token.created_time == tallystick_clock.now
    made = asyncio.run(tallystick_async_sessions.create_new_session("ada"))
    assert made.refresh_token.created_time == tallystick_clock.now
    assert len({SeededEntropy(1)(8), SeededEntropy(1)(8)}) == 1
