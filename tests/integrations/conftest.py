"""Each scenario runs on each framework and each store."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tallystick import Sessions
from tallystick.testing import FakeClock
from tests.integrations.browser import Browser, Client
from tests.integrations.frameworks import FRAMEWORKS
from tests.integrations.plan import SECRET, AppUnderTest, Plan

EXAMPLES = 10
"""For each framework in each of the anti-CSRF modes, which makes 32 times as many. What reads tokens has its own in
tests/unit."""

settings.register_profile("http-ci", derandomize=True, max_examples=EXAMPLES, deadline=None, database=None)
settings.register_profile("http-laptop", max_examples=EXAMPLES, deadline=None)


@pytest.fixture(autouse=True)
def hypothesis_profile() -> None:
    settings.load_profile("http-ci" if os.environ.get("CI") else "http-laptop")


@dataclass(frozen=True)
class Served:
    """An app that is running."""

    client: Client
    clock: FakeClock

    def browser(self, mode: Any = "cookie", **settings: Any) -> Browser:
        return Browser(self.client, self.clock, mode, **settings)


Serve = Callable[..., Served]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables made, to be copied: migrating each test's own would take most of the time."""
    path = tmp_path_factory.mktemp("template") / "sessions.sqlite"
    with Sessions(f"sqlite:///{path}", secret=SECRET, algorithm="EdDSA", clock=FakeClock()):
        pass
    return path


@pytest.fixture(params=FRAMEWORKS, ids=lambda framework: framework.name)
def framework(request: pytest.FixtureRequest) -> AppUnderTest:
    found: AppUnderTest = request.param
    return found


@pytest.fixture(params=["memory", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return "memory://"
    copied = shutil.copy(request.getfixturevalue("migrated"), tmp_path / "sessions.sqlite")
    return f"sqlite:///{copied}"


@pytest.fixture
def serve(framework: AppUnderTest, store_url: str, clock: FakeClock) -> Iterator[Serve]:
    """Run the app, with these settings: ``serve(anti_csrf=...)``; what is for the app itself goes into ``plan``."""
    with ExitStack() as stack:

        def start(plan: dict[str, Any] | None = None, **settings: Any) -> Served:
            made = Plan(**{"url": store_url, "clock": clock, "settings": settings, **(plan or {})})
            return Served(stack.enter_context(framework.open(made)), clock)

        yield start


@pytest.fixture
def browser(serve: Serve) -> Browser:
    return serve().browser()
