"""An app called as its server calls it, in this process and without a socket."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

PATH = "/me"
PLAIN = "/plain"
"""A route that asks for no session."""

_HEADERS = (
    ("host", "api.example.com"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "en-GB,en;q=0.9"),
)
"""About what a browser sends."""

Headers = Sequence[tuple[str, str]]


class Caller(Protocol):
    """How to call one app."""

    def time(self, requests: Sequence[tuple[str, Headers]]) -> int:
        """Serve all of these, each a path and its headers; the processor time of this thread in ns."""
        ...

    def serve(self) -> int:
        """Serve over HTTP in a thread of its own; the port."""
        ...


class AsgiCaller:
    """For ASGI apps. They are served over HTTP by uvicorn, as most are."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._loop = asyncio.new_event_loop()

    def time(self, requests: Sequence[tuple[str, Headers]]) -> int:
        return self._loop.run_until_complete(self._time([_scope(path, headers) for path, headers in requests]))

    async def _time(self, scopes: list[dict[str, Any]]) -> int:
        statuses: list[int] = []
        receivers = [_receiver() for _ in scopes]

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        begun = time.thread_time_ns()
        for scope, receive in zip(scopes, receivers, strict=True):
            await self.app(scope, receive, send)
        spent = time.thread_time_ns() - begun
        _check(statuses, len(scopes))
        return spent

    def serve(self) -> int:
        import threading  # noqa: PLC0415

        import uvicorn  # noqa: PLC0415

        config = uvicorn.Config(self.app, "127.0.0.1", 0, log_level="error", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        threading.Thread(target=server.run, daemon=True).start()
        while not server.started:
            time.sleep(0.01)
        return server.servers[0].sockets[0].getsockname()[1]


def _receiver() -> Callable[[], Awaitable[dict[str, Any]]]:
    """A request without a body, and a client who does not go away."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else await asyncio.get_running_loop().create_future()

    return receive


class WsgiCaller:
    """For WSGI apps. They are served over HTTP by waitress: in pure Python, and in this process."""

    def __init__(self, app: Callable[[dict[str, Any], Any], Iterable[bytes]]) -> None:
        self.app = app

    def time(self, requests: Sequence[tuple[str, Headers]]) -> int:
        environs = [_environ(path, headers) for path, headers in requests]
        statuses: list[int] = []

        def start_response(status: str, _headers: Any, _error: Any = None) -> Callable[[bytes], object]:
            statuses.append(int(status[:3]))
            return lambda _data: None

        begun = time.thread_time_ns()
        for environ in environs:
            body = self.app(environ, start_response)
            b"".join(body)
            if hasattr(body, "close"):
                body.close()
        spent = time.thread_time_ns() - begun
        _check(statuses, len(environs))
        return spent

    def serve(self) -> int:
        import threading  # noqa: PLC0415

        import waitress  # noqa: PLC0415

        # With one thread each request waits in the queue for a moment, which it would say each time.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        server = waitress.create_server(self.app, host="127.0.0.1", port=0, threads=1)
        threading.Thread(target=server.run, daemon=True).start()
        return server.effective_port


def _check(statuses: list[int], count: int) -> None:
    if statuses != [200] * count:
        raise RuntimeError(f"answered {sorted(set(statuses))}, {len(statuses)} of {count}: there is nothing to measure")


def _scope(path: str, headers: Headers) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("ascii"),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode("ascii"), value.encode("latin-1")) for name, value in (*_HEADERS, *headers)],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 40000),
        "state": {},
    }


def _environ(path: str, headers: Headers) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in (*_HEADERS, *headers)},
    }
