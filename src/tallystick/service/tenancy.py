"""Which apps and tenants there are."""

from __future__ import annotations

from tallystick.config import PUBLIC
from tallystick.service.apps import App, Surroundings
from tallystick.service.settings import CoreSettings
from tallystick.storage.interface import AsyncSessionStore


class Apps:
    """The apps of a service."""

    def __init__(self, store: AsyncSessionStore, settings: CoreSettings, around: Surroundings) -> None:
        self._public = App(PUBLIC, settings, around)

    async def find(self, app_id: str, tenant_id: str) -> tuple[App | None, bool]:
        """An app, and whether it has this tenant; None where there is no such app."""
        return (self._public, tenant_id == PUBLIC) if app_id == PUBLIC else (None, False)

    async def all(self) -> list[App]:
        """Every app that there is."""
        return [self._public]
