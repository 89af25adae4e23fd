"""Fixtures for the core: its endpoints without a socket, and running services and SDKs, shared by a worker's tests."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.service.cores import Core
from tests.service.operating import Service
from tests.service.sdks import Kind, Sdk, run_sdk
from tests.service.serving import run_core

FOR_CLASSIC_SDKS = {
    # What later SDKs are told in the app's code.
    "enable_anti_csrf": True,
    "cookie_domain": "localhost",
    "cookie_secure": False,
    "refresh_api_path": "/api/refresh",
}


@pytest.fixture
async def core():
    """A core with the settings that clients of CDI 5.5 and older are used to."""
    made = Core(refresh_token_rotation_grace_period=0)
    async with made.http:
        yield made


@pytest.fixture(scope="session")
def strict_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Without a grace, as clients of CDI 5.5 and older expect."""
    folder = tmp_path_factory.mktemp("strict-core")
    with run_core(folder, refresh_token_rotation_grace_period=0, **FOR_CLASSIC_SDKS) as core:
        yield core


@pytest.fixture(scope="session")
def brief_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Its access tokens last a second."""
    folder = tmp_path_factory.mktemp("brief-core")
    with run_core(folder, access_token_validity=1, **FOR_CLASSIC_SDKS) as core:
        yield core


@pytest.fixture(scope="session")
def start_sdk() -> Iterator[Callable[..., Sdk]]:
    """An SDK that asks the core at this address; the same one when asked again."""
    with ExitStack() as stack:
        running: dict[tuple[object, ...], Sdk] = {}

        def start_sdk(kind: Kind, core: str, **options: Any) -> Sdk:
            key = (kind, core, *sorted(options.items()))
            if key not in running:
                running[key] = stack.enter_context(run_sdk(kind, core, **options))
            return running[key]

        yield start_sdk


@pytest.fixture
def sdk(kind: Kind, strict_core: Service, start_sdk: Callable[..., Sdk]) -> Sdk:
    """The SDK that the test is parametrized with."""
    return start_sdk(kind, strict_core.url)
