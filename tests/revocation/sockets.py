"""Many open WebSockets of a real server, and how soon they close when their sessions end."""

import asyncio
import os
import resource
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tallystick import AsyncSessions
from tests.servers import pick_free_port

ROOT = Path(__file__).parents[2]
PATIENCE = 60
AT_ONCE = 50
"""Handshakes in hand."""
SESSIONS = 50
"""Of the user, each with its share of the connections."""
BYSTANDERS = 20
"""Connections of another user's."""
SPARE_FILES = 200
UNAUTHORISED = b"\x88\x0e" + (4401).to_bytes(2, "big") + b"unauthorised"
"""A whole frame of a server's: the close code and its reason (RFC 6455 5.2)."""


class Closings(NamedTuple):
    """In seconds after the return of ``revoke_all_sessions_for_user``, in order."""

    delays: list[float]
    took: float
    """How long it was until all were open."""


def measure_closings(url: str, count: int) -> Closings:
    """Open so many connections of one user's, revoke the user's sessions, and wait until all are closed by the server,
    while another user's stay open."""
    allow_files(count + BYSTANDERS + SPARE_FILES)
    secret, port = secrets.token_urlsafe(48), pick_free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.revocation.socket_app:app", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--log-level", "warning", "--ws", "websockets-sansio", "--no-access-log"],
        cwd=ROOT,
        env={**os.environ, "STORE_URL": url, "STORE_SECRET": secret},
    )
    try:
        return asyncio.run(_measure(url, secret, port, count))
    finally:
        server.kill()
        server.wait()


def allow_files(count: int) -> None:
    """For this process and those that it starts: a connection is an open file at both of its ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (count, max(hard, count) if hard != resource.RLIM_INFINITY else hard)
        )


async def _measure(url: str, secret: str, port: int, count: int) -> Closings:
    async with AsyncSessions(url, secret=secret, algorithm="EdDSA", migrate=True) as sessions:
        tokens = [(await sessions.create_new_session("ada")).access_token.token for _ in range(SESSIONS)]
        other = (await sessions.create_new_session("bob")).access_token.token
        await _await_server(port)
        began, turns = time.monotonic(), asyncio.Semaphore(AT_ONCE)

        async def open_one(token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            async with turns:
                return await _shake_hands(port, token)

        streams = await asyncio.gather(*(open_one(tokens[number % SESSIONS]) for number in range(count)))
        bystanders = await asyncio.gather(*(open_one(other) for _ in range(BYSTANDERS)))
        took = time.monotonic() - began
        closings = [asyncio.create_task(_await_closing(reader)) for reader, _ in streams]
        undisturbed = [asyncio.create_task(reader.read(1)) for reader, _ in bystanders]
        await sessions.revoke_all_sessions_for_user("ada")
        returned = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            closed_at = await asyncio.gather(*closings)
        assert not any(task.done() for task in undisturbed), "another user's connection was closed"
        for task in undisturbed:
            task.cancel()
        for _, writer in (*streams, *bystanders):
            writer.transport.abort()
        return Closings(sorted(at - returned for at in closed_at), took)


async def _await_server(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def _shake_hands(port: int, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Authorization: Bearer {token}\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    return reader, writer


async def _await_closing(reader: asyncio.StreamReader) -> float:
    frame = await reader.readexactly(len(UNAUTHORISED))
    assert frame == UNAUTHORISED, frame
    return time.monotonic()
