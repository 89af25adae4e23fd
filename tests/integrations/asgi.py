"""A client that calls an ASGI app directly: any bytes go in, every message that comes out is kept."""

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from tests.integrations.exchange import Headers, Reply

RawHeaders = list[tuple[bytes, bytes]]


class AsgiClient:
    """One event loop, and requests one by one or all at once."""

    def __init__(self, app: ASGIApp, runner: asyncio.Runner, *, scheme: str = "http", root_path: str = "") -> None:
        self.app = app
        self.runner = runner
        self.scheme = scheme
        self.root_path = root_path

    def send(self, method: str, path: str, headers: Headers, body: bytes = b"") -> Reply:
        return self.send_raw(method, path, encode(headers), body)

    def send_raw(self, method: str, path: str, headers: RawHeaders, body: bytes = b"") -> Reply:
        return self.runner.run(self._serve(method, path, headers, body))

    def send_all(self, requests: Iterable[tuple[str, str, Headers]]) -> list[Reply]:
        """All at once; the replies in the order of the requests."""

        async def gather() -> list[Reply]:
            return await asyncio.gather(*(self._serve(m, p, encode(h), b"") for m, p, h in requests))

        return self.runner.run(gather())

    async def _serve(self, method: str, path: str, headers: RawHeaders, body: bytes) -> Reply:
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": self.scheme,
            "path": self.root_path + path,
            "raw_path": (self.root_path + path).encode("utf-8"),
            "root_path": self.root_path,
            "query_string": b"",
            "headers": [(b"host", b"api.test"), *headers],
            "client": ("127.0.0.1", 50000),
            "server": ("api.test", 80),
            "state": {},
        }
        inbox: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        outbox: list[Any] = []
        has_ended = asyncio.Event()

        async def receive() -> Message:
            if inbox:
                return inbox.pop()
            await has_ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            outbox.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                has_ended.set()

        await self.app(scope, receive, send)
        start, *rest = outbox
        return Reply(
            start["status"],
            [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start["headers"]],
            [message["body"] for message in rest if message.get("body")],
        )


def encode(headers: Headers) -> RawHeaders:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
