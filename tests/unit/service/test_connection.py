"""What the service adds to uvicorn's connection."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from tallystick.service import connection as module
from tallystick.service.connection import MAX_HEAD_BYTES, BoundedConnection, JoinedWrites

PATIENCE = 30.0


class Wire(asyncio.Transport):
    """Notes what is written."""

    def __init__(self):
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


async def test_the_head_and_the_body_of_an_answer_go_out_together():
    wire = Wire()
    joined = JoinedWrites(wire, asyncio.get_running_loop())
    for number in range(2):
        joined.write(b"head %d " % number)
        joined.write(bytearray(b"body"))
    assert wire.written == [b"head 0 body", b"head 1 body"]
    await asyncio.sleep(0)
    assert len(wire.written) == 2


async def test_what_nothing_follows_goes_out_with_the_next_turn_of_the_loop():
    wire = Wire()
    JoinedWrites(wire, asyncio.get_running_loop()).write(b"an event")
    await asyncio.sleep(0)
    assert wire.written == [b"an event"]


async def test_what_was_written_goes_out_before_the_connection_is_closed():
    wire = Wire()
    joined = JoinedWrites(wire, asyncio.get_running_loop())
    joined.write(b"the last words")
    assert not joined.is_closing()
    joined.close()
    assert joined.is_closing()
    assert wire.written == [b"the last words"]
    await asyncio.sleep(0)
    assert len(wire.written) == 1


async def answer(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = Config(answer, http=BoundedConnection, ws="none", lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    make = partial(BoundedConnection, config=config, server_state=state, app_state={})
    server = await loop.create_server(make, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for each in list(state.connections):
        each.transport.close()
    await server.wait_closed()


async def talk(port: int, *parts: bytes) -> bytes:
    """What comes back until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "parts",
    [(), (b"GET /",), (b"GET / HTTP/1.1\r\n", b"host: h\r\n")],
    ids=["nothing", "a part", "two parts"],
)
async def test_a_head_that_does_not_come_to_its_end_is_hung_up_on(parts, port, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.1)
    assert await talk(port, *parts) == b""


async def test_the_head_after_an_answer_must_come_to_its_end_too(port, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.1)
    found = await talk(port, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n", b"GET / HT")
    assert found.count(b"HTTP/1.1 200 OK") == 1


async def test_between_two_requests_a_connection_may_wait_longer_than_for_a_head(port, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(PATIENCE):
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
            assert await reader.readexactly(2) == b"ok"
            await asyncio.sleep(0.2)
    writer.close()


async def test_a_head_that_is_too_large_is_a_400(port):
    head = b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"x" * MAX_HEAD_BYTES
    assert (await talk(port, head)).startswith(b"HTTP/1.1 400 Bad Request")
    assert (await talk(port, head + b"\r\n\r\n")).startswith(b"HTTP/1.1 400 Bad Request")


async def test_requests_that_come_together_are_answered_in_turn(port):
    one = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    found = await talk(port, one + one + last)
    assert found.count(b"HTTP/1.1 200 OK") == found.count(b"\r\n\r\nok") == 3


LAST_HEAD = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx: "


def post(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("body", [b"", b"body"])
async def test_a_head_that_is_too_large_is_a_400_also_where_it_comes_with_the_request_before_it(port, body):
    found = await talk(port, post(body) + LAST_HEAD + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n")
    assert found.count(b"HTTP/1.1 400 Bad Request") == 1


@pytest.mark.parametrize("body", [b"", b"x" * 40_000], ids=["without a body", "with a large one"])
async def test_what_came_with_a_head_does_not_count_as_its_own(port, body):
    found = await talk(port, post(body) + LAST_HEAD + b"x" * (MAX_HEAD_BYTES - 200) + b"\r\n\r\n")
    assert found.count(b"HTTP/1.1 200 OK") == 2
