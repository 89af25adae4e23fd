"""The HTTP client of a core: for threads and for an event loop, with one step, to have a request answered.

It uses httpx's transports, not its clients: those log each URL, in which a user's id may stand, follow redirects, and
take proxies and passwords from the environment; none of it is wanted between an app and its core.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlencode

import httpx

from tallystick.errors import GeneralError
from tallystick.storage.remote.attempts import Attempt, Attempts, Outcome, Problem, attempt
from tallystick.storage.remote.hosts import Hosts, parse_hosts
from tallystick.types import CoreAnswer, CoreRequest

CDI_VERSION: Final = "5.4"
"""The version of the interface that is spoken: that of today's SDKs (spec/cdi.md 1.1.4)."""

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
AT_ONCE: Final = 100
"""How many connections there are at the most."""
KEPT: Final = 20
KEEP_SECONDS: Final = 4.0
"""For how long an idle connection is kept: shorter than servers do (uvicorn: 5 s), so that none is closed by the other
side just when a request is sent."""

_API_KEY: Final = re.compile(r"[!-~]{1,512}")
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})(?:$|[\s,])")

T = TypeVar("T", bound=httpx.BaseTransport | httpx.AsyncBaseTransport)


class _TooLarge(Exception):
    """The answer has more bytes than any has."""


class _TooSlow(Exception):
    """The answer comes, but not to an end."""


@dataclass(slots=True)
class _Line(Generic[T]):
    """A transport, and the process that made it: a fork must not share its parent's connections, or one's answers
    would reach the other."""

    transport: T
    process: int = field(default_factory=os.getpid)


class Settings:
    """What all clients have."""

    def __init__(self, urls: str, *, app_id: str, api_key: str | None, seconds: float) -> None:
        if api_key is not None and not (isinstance(api_key, str) and _API_KEY.fullmatch(api_key)):
            # Not quoted: it may be a good key with a line break at its end.
            raise GeneralError("api_key must be visible ASCII characters without blanks", reason="bad_config")
        self.hosts = Hosts(parse_hosts(urls, app_id))
        self.seconds = seconds
        self.headers = {"cdi-version": CDI_VERSION, "accept": "application/json", "user-agent": "tallystick"}
        if api_key is not None:
            self.headers["api-key"] = api_key

    def options(self) -> dict[str, Any]:
        """For a transport. Certificates are checked against the system's, as far as there is TLS at all."""
        has_tls = any(host.base.startswith("https://") for host in self.hosts.all)
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=KEPT, keepalive_expiry=KEEP_SECONDS)
        return {"verify": ssl.create_default_context() if has_tls else False, "trust_env": False, "limits": limits}

    def attempts(self, request: CoreRequest) -> Attempts:
        return attempt(request, self.hosts, self.seconds, time.monotonic())

    def make(self, request: CoreRequest, step: Attempt) -> httpx.Request:
        """What is sent."""
        query = f"?{urlencode(request.query)}" if request.query else ""
        headers = dict(self.headers)
        if request.body is not None:
            headers["content-type"] = "application/json; charset=utf-8"
        wait = step.seconds
        return httpx.Request(
            request.method,
            f"{step.host.base}{request.path}{query}",
            headers=headers,
            content=request.body,
            extensions={"timeout": {"connect": step.connect_seconds, "pool": wait, "read": wait, "write": wait}},
        )


def _answered(response: httpx.Response, body: bytes) -> Outcome:
    max_age = _MAX_AGE.search(response.headers.get("cache-control", ""))
    retry_after = response.headers.get("retry-after", "")
    return Outcome(
        time.monotonic(),
        CoreAnswer(response.status_code, body, int(max_age[1]) if max_age else None),
        float(retry_after) if retry_after.isdecimal() and len(retry_after) < 10 else None,
    )


def _failed(error: Exception) -> Outcome:
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout():
            problem = Problem.UNREACHABLE
        case httpx.TimeoutException() | TimeoutError() | _TooSlow():
            problem = Problem.TIMED_OUT
        case httpx.NetworkError() | httpx.RemoteProtocolError():
            problem = Problem.LOST
        case _:
            problem = Problem.UNREADABLE
    return Outcome(time.monotonic(), problem=problem, cause=error)


