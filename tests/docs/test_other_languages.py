"""The apps of docs/how-to/use-it-from-other-languages.md, on the real SDKs and one running service."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.docs.documents import ROOT, blocks_of
from tests.servers import pick_free_port
from tests.service.sdks import HOME, PYTHON, find_node, install
from tests.service.serving import run_core

DOCUMENT = ROOT / "docs" / "how-to" / "use-it-from-other-languages.md"
API_KEY = "a-key-of-twenty-characters"
START_SECONDS = 30
STOP_SECONDS = 10


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    install()
    with run_core(tmp_path_factory.mktemp("core"), api_keys=API_KEY) as core:
        yield core.url


@contextmanager
def serving(core: str, folder: Path, port: int, *command: str | Path) -> Iterator[httpx.Client]:
    """Run an app as the document says; a client of it."""
    environment = {**os.environ, "CORE": core, "CORE_API_KEY": API_KEY, "PORT": str(port)}
    # So that the script finds packages that were not installed beside it.
    environment |= {"NODE_PATH": str(HOME / "node_modules")}
    app = subprocess.Popen([*command], cwd=folder, env=environment, stdout=sys.stderr)
    try:
        with httpx.Client(base_url=f"http://localhost:{port}", headers={"st-auth-mode": "header"}) as client:
            deadline = time.monotonic() + START_SECONDS
            while not is_up(client):
                assert app.poll() is None, "the app has ended"
                assert time.monotonic() < deadline, "the app did not start"
                time.sleep(0.05)
            yield client
    finally:
        app.terminate()
        app.wait(STOP_SECONDS)


def is_up(client: httpx.Client) -> bool:
    try:
        client.get("/")
    except httpx.TransportError:
        return False
    return True


def test_a_user_signed_in_to_the_node_app_is_known_to_the_python_app(core: str, tmp_path: Path):
    (tmp_path / "app.js").write_text(blocks_of(DOCUMENT, "js")[0].text, "utf-8")
    (tmp_path / "app.py").write_text(blocks_of(DOCUMENT, "python")[0].text, "utf-8")
    at_node, at_python = pick_free_port(), pick_free_port()
    uvicorn = (PYTHON, "-m", "uvicorn", "app:app", "--port", str(at_python), "--log-level", "warning")
    with (
        serving(core, tmp_path, at_node, find_node(), "app.js") as node,
        serving(core, tmp_path, at_python, *uvicorn) as python,
    ):
        signed_in = node.post("/sign-in/ada")
        bearer = {"authorization": f"Bearer {signed_in.headers['st-access-token']}"}
        assert node.get("/me", headers=bearer).json() == {"user": "ada", "plan": "basic"}
        assert python.get("/orders", headers=bearer).json() == {"user": "ada"}
        refreshing = {"authorization": f"Bearer {signed_in.headers['st-refresh-token']}"}
        refreshed = python.post("/auth/session/refresh", headers=refreshing)
        bearer = {"authorization": f"Bearer {refreshed.headers['st-access-token']}"}
        assert node.get("/me", headers=bearer).json()["user"] == "ada"
        assert node.get("/me").status_code == 401
