"""The tutorial, followed step by step: its files, its commands, its page in a real browser."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.docs.documents import ROOT, blocks_of, commands_of
from tests.servers import missing, pick_free_port

TUTORIAL = ROOT / "docs" / "tutorial.md"
NPM_SECONDS = 180
START_SECONDS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the reader has after section 3."""
    if not (shutil.which("npm") and shutil.which("node")):
        missing("npm")
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "static").mkdir()
    (folder / "app.py").write_text(blocks_of(TUTORIAL, "python")[0].text, "utf-8")
    (folder / "page.js").write_text(blocks_of(TUTORIAL, "js")[0].text, "utf-8")
    (folder / "static" / "index.html").write_text(blocks_of(TUTORIAL, "html")[0].text, "utf-8")
    commands = [command.line for block in blocks_of(TUTORIAL, "console") for command in commands_of(block)]
    for command in (line for line in commands if line.startswith(("npm ", "npx "))):
        done = subprocess.run(  # noqa: PLW1510 - the assertion below shows what npm said
            command.split(), cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS
        )
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    port = pick_free_port()
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "warning"]
    environment = {name: value for name, value in os.environ.items() if name != "TALLYSTICK_SECRET"}
    server = subprocess.Popen(command, cwd=folder, env=environment)
    try:
        address = f"http://localhost:{port}"
        wait_for(address)
        yield address
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def wait_for(address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            httpx.get(address)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(address)


def ask(page: Page, answer: str) -> None:
    page.locator("output").evaluate("output => { output.textContent = '' }")
    page.get_by_role("button", name="Who am I?").click()
    expect(page.locator("output")).to_have_text(answer)


def test_the_tutorial_does_what_it_promises(address: str, folder: Path, browser: Browser):
    refused = httpx.get(f"{address}/me")
    assert (refused.status_code, refused.text) == (401, '{"message":"unauthorised"}')
    signed_in = '200 {"user":"ada","role":"reader"}'
    refused_text = re.compile("^401 ")
    context = browser.new_context()
    page = context.new_page()
    calls: list[tuple[str, int]] = []
    page.on("response", lambda response: calls.append((response.url.removeprefix(address), response.status)))
    page.goto(address)
    ask(page, refused_text)
    assert [path for path, _ in calls].count("/auth/session/refresh") == 1
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("output")).to_contain_text("200")
    ask(page, signed_in)
    time.sleep(11)
    calls.clear()
    ask(page, signed_in)
    assert calls == [("/me", 401), ("/auth/session/refresh", 200), ("/me", 200)]
    second = context.new_page()
    second.goto(address)
    time.sleep(11)
    for tab in (page, second):
        tab.get_by_role("button", name="Who am I?").click()
    for tab in (page, second):
        expect(tab.locator("output")).to_have_text(signed_in)
    second.close()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("output")).to_have_text("signed out")
    ask(page, refused_text)
    context.close()
    secret = folder / "sessions.db.secret"
    assert secret.stat().st_mode & 0o777 == 0o600
