"""Fixtures for what is tested in a real Chromium."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from demo.__main__ import DemoServer
from demo.app import create_app
from tests.browser.serving import address, build_assets, bundle_classic_sdk, bundle_sdk, listen, make_server, running
from tests.browser.site import Site, run_site

PATIENCE_MS = 15_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def assets() -> None:
    build_assets()


@pytest.fixture(scope="session")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sdk") / "sdk.js"
    bundle_sdk(target)
    return target


@pytest.fixture(scope="session")
def classic_sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("classic-sdk") / "sdk.js"
    bundle_classic_sdk(target)
    return target


@pytest.fixture
def make_site(sdk: Path, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Starts a website and its API with these settings."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(run_site(sdk, tmp_path, **settings))


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


@pytest.fixture
def demo(assets: None, tmp_path: Path) -> Iterator[str]:
    """The demo, with access tokens that last 2 seconds; its address."""
    listener = listen()
    app = create_app(
        f"sqlite:///{tmp_path}/demo.db", origin=address(listener), access_token_validity=timedelta(seconds=2)
    )
    with running(make_server(app, DemoServer), listener) as url:
        yield url


@pytest.fixture
def new_device(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Opens one browser with a cookie jar of its own."""
    with ExitStack() as stack:

        def new_device(**settings: Any) -> BrowserContext:
            context = browser.new_context(**settings)
            context.set_default_timeout(PATIENCE_MS)
            stack.callback(context.close)
            return context

        yield new_device


@pytest.fixture
def device(new_device: Callable[..., BrowserContext]) -> BrowserContext:
    return new_device()
