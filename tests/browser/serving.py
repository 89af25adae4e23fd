"""Serve an app from a thread, and the page's scripts from npm."""

import fcntl
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import uvicorn

from tests.servers import missing

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"
START_SECONDS = 20
STOP_SECONDS = 10


def build_assets() -> None:
    """Build the demo's page where it is missing or outdated. Of several workers one does it."""
    if shutil.which("npm") is None:
        missing("npm")
    with (ROOT / "Makefile").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(
            ["make", "--silent", "demo/assets/.stamp"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    if made.returncode:
        raise RuntimeError(f"the demo's page could not be built:\n{made.stdout}{made.stderr}")


def bundle_sdk(target: Path) -> None:
    """Put the SDK into one script for the tests' own page."""
    build_assets()
    esbuild = DEMO / "node_modules" / ".bin" / "esbuild"
    subprocess.run(
        [esbuild, Path(__file__).with_name("sdk.js"), "--bundle", "--log-level=warning", f"--outfile={target}"],
        env={**os.environ, "NODE_PATH": str(DEMO / "node_modules")},
        check=True,
    )


def listen() -> socket.socket:
    """A socket at a free port of our own, kept open so that nobody else takes it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def address(listener: socket.socket) -> str:
    return f"http://localhost:{listener.getsockname()[1]}"


@contextmanager
def running(server: uvicorn.Server, listener: socket.socket) -> Iterator[str]:
    """Run the server in a thread; its address."""
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    try:
        yield address(listener)
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        listener.close()
        assert not thread.is_alive(), "the server did not stop"


def make_server(app: object, kind: type[uvicorn.Server] = uvicorn.Server) -> uvicorn.Server:
    return kind(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=2))
