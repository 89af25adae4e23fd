"""The core's endpoints as an ASGI application, without a framework: one look at the path, the checks in the interface's
order (spec/cdi.md 1.1.3), one JSON text read and one written.

What belongs to running it (limits, metrics, logs, readiness) goes around it: see ``tallystick serve``.
"""

from __future__ import annotations

import logging
import secrets as random
from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping
from typing import Any, Final, TypeAlias

from tallystick import flows
from tallystick.calls import run_async
from tallystick.config import PUBLIC
from tallystick.edges import new_private_key, steady_clock, system_clock
from tallystick.errors import BadInput, GeneralError, SessionError
from tallystick.key_flows import seal_static_key_again
from tallystick.protocol.token_versions import PROTECTED_FIELD
from tallystick.service import wire_tenants as tenants
from tallystick.service.answers import Answer, Refusal, json_answer, not_found, not_supported, text_answer
from tallystick.service.apps import Secret, Surroundings, check_address
from tallystick.service.endings import Endings, Stream, send_stream
from tallystick.service.predecessor import Predecessor
from tallystick.service.registry import Registry
from tallystick.service.requests import Handler, Observe, Request, Service
from tallystick.service.routing import Place, Router
from tallystick.service.settings import CoreSettings
from tallystick.service.statistics import Statistics
from tallystick.service.throttle import Throttle
from tallystick.storage.interface import AsyncSessionStore

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

RETRY_AFTER: Final = ((b"retry-after", b"1"),)
_PASSING: Final = frozenset({"store_failed", "contended"})
"""Reasons that may be gone when the caller asks again."""
_logger = logging.getLogger("tallystick.service")


