"""Around the interface's endpoints: everything that an operator wants of a service.

A request id, a line in the log, the counts; limits on time and on how many requests are in hand; and two
endpoints of our own, ``/ready`` and ``/metrics``. Bare ASGI, as the rest of the service.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from logging import getLogger
from typing import Any, Final, Protocol, TypeAlias

from tallystick.errors import GeneralError
from tallystick.service import endings
from tallystick.service.apps import may_call_from
from tallystick.service.journal import REQUEST_ID, Journal, choose_request_id
from tallystick.service.metrics import Metrics
from tallystick.service.settings import CoreSettings

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

READY: Final = "/ready"
METRICS: Final = "/metrics"
RETRY_AFTER: Final = b"1"
"""In seconds: a store is looked for several times a second."""
UNKNOWN: Final = "unknown"
"""The endpoint of all requests for what there is not: one label, whatever is asked for."""

_TEXT: Final = b"text/html; charset=UTF-8"
"""Of text in this interface (spec/cdi.md 1.5): SDKs look for it."""
_VERSION: Final = re.compile(rb"[0-9.]{1,8}")
_CANNOT_OPEN: Final = (
    "cannot start: the store cannot be opened (%s). If the database's user may not make tables, run "
    "`tallystick migrate` as one who may"
)
_logger = getLogger("tallystick.service")


class Served(Protocol):
    """What the edge is around."""

    def endpoint_of(self, method: str, path: str) -> str | None:
        """The endpoint of a request, one of few; None for a path that there is not."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Health(Protocol):
    """What the edge asks about the service as a whole."""

    @property
    def is_open(self) -> bool:
        """Whether the store has been reached since the start, so that requests can be answered."""
        ...

    async def look(self) -> str:
        """``ready``, or one word that says why not."""
        ...

    async def key_ages(self) -> Iterable[tuple[str, float]]:
        """For how many seconds there has been the newest signing key, by app; empty where the store cannot say."""
        ...

    async def start(self) -> None:
        """Begin. Raises :class:`GeneralError` for what time does not heal."""
        ...

    async def stop(self) -> None:
        """End."""
        ...


