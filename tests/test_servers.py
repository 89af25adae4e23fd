"""The fixtures that start something real, each shown to work."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from urllib.parse import urlsplit

import psycopg
import pytest

from tallystick import Config, verified_tokens
from tallystick.protocol.access_token import UnknownKey
from tallystick.protocol.keyring import empty_keyring
from tallystick.verified_tokens import TokenCache, VerifiedTokens
from tests.mariadb_servers import connect
from tests.servers import make_database, missing
from tests.token_cache.sitecustomize import DifferentAnswer, compare
from tests.unit.workshop import SCHEDULE


class Greeter(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>hello</title><script>document.title += ' there'</script>")

    def log_message(self, *_):
        """Stay quiet."""


@pytest.fixture
def page_url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Greeter) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join(5)


# First in the file, last to run: this order is what the hook in conftest.py is there to change.
def test_chromium_renders_a_page_and_runs_its_script(browser, page_url):
    context = browser.new_context()
    page = context.new_page()
    page.goto(page_url)
    assert page.title() == "hello there"
    context.close()


def test_each_browser_context_starts_empty(browser, page_url):
    for _ in range(2):
        context = browser.new_context()
        page = context.new_page()
        page.goto(page_url)
        assert context.cookies() == []
        page.evaluate("document.cookie = 'seen=1'")
        assert len(context.cookies()) == 1
        context.close()


async def test_async_tests_run_in_the_same_process_as_the_browser():
    await asyncio.sleep(0)


def test_postgres_answers(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        (version,) = connection.execute("SELECT version()").fetchone()
    assert version.startswith("PostgreSQL")


async def test_postgres_answers_async(postgres_database):
    async with await psycopg.AsyncConnection.connect(postgres_database) as connection:
        cursor = await connection.execute("SELECT current_database()")
        assert await cursor.fetchone() == (urlsplit(postgres_database).path.lstrip("/"),)


@pytest.mark.parametrize("_round", [1, 2])
def test_each_test_gets_an_empty_database(postgres_database, _round):
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE mine (id int)")


def test_a_database_is_dropped_even_with_a_connection_left_open(postgres_url):
    with make_database(postgres_url) as url:
        left_open = psycopg.connect(url)
    with pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    left_open.close()


def test_what_is_missing_is_skipped_on_a_laptop(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="a teapot"):
        missing("a teapot")


def test_what_is_missing_fails_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="a teapot"):
        missing("a teapot")


def test_mariadb_answers(mariadb_database):
    with connect(mariadb_database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION(), DATABASE()")
        version, database = cursor.fetchone()
    assert "MariaDB" in version
    assert mariadb_database.endswith(f"/{database}")


PROGRAM = """
from tallystick import Config, verified_tokens
from tallystick.protocol.access_token import UnknownKey
from tallystick.protocol.keyring import empty_keyring
from tallystick.verified_tokens import TokenCache, VerifiedTokens
from tallystick.verified_tokens import TokenCache

print(Config().verified_token_cache, TokenCache.open.__name__)
"""


def test_the_tests_and_what_they_start_remember_no_token_or_compare_what_they_remember(pytestconfig):
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    expected = ["0", "open"] if pytestconfig.getoption("--no-token-cache") else ["10000", "open_both_ways"]
    assert done.stdout.split() == expected
    assert [str(Config().verified_token_cache), TokenCache.open.__name__] == expected


def test_a_cache_that_answers_other_than_a_verification_is_noticed():
    class Mistaken(VerifiedTokens):
        def _open_anew(self, text, secrets, now):
            return UnknownKey("k1")

    compare(SimpleNamespace(**vars(verified_tokens) | {"TokenCache": Mistaken}))
    with pytest.raises(DifferentAnswer):
        Mistaken(empty_keyring(SCHEDULE, "EdDSA"), 10).open("no token", [], 0)