class CoreApp:
    """The Core Driver Interface over a store.

    ``secret``
        As of :class:`tallystick.Sessions`: the same for all instances on one store.
    ``clock``, ``entropy``, ``new_private_key``
        For tests: the present in ms since the epoch, so many random bytes, and a signing key.
    ``observe``
        Called with ``session_created``, ``session_verified``, ``session_refreshed``, ``session_revoked``,
        ``token_theft`` and ``store_error``, and how many there were.
    """

    def __init__(
        self,
        store: AsyncSessionStore,
        settings: CoreSettings,
        secret: Secret,
        *,
        clock: Callable[[], int] | None = None,
        entropy: Callable[[int], bytes] | None = None,
        observe: Observe | None = None,
        new_private_key: Callable[[str], bytes] = new_private_key,
    ) -> None:
        around = Surroundings(
            secret,
            clock or system_clock,
            entropy or random.token_bytes,
            new_private_key,
            Predecessor(settings.former_core_jwks),
        )
        self._predecessor = around.predecessor
        self._store = store
        self._settings = settings
        self._registry = Registry(store, settings, around)
        self._router = Router(settings.base_path)
        self._refused = Throttle()
        observe = observe or _ignore
        endings = Endings(store, steady_clock, observe)
        self._service = Service(self._registry, Statistics(around.clock), observe, endings)

    async def open(self) -> None:
        """Connect to the store, and see that there are keys. Raises :class:`GeneralError` where that fails."""
        await self._predecessor.open()
        await self._store.open()

    async def close(self) -> None:
        """Let go of the store."""
        await self._service.endings.close()
        await self._predecessor.close()
        await self._registry.close()
        await self._store.close()

    async def purge(self) -> int:
        """Delete what is over, in all apps, and seal anew what a former secret has sealed; how many sessions there
        were. It does no harm to do it twice at once."""
        await self._registry.seal_again()
        apps = [self._registry.public, *await self._registry.all_apps()]
        for app in apps:
            await run_async(seal_static_key_again(app.deployment), self._store)
        return sum([await run_async(flows.purge(app.deployment), self._store) for app in apps])

    def endpoint_of(self, method: str, path: str) -> str | None:
        """The endpoint that a request goes to, without app and tenant; None for an unknown path or method. So there are
        few different ones, whatever is asked for."""
        place = self._router.find(path)
        return None if place is None or method not in place.endpoint.handlers else place.endpoint.path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            answer = await self._answer(scope, receive)
            if isinstance(answer, Stream):
                await send_stream(answer, scope, receive, send)
            else:
                await _send_answer(answer, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.open()
                except SessionError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        self._service.statistics.count()
        try:
            body = await _receive_body(receive, self._settings.max_body_bytes)
            return await self._handle(scope, body)
        except Refusal as refusal:
            return text_answer(refusal.status, refusal.text, refusal.headers)
        except BadInput as error:
            is_reserved = error.reason == "reserved_claim"
            return text_answer(400, PROTECTED_FIELD if is_reserved else error.message)
        except GeneralError as error:
            return self._explain(error)
        except Exception:
            _logger.exception("%s %s failed", scope["method"], self.endpoint_of(scope["method"], scope["path"]))
            return text_answer(500, "Internal Error")

    async def _handle(self, scope: Scope, body: bytes) -> Answer:
        place = self._router.find(scope["path"])
        if place is None:
            raise not_found()
        version, presented, last_event = _read_headers(scope["headers"])
        endpoint = place.endpoint
        found = await self._registry.find(place.app_id, place.tenant_id)
        if found is None:
            return _refuse_unknown(place, scope["method"])
        app = found.app
        check_address(found.settings or app.settings, scope.get("client"))
        if endpoint.needs_key:
            app.check_api_key(presented)
        if endpoint.is_first:
            cdi = app.versions.find_first(version)
        else:
            cdi = app.versions.find(version, must_be_known=endpoint.needs_version)
        if place.tenant_id != PUBLIC and not cdi.names_tenant:
            raise not_found()
        handler = endpoint.handlers.get(scope["method"])
        if handler is None:
            raise not_supported()
        if found.settings is None:
            return _refuse_unknown(place, scope["method"])
        request = Request(app, place.tenant_id, cdi, scope["query_string"], body, last_event, self._service)
        return await self._carry_out(handler, request)

    async def _carry_out(self, handler: Handler, request: Request) -> Answer:
        outcome = handler(request)
        if isinstance(outcome, Generator):
            outcome = await run_async(outcome, self._store)
        elif isinstance(outcome, Coroutine):
            outcome = await outcome
        return outcome if isinstance(outcome, Answer) else json_answer(outcome)

    def _explain(self, error: GeneralError) -> Answer:
        """Say that something is broken; never that a session is over."""
        if error.reason in _PASSING:
            self._service.observe("store_error", 1)
            if calls := self._refused.count():
                _logger.error("%s; calls refused since the last such line: %d", error.message, calls)
            return text_answer(503, error.message, RETRY_AFTER)
        _logger.error("%s", error.message, exc_info=error)
        return text_answer(500, error.message)


def _read_headers(headers: list[tuple[bytes, bytes]]) -> tuple[bytes | None, bytes | None, bytes | None]:
    """The version, the API key, and the last event of a stream."""
    version = key = authorization = last_event = None
    for name, value in headers:
        if name == b"cdi-version":
            version = value
        elif name == b"api-key":
            key = value
        elif name == b"authorization":
            authorization = value
        elif name == b"last-event-id":
            last_event = value
    if key is None and authorization is not None:
        key = authorization[7:] if authorization[:7].lower() == b"bearer " else authorization
    return version, key, last_event


async def _receive_body(receive: Receive, limit: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit:
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        if size > limit:
            raise Refusal(413, f"the body is larger than {limit} bytes (max_body_bytes)")
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > limit:
        raise Refusal(413, f"the body is larger than {limit} bytes (max_body_bytes)")
    return b"".join(parts)


async def _send_answer(answer: Answer, send: Send) -> None:
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _refuse_unknown(place: Place, method: str) -> Answer:
    if place.endpoint.finds_tenant and method == "GET":
        return json_answer(tenants.TENANT_NOT_FOUND)
    return text_answer(400, f"AppId or tenantId not found => (, {place.app_id}, {place.tenant_id})")


def _ignore(event: str, count: int) -> None:
    """Nobody watches."""