class Edge:
    """The outermost ASGI app of a worker."""

    def __init__(
        self, served: Served, settings: CoreSettings, health: Health, metrics: Metrics, journal: Journal
    ) -> None:
        self._served = served
        self._health = health
        self._metrics = metrics
        self._journal = journal
        self._settings = settings
        self._base_path = settings.base_path
        self._keys = tuple(key.encode() for key in settings.api_keys)
        self._max_in_hand = settings.max_waiting_requests
        self._timeout = settings.request_timeout
        self._in_hand = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        headers = _Headers(scope["headers"])
        request_id = choose_request_id(headers.request_id)
        REQUEST_ID.set(request_id)
        answer = _Answer(send, request_id)
        endpoint = self._endpoint_of(scope)
        # Streams have a bound of their own.
        weight = 0 if endpoint == endings.PATH else 1
        self._in_hand += weight
        try:
            await self._serve(scope, receive, answer, headers, endpoint)
        except asyncio.CancelledError:
            # The time for a stop is over.
            await answer.refuse(503, "The service is stopping", retries=True)
            raise
        except Exception:
            _logger.exception("a request failed")
            await answer.refuse(500, "Internal Error")
        finally:
            self._in_hand -= weight
            seconds = (answer.began_at or time.perf_counter()) - began
            label = endpoint or UNKNOWN
            self._metrics.count_request(label, answer.status, seconds)
            self._journal.note_request(
                request_id, _known_method(scope["method"]), endpoint, answer.status, seconds, headers.cdi_version
            )

    async def _serve(
        self, scope: Scope, receive: Receive, answer: _Answer, headers: _Headers, endpoint: str | None
    ) -> None:
        if endpoint == READY:
            await self._say_ready(answer)
        elif endpoint == METRICS:
            await self._say_metrics(scope, answer, headers)
        elif endpoint != endings.PATH and self._in_hand > self._max_in_hand:
            self._metrics.count("request_refused")
            await answer.refuse(503, "Too many requests are in hand", retries=True)
        elif not self._health.is_open:
            await answer.refuse(503, "The service is starting, or has not reached its store yet", retries=True)
        elif endpoint == endings.PATH:
            await self._served(scope, receive, answer.send)
        else:
            await self._pass_on(scope, receive, answer)

    async def _pass_on(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._served(scope, receive, answer.send)
        except TimeoutError:
            await answer.refuse(503, "The request took too long", retries=True, closes=True)

    def _endpoint_of(self, scope: Scope) -> str | None:
        path = scope["path"]
        if path.removeprefix(self._base_path) in (READY, METRICS) and scope["method"] in ("GET", "HEAD"):
            return READY if path.endswith(READY) else METRICS
        return self._served.endpoint_of(scope["method"], path)

    async def _say_ready(self, answer: _Answer) -> None:
        state = await self._health.look()
        body = b'{"status":"%s"}\n' % state.encode()
        if state == "ready":
            await answer.give(200, body, b"application/json")
        else:
            await answer.give(503, body, b"application/json", [(b"retry-after", RETRY_AFTER)])

    async def _say_metrics(self, scope: Scope, answer: _Answer, headers: _Headers) -> None:
        """For whoever may call, and behind the API key, where there is one: how busy a service is tells outsiders when
        to attack it."""
        if not may_call_from(self._settings, scope.get("client")):
            await answer.refuse(403, "This address may not call")
            return
        if self._keys and not any(hmac.compare_digest(headers.api_key, key) for key in self._keys):
            await answer.refuse(401, "Invalid API key")
            return
        text, content_type = self._metrics.render(headers.accept, await self._health.key_ages())
        await answer.give(200, text, content_type.encode())

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._health.start()
        except Exception as error:
            if isinstance(error, GeneralError):
                _logger.error("cannot start: %s", error.message)
            else:
                kind = type(getattr(error, "orig", None) or error).__name__  # a driver's own words may hold anything
                _logger.error(_CANNOT_OPEN, kind, exc_info=error)
            await send({"type": "lifespan.startup.failed"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._health.stop()
        await send({"type": "lifespan.shutdown.complete"})


class _Headers:
    """What the edge wants to know of a request's headers, found in one pass."""

    __slots__ = ("accept", "api_key", "cdi_version", "request_id")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.request_id: bytes | None = None
        self.api_key = b""
        self.accept = ""
        self.cdi_version: str | None = None
        authorization = b""
        for name, value in headers:
            if name == b"cdi-version":
                self.cdi_version = value.decode() if _VERSION.fullmatch(value) else None
            elif name == b"x-request-id":
                self.request_id = value
            elif name == b"api-key":
                self.api_key = value.strip()
            elif name == b"authorization":
                authorization = value.strip()
            elif name == b"accept":
                self.accept = value.decode("latin-1")
        if not self.api_key and authorization:
            is_bearer = authorization[:7].lower() == b"bearer "
            self.api_key = authorization[7:].strip() if is_bearer else authorization


class _Answer:
    """The way back: remembers the status, and adds the request's id."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._id_header = (b"x-request-id", request_id.encode())
        self.status = 0
        self.began_at: float | None = None
        """When the first of it was sent; of a stream the rest comes much later."""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.began_at = time.perf_counter()
            message["headers"] = [*message.get("headers", ()), self._id_header]
        await self._send(message)

    async def refuse(self, status: int, text: str, *, retries: bool = False, closes: bool = False) -> None:
        """Answer with text, unless an answer has begun."""
        if self.status:
            return
        more = [(b"retry-after", RETRY_AFTER)] if retries else []
        more += [(b"connection", b"close")] if closes else []
        await self.give(status, f"{text}\n".encode(), _TEXT, more)

    async def give(
        self, status: int, body: bytes, content_type: bytes, more: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *more]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _known_method(method: str) -> str:
    return method if method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS") else "other"
