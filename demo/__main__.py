"""`make demo`, or `python -m demo`: serves the demo on loopback until Ctrl-C, and leaves nothing behind."""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import sys
import tempfile
import webbrowser
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from demo.app import HERE, create_app

FIRST_PORT = 8460
HOST = "127.0.0.1"


class DemoServer(uvicorn.Server):
    """A server that ends its live feeds before it waits for connections to close."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        if isinstance(app, FastAPI):
            app.state.wiretap.close()
        await super().shutdown(sockets)


def listen(port: int | None) -> socket.socket:
    """Listen at ``port``, or with None at the usual one, or else at any free one."""
    for candidate in (FIRST_PORT, 0) if port is None else (port,):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, candidate))
            listener.listen()
        except OSError as error:
            listener.close()
            reason = error.strerror
        else:
            return listener
    raise SystemExit(f"cannot listen at port {port}: {reason}")


def make_server(listener: socket.socket, database: Path) -> tuple[str, DemoServer]:
    """The demo's address and its server."""
    url = f"http://localhost:{listener.getsockname()[1]}"
    app = create_app(f"sqlite:///{database}", origin=url)
    return url, DemoServer(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo", description="Tallystick's demo app, on this machine only.")
    parser.add_argument("--port", type=int, help=f"where to listen (default: {FIRST_PORT}, or any other free port)")
    parser.add_argument("--open", action="store_true", help="open it in your browser")
    arguments = parser.parse_args()
    if not (HERE / "assets" / "main.js").exists():
        sys.exit("the page's scripts are not built yet: run `make demo`")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it too ends in order
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="tallystick-demo-") as folder,
        listen(arguments.port) as listener,
    ):
        url, server = make_server(listener, Path(folder) / "demo.db")
        print(f"Tallystick demo: {url}  (Ctrl-C ends it)", flush=True)
        if arguments.open:
            webbrowser.open(url)
        server.run(sockets=[listener])


if __name__ == "__main__":
    main()
