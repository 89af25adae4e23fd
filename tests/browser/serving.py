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
from socketserver import ThreadingMixIn
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication

import uvicorn

from tests.servers import missing

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"
CLASSIC = Path(__file__).with_name("classic")
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
    _bundle(Path(__file__).with_name("sdk.js"), DEMO, target)


def bundle_classic_sdk(target: Path) -> None:
    """The same with the oldest SDK that npm has."""
    build_assets()
    with (CLASSIC / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["npm", "ci", "--silent", "--ignore-scripts"], cwd=CLASSIC, check=True)
        _bundle(CLASSIC / "sdk.js", CLASSIC, target)


def _bundle(script: Path, packages: Path, target: Path) -> None:
    esbuild = DEMO / "node_modules" / ".bin" / "esbuild"
    subprocess.run(
        [
            esbuild,
            script,
            "--bundle",
            "--banner:js=var process = { env: {} };",
            "--log-level=warning",
            f"--outfile={target}",
        ],
        env={**os.environ, "NODE_PATH": str(packages / "node_modules")},
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


@contextmanager
def running_wsgi(app: WSGIApplication, listener: socket.socket) -> Iterator[str]:
    """Serve a WSGI app, a thread for each request; its address."""
    server = _WsgiServer(listener.getsockname(), _QuietHandler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_name, server.server_port = listener.getsockname()
    server.setup_environ()
    server.set_app(app)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield address(listener)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(STOP_SECONDS)
        assert not thread.is_alive(), "the server did not stop"


class _WsgiServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""


def make_server(app: object, kind: type[uvicorn.Server] = uvicorn.Server) -> uvicorn.Server:
    return kind(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=2))
