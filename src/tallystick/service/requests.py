"""A request, once it is known whom it is for and which version it speaks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

from tallystick.config import PUBLIC
from tallystick.service import fields
from tallystick.service.answers import Answer, Refusal
from tallystick.service.apps import App
from tallystick.service.endings import Endings
from tallystick.service.registry import Registry
from tallystick.service.statistics import Statistics
from tallystick.service.versions import Cdi
from tallystick.types import Json

Observe: TypeAlias = Callable[[str, int], object]
"""Told of what has happened, and how often: see :class:`tallystick.service.app.CoreApp`."""


@dataclass(frozen=True, slots=True)
class Service:
    """What all requests have in common."""

    registry: Registry
    statistics: Statistics
    observe: Observe
    endings: Endings


class Request:
    """What an endpoint works on."""

    __slots__ = ("app", "cdi", "last_event", "raw_body", "raw_query", "service", "tenant_id")

    def __init__(
        self,
        app: App,
        tenant_id: str,
        cdi: Cdi,
        raw_query: bytes,
        raw_body: bytes,
        last_event: bytes | None,
        service: Service,
    ) -> None:
        self.app = app
        self.tenant_id = tenant_id
        self.cdi = cdi
        self.raw_query = raw_query
        self.raw_body = raw_body
        self.last_event = last_event
        self.service = service

    def observe(self, event: str, count: int) -> None:
        """Tell of what has happened."""
        self.service.observe(event, count)

    def json(self) -> Json:
        """The body. Raises :class:`Refusal` (400) where it is no JSON object."""
        return fields.parse_body(self.raw_body)

    def query(self) -> dict[str, str]:
        """The query's fields."""
        return fields.parse_query(self.raw_query)

    def check_public_tenant(self) -> None:
        """Refuse another tenant than the public one where something is the whole app's."""
        if self.tenant_id != PUBLIC:
            raise Refusal(403, "Only public tenantId can call this app specific API")

    def check_app_specific(self) -> None:
        """The same for the versions that are strict about it (spec/cdi.md 1.1.5)."""
        if self.cdi.is_strict:
            self.check_public_tenant()


Outcome: TypeAlias = Json | Answer | Generator[Any, Any, Json | Answer] | Coroutine[Any, Any, Json | Answer]
"""What an endpoint gives: an answer, or a flow or a coroutine that ends in one."""

Handler: TypeAlias = Callable[[Request], Outcome]
