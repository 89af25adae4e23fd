"""A user's way from sign-in to sign-out in FastAPI and in Flask, with a core behind them: the frameworks' own story."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integrations import test_story
from tests.integrations.apps.fastapi_app import FastApiApp
from tests.integrations.apps.flask_app import FlaskApp
from tests.integrations.conftest import Served
from tests.integrations.plan import Plan
from tests.integrations.test_story import HOUR

EXCEPT = {"test_the_app_is_told_who_was_on_either_side_of_a_theft": "a core does not know the other side"}

_STORY = {name: scenario for name, scenario in vars(test_story).items() if name.startswith("test_")}
globals().update({name: scenario for name, scenario in _STORY.items() if name not in EXCEPT})


@dataclass(frozen=True)
class CorePlan(Plan):
    """The same with a core, which has a secret and an algorithm of its own."""

    @property
    def arguments(self) -> dict[str, Any]:
        return {"clock": self.clock, **self.settings}


@pytest.fixture(params=[FastApiApp(), FlaskApp()], ids=lambda framework: framework.name)
def framework(request):
    return request.param


@pytest.fixture
def core_url(board, clock) -> str:
    return board.add(clock)


@pytest.fixture
def serve(framework, core_url, clock):
    with ExitStack() as stack:

        def start(plan=None, **settings: Any) -> Served:
            made = CorePlan(**{"url": core_url, "clock": clock, "settings": settings, **(plan or {})})
            return Served(stack.enter_context(framework.open(made)), clock)

        yield start


@pytest.fixture
def browser(serve):
    return serve().browser()


def test_what_is_left_out_exists():
    assert EXCEPT.keys() <= _STORY.keys()


def test_a_core_that_is_broken_is_503_and_signs_nobody_out(browser, board, core_url, clock):
    browser.sign_in("ada")
    browser.get("/me")
    board.broken.add(core_url)
    assert browser.get("/me").json["user"] == "ada"
    clock.advance(HOUR)
    refused = browser.refresh()
    assert (refused.status, refused.is_silent, refused.header("retry-after")) == (503, True, "1")
    board.broken.remove(core_url)
    assert browser.call("GET", "/me").json["user"] == "ada"
