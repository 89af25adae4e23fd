"""A load on an HTTP service that costs little itself, as it runs on the same machine: one process, raw sockets, no
parsing but for what the next request needs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import uvloop

TOKENS = 1000
"""So many access tokens are verified in turn."""
WARM_UP_SECONDS = 1.0

Next = Callable[[bytes], bytes]
"""From the answer's body to the next request."""


@dataclass(slots=True)
class Found:
    """What a run has found, after its warm-up."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Processor time of the service for each request."""
    client_us: float
    """That of this process."""


class _Connection(asyncio.Protocol):
    def __init__(self, first: bytes, following: Next, done: Callable[[float, float], None]) -> None:
        self._request, self._following, self._done = first, following, done
        self._answer = b""
        self.is_over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        answer = self._answer = self._answer + data if self._answer else data
        head = answer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = answer.find(b"content-length: ", 0, head) + 16
        if len(answer) < head + 4 + int(answer[at : answer.index(b"\r\n", at)]):
            return
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not what was expected: {answer[:500]!r}")
        self._answer = b""
        self._done(self._sent_at, time.perf_counter())
        if self.is_over:
            self._transport.close()
        else:
            self._request = self._following(answer[head + 4 :])
            self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


def run(port: int, operation: str, connections: int, seconds: float, service_time: Callable[[], float]) -> Found:
    """So many connections, each with one request after another. ``service_time`` is the service's processor time until
    now, in s."""
    return uvloop.run(_run(port, operation, connections, seconds, service_time))


async def _run(port: int, operation: str, connections: int, seconds: float, service_time: Callable[[], float]) -> Found:
    works = await _prepare(port, operation, connections)
    begun = time.perf_counter() + WARM_UP_SECONDS
    latencies: list[float] = []

    def done(sent_at: float, answered_at: float) -> None:
        if sent_at >= begun:
            latencies.append(answered_at - sent_at)

    loop = asyncio.get_running_loop()
    open_connections = []
    for first, following in works:
        _, connection = await loop.create_connection(
            lambda first=first, following=following: _Connection(first, following, done), "127.0.0.1", port
        )
        open_connections.append(connection)
    await asyncio.sleep(begun - time.perf_counter())
    cpu, service = time.process_time(), service_time()
    await asyncio.sleep(seconds)
    cpu, service = time.process_time() - cpu, service_time() - service
    elapsed, count = time.perf_counter() - begun, len(latencies)
    for connection in open_connections:
        connection.is_over = True
    await asyncio.sleep(0.2)
    return Found(
        count / elapsed,
        median(latencies) * 1000,
        quantiles(latencies, n=100)[98] * 1000,
        service * 1e6 / count,
        cpu * 1e6 / count,
    )


async def _prepare(port: int, operation: str, connections: int) -> list[tuple[bytes, Next]]:
    create = _request("/public/recipe/session", _creation())
    if operation == "create":
        return [(create, lambda _: create)] * connections
    if operation == "refresh":
        created = [json.loads(await _ask(port, create)) for _ in range(connections)]
        return [(_refresh(each["refreshToken"]["token"]), _refresh_next) for each in created]
    created = [json.loads(await _ask(port, create)) for _ in range(TOKENS)]
    requests = [_verify(each["accessToken"]["token"], operation == "verify with database") for each in created]
    return [(requests[0], _in_turn(requests, start)) for start in range(connections)]


def _in_turn(requests: list[bytes], start: int) -> Next:
    def turns() -> Iterator[bytes]:
        place = start * 61
        while True:
            place = (place + 1) % len(requests)
            yield requests[place]

    turn = turns()
    return lambda _: next(turn)


def _creation() -> dict[str, Any]:
    return {
        "userId": "user-1",
        "userDataInJWT": {"role": "admin", "iss": "https://api.example.com/auth"},
        "userDataInDatabase": {"cart": [1, 2, 3]},
        "useDynamicSigningKey": True,
        "enableAntiCsrf": False,
    }


def _refresh(token: str) -> bytes:
    return _request(
        "/recipe/session/refresh", {"refreshToken": token, "enableAntiCsrf": False, "useDynamicSigningKey": True}
    )


_MARK = b'"refreshToken":{"token":"'


def _refresh_next(body: bytes) -> bytes:
    start = body.index(_MARK) + len(_MARK)
    return _refresh(body[start : body.index(b'"', start)].decode())


def _verify(token: str, check_database: bool) -> bytes:
    return _request(
        "/recipe/session/verify",
        {
            "accessToken": token,
            "doAntiCsrfCheck": False,
            "enableAntiCsrf": False,
            "checkDatabase": check_database,
        },
    )


def _request(path: str, fields: dict[str, Any]) -> bytes:
    """As supertokens-node sends it."""
    body = json.dumps(fields, separators=(",", ":")).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncdi-version: 5.4\r\nrid: session\r\n"
        f"content-type: application/json; charset=utf-8\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _ask(port: int, request: bytes) -> bytes:
    """One request, one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))
    answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"not what was expected: {answer[:500]!r}")
    return answer.partition(b"\r\n\r\n")[2]
