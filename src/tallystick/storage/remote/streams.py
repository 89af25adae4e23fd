"""A stream of a core's, over HTTP: which host it comes from, and when it is given up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Final, NoReturn

import httpx

from tallystick.errors import GeneralError
from tallystick.storage.remote.attempts import CONNECT_SECONDS, UNAVAILABLE
from tallystick.storage.remote.client import Settings
from tallystick.storage.remote.hosts import Host

OK: Final = 200
SHORTEST_SILENCE: Final = 1.5
"""In seconds. A stream says something twice a second."""


class _Line(Settings):
    """What both kinds have in common. ``seconds`` is for how long a stream may be silent."""

    def __init__(self, urls: str, *, app_id: str, api_key: str | None, seconds: float) -> None:
        super().__init__(urls, app_id=app_id, api_key=api_key, seconds=max(seconds, SHORTEST_SILENCE))
        self._host: Host | None = None

    def _ask(self, path: str, last_event: str) -> Generator[httpx.Request, httpx.Response | Exception, httpx.Response]:
        problems: list[str] = []
        connect = min(CONNECT_SECONDS, self.seconds)
        timeout = {"connect": connect, "pool": connect, "read": self.seconds, "write": self.seconds}
        headers = {**self.headers, "accept": "text/event-stream", "last-event-id": last_event}
        for host in self.hosts.order(time.monotonic()):
            self._host = host
            answer = yield httpx.Request("GET", host.base + path, headers=headers, extensions={"timeout": timeout})
            if isinstance(answer, httpx.Response) and answer.status_code not in UNAVAILABLE:
                self.hosts.wake(host)
                return answer
            self.hosts.rest(host, time.monotonic())
            problem = type(answer).__name__ if isinstance(answer, Exception) else f"status {answer.status_code}"
            problems.append(f"{host.name} ({problem})")
        raise GeneralError(f"no stream of endings from the core: {', '.join(problems)}", reason="store_failed")

    def _fail(self, error: Exception) -> NoReturn:
        name = "the core"
        if self._host is not None:
            self.hosts.rest(self._host, time.monotonic())
            name = self._host.name
        raise GeneralError(
            f"the stream of endings from {name} was cut ({type(error).__name__})", reason="store_failed"
        ) from error


class HttpLine(_Line):
    """For synchronous code; used by one thread."""

    def __init__(self, urls: str, *, app_id: str, api_key: str | None, seconds: float) -> None:
        super().__init__(urls, app_id=app_id, api_key=api_key, seconds=seconds)
        self._transport = httpx.HTTPTransport(**self.options())
        self._response: httpx.Response | None = None
        self._parts: Iterator[bytes] = iter(())

    def dial(self, path: str, last_event: str) -> int:
        """As :class:`tallystick.core_endings.Line` has it."""
        self.hang_up()
        asking = self._ask(path, last_event)
        request = next(asking)
        try:
            while True:
                answer: httpx.Response | Exception
                try:
                    answer = self._transport.handle_request(request)
                except httpx.HTTPError as error:
                    answer = error
                if isinstance(answer, httpx.Response) and answer.status_code != OK:
                    answer.close()
                request = asking.send(answer)
        except StopIteration as end:
            response: httpx.Response = end.value
        self._response, self._parts = response, response.iter_raw()
        return response.status_code

    def receive(self) -> bytes:
        """Likewise."""
        try:
            return next(self._parts, b"")
        except httpx.HTTPError as error:
            self._fail(error)

    def hang_up(self) -> None:
        """Likewise."""
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def close(self) -> None:
        """Likewise."""
        self.hang_up()
        self._transport.close()


class AsyncHttpLine(_Line):
    """For asynchronous code; used by one task."""

    def __init__(self, urls: str, *, app_id: str, api_key: str | None, seconds: float) -> None:
        super().__init__(urls, app_id=app_id, api_key=api_key, seconds=seconds)
        self._transport = httpx.AsyncHTTPTransport(**self.options())
        self._response: httpx.Response | None = None
        self._parts: AsyncIterator[bytes] | None = None

    async def dial(self, path: str, last_event: str) -> int:
        """As :class:`tallystick.core_endings.AsyncLine` has it."""
        await self.hang_up()
        asking = self._ask(path, last_event)
        request = next(asking)
        try:
            while True:
                answer: httpx.Response | Exception
                try:
                    answer = await self._transport.handle_async_request(request)
                except httpx.HTTPError as error:
                    answer = error
                if isinstance(answer, httpx.Response) and answer.status_code != OK:
                    await answer.aclose()
                request = asking.send(answer)
        except StopIteration as end:
            response: httpx.Response = end.value
        self._response, self._parts = response, response.aiter_raw()
        return response.status_code

    async def receive(self) -> bytes:
        """Likewise."""
        if self._parts is None:
            return b""
        try:
            return await anext(self._parts, b"")
        except httpx.HTTPError as error:
            self._fail(error)

    async def hang_up(self) -> None:
        """Likewise."""
        response, self._response, self._parts = self._response, None, None
        if response is not None:
            await response.aclose()

    async def close(self) -> None:
        """Likewise."""
        await self.hang_up()
        await self._transport.aclose()
