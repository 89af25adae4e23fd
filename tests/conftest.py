"""Fixtures that every folder of tests may ask for. Each server starts when first asked for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

import tallystick.config
import tallystick.verified_tokens
from tests.mariadb_servers import make_mariadb_database, run_mariadb
from tests.redis_servers import run_redis, run_redis_cluster
from tests.servers import find_chromium, make_database, run_postgres
from tests.token_cache.sitecustomize import MODE, compare, turn_off

TESTS = Path(__file__).parent
WITH_BROWSER = ("browser", "docs", "test_servers.py")
"""Where `make test` looks for tests with a browser: to look through all takes it a quarter of a minute."""
CHROMIUM_FLAGS = (
    "--no-sandbox",  # needed as root; the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # No talk with the outside: tests stay on loopback.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-token-cache",
        action="store_true",
        help="Sessions remember no verified access token unless a test asks for it, in the programs that tests start "
        "too. Without this option each remembered token is verified again, and both answers must be the same.",
    )


def pytest_configure(config: pytest.Config) -> None:
    is_off = config.getoption("--no-token-cache")
    if is_off:
        turn_off(tallystick.config)
    else:
        compare(tallystick.verified_tokens)
    os.environ["PYTHONPATH"] = str(TESTS / "token_cache")
    os.environ[MODE] = "off" if is_off else "compared"
    # Here are no certificates, and tests stay on loopback. To read all that a machine has takes an httpx client 45 ms.
    os.environ["SSL_CERT_DIR"] = str(TESTS)
    os.environ.pop("SSL_CERT_FILE", None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the browser's tests, and run them last.

    Playwright's sync API leaves an event loop running in its thread for as long as the browser is up, and no async test
    can start beside it. With several workers order is not enough, so `make test` gives the browser a run of its own.
    """
    for item in items:
        if "chromium_path" in getattr(item, "fixturenames", ()):
            assert item.path.parts[len(TESTS.parts)] in WITH_BROWSER, (
                f"the Makefile finds no browser's test in {item.path}"
            )
            item.add_marker("browser")
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have counted, as they recorded it with `record_property`. From pytest-xdist's workers no other word
    comes through."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    counted = [f"{name}: {value}" for report in reports for name, value in report.user_properties]
    if counted:
        terminalreporter.section("counted")
        terminalreporter.write_line("\n".join(counted))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A private PostgreSQL server; with pytest-xdist, one for each worker that asks."""
    with run_postgres() as server:
        yield server.url


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """A private MariaDB server; with pytest-xdist, one for each worker that asks."""
    with run_mariadb() as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A private Redis server; with pytest-xdist, one for each worker that asks."""
    with run_redis() as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_cluster_url() -> Iterator[str]:
    """A private cluster of six."""
    with run_redis_cluster() as url:
        yield url


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """An empty database of the test's own."""
    with make_database(postgres_url) as url:
        yield url


@pytest.fixture
def mariadb_database(mariadb_url: str) -> Iterator[str]:
    """The same on MariaDB."""
    with make_mariadb_database(mariadb_url) as url:
        yield url


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    return find_chromium()


@pytest.fixture(scope="session")
def browser(chromium_path: Path) -> Iterator[Browser]:
    """A headless Chromium; each test opens a context of its own in it."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium_path, args=list(CHROMIUM_FLAGS))
        yield launched
        launched.close()