class _Body:
    """Collects an answer's body within the limits of size and time."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        self._size += len(part)
        self._parts.append(part)
        if self._size > MAX_ANSWER_BYTES:
            raise _TooLarge
        if time.monotonic() > self._until:
            raise _TooSlow

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)


class HttpCore(Settings):
    """A core, for synchronous code."""

    def __init__(self, urls: str, *, app_id: str, api_key: str | None, seconds: float) -> None:
        super().__init__(urls, app_id=app_id, api_key=api_key, seconds=seconds)
        self._line: _Line[httpx.HTTPTransport] | None = None
        self._lock = Lock()
        self._shared: dict[tuple[int, CoreRequest], Future[CoreAnswer]] = {}

    def send(self, request: CoreRequest) -> CoreAnswer:
        """As :class:`~tallystick.storage.interface.Core` has it."""
        attempts = self.attempts(request)
        try:
            step = next(attempts)
            while True:
                step = attempts.send(self._take(request, step) if isinstance(step, Attempt) else _sleep(step.seconds))
        except StopIteration as end:
            answer: CoreAnswer = end.value
            return answer

    def send_shared(self, request: CoreRequest) -> CoreAnswer:
        """As :class:`~tallystick.storage.interface.Core` has it."""
        # A child process must not wait for what a thread of its parent does.
        key, mine = (os.getpid(), request), Future[CoreAnswer]()
        with self._lock:
            first = self._shared.setdefault(key, mine)
        if first is not mine:
            return first.result()
        try:
            mine.set_result(self.send(request))
        except Exception as error:
            mine.set_exception(error)
        finally:
            with self._lock:
                del self._shared[key]
            mine.cancel()  # where it was interrupted; else there is nothing to cancel
        return mine.result()

    def open(self) -> None:
        """Nothing: a connection is made when it is needed."""

    def close(self) -> None:
        """Let go of the connections. A later request makes new ones."""
        line, self._line = self._line, None
        if line is not None and line.process == os.getpid():
            line.transport.close()

    def _take(self, request: CoreRequest, step: Attempt) -> Outcome:
        body = _Body(step.seconds)
        try:
            response = self._transport().handle_request(self.make(request, step))
            try:
                parts: Iterator[bytes] = response.iter_raw()
                for part in parts:
                    body.add(part)
            finally:
                response.close()
        except (httpx.HTTPError, _TooLarge, _TooSlow) as error:
            return _failed(error)
        return _answered(response, bytes(body))

    def _transport(self) -> httpx.HTTPTransport:
        line = self._line
        if line is None or line.process != os.getpid():
            with self._lock:
                line = self._line
                if line is None or line.process != os.getpid():
                    line = self._line = _Line(httpx.HTTPTransport(**self.options()))
        return line.transport


def _sleep(seconds: float) -> Outcome:
    time.sleep(seconds)
    return Outcome(time.monotonic())


class AsyncHttpCore(Settings):
    """The same for asynchronous code. It serves any number of event loops, each with connections of its own."""

    def __init__(self, urls: str, *, app_id: str, api_key: str | None, seconds: float) -> None:
        super().__init__(urls, app_id=app_id, api_key=api_key, seconds=seconds)
        self._lines = dict[asyncio.AbstractEventLoop, _Line[httpx.AsyncHTTPTransport]]()
        self._closers = dict[asyncio.AbstractEventLoop, AsyncGenerator[None]]()
        self._shared: dict[CoreRequest, asyncio.Task[CoreAnswer]] = {}

    async def send(self, request: CoreRequest) -> CoreAnswer:
        """As :class:`~tallystick.storage.interface.AsyncCore` has it."""
        attempts = self.attempts(request)
        try:
            step = next(attempts)
            while True:
                if isinstance(step, Attempt):
                    outcome = await self._take(request, step)
                else:
                    await asyncio.sleep(step.seconds)
                    outcome = Outcome(time.monotonic())
                step = attempts.send(outcome)
        except StopIteration as end:
            answer: CoreAnswer = end.value
            return answer

    async def send_shared(self, request: CoreRequest) -> CoreAnswer:
        """As :class:`~tallystick.storage.interface.AsyncCore` has it. Whoever is cancelled does not cancel it for the
        others."""
        shared = self._shared.get(request)
        if shared is None or shared.get_loop() is not asyncio.get_running_loop():
            shared = self._shared[request] = asyncio.create_task(self.send(request))
            shared.add_done_callback(lambda done: self._forget(request, done))
        return await asyncio.shield(shared)

    async def open(self) -> None:
        """Nothing: a connection is made when it is needed."""

    async def close(self) -> None:
        """Let go of the connections. A later request makes new ones."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._shared.values() if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        closer = self._closers.get(loop)
        if closer is not None:
            await closer.aclose()

    async def _close_with_loop(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None]:
        """An event loop that ends closes its asynchronous generators first: the last moment in which connections that
        belong to it can be closed."""
        try:
            yield
        finally:
            del self._closers[loop]
            line = self._lines.pop(loop)
            if line.process == os.getpid():
                await line.transport.aclose()

    def _forget(self, request: CoreRequest, done: asyncio.Task[CoreAnswer]) -> None:
        if self._shared.get(request) is done:
            del self._shared[request]
        if not done.cancelled():
            done.exception()  # or asyncio says that nobody has looked at it, where all who waited were cancelled

    async def _take(self, request: CoreRequest, step: Attempt) -> Outcome:
        body = _Body(step.seconds)
        try:
            async with asyncio.timeout(step.seconds):
                transport = await self._transport()
                response = await transport.handle_async_request(self.make(request, step))
                try:
                    parts: AsyncIterator[bytes] = response.aiter_raw()
                    async for part in parts:
                        body.add(part)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, TimeoutError, _TooLarge, _TooSlow) as error:
            return _failed(error)
        return _answered(response, bytes(body))

    async def _transport(self) -> httpx.AsyncHTTPTransport:
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None or line.process != os.getpid():
            line = self._lines[loop] = _Line(httpx.AsyncHTTPTransport(**self.options()))
        if loop not in self._closers:
            self._closers[loop] = self._close_with_loop(loop)
            await anext(self._closers[loop])
        return line.transport
