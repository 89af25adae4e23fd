"""One worker, put together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tallystick.edges import system_clock
from tallystick.service.app import CoreApp
from tallystick.service.batching import batch_calls
from tallystick.service.edge import Edge
from tallystick.service.guard import Guard
from tallystick.service.health import StoreHealth
from tallystick.service.journal import Journal
from tallystick.service.metrics import Metrics
from tallystick.service.purging import lease_of, purge_on_schedule
from tallystick.service.settings import CoreSettings
from tallystick.storage.interface import AsyncSessionStore
from tallystick.storage.moving import AsyncMovingStore
from tallystick.storage.opening import open_async_store

SECONDS_PER_HOUR = 3600


def open_stores(settings: CoreSettings) -> tuple[AsyncSessionStore, AsyncSessionStore]:
    """The store where sessions live, and the one to use: the same, unless they are moving there. Raises
    :class:`GeneralError` for a URL that does not do."""
    new = open_async_store(settings.url, migrate=settings.migrate, guarded_by=settings.max_server_pool_size)
    if settings.moving_from is None:
        return new, new
    old = open_async_store(settings.moving_from, guarded_by=settings.max_server_pool_size)
    return new, AsyncMovingStore(new, old)


def make_worker(settings: CoreSettings, secret: Sequence[str]) -> Edge:
    """The ASGI app. Nothing is connected to before its lifespan begins."""
    metrics = Metrics()
    guard = Guard(settings.max_server_pool_size, settings.store_timeout)
    new, whole = open_stores(settings)
    store = batch_calls(guard.around(whole))
    core = CoreApp(store, settings, list(secret), observe=metrics.count)
    background = partial(
        purge_on_schedule,
        core.purge,
        lease_of(new, "purge"),
        settings.purge_interval * SECONDS_PER_HOUR,
        lambda count: metrics.count("session_purged", count),
    )
    health = StoreHealth(core, store, background, clock=system_clock)
    return Edge(core, settings, health, metrics, Journal(settings.log_level))
