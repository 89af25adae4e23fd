"""Which apps and tenants there are, as this process knows them and as the store has them.

The public app is the service's own configuration and needs no asking. All else is a row of the store, sealed under the
service's secret. What was read is taken to be so for :data:`FRESH` and then looked up again, so several processes agree
on a change within a second; on what is new they agree at once, as what is not known is always looked up. When the store
gives no answer, what was read last goes on to count for :data:`STALE`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tallystick.calls import run_async
from tallystick.config import PUBLIC
from tallystick.deployment import Deployment
from tallystick.errors import GeneralError
from tallystick.flows import sweep
from tallystick.protocol.keyring import WRAP_NONCE_BYTES
from tallystick.service.answers import Refusal
from tallystick.service.apps import App, Surroundings
from tallystick.service.settings import CoreSettings, Scope, merge
from tallystick.storage.interface import AsyncSessionStore, AsyncTenantStore
from tallystick.types import HIDDEN, Json, TenantRow

FRESH: Final = 1_000
"""In ms."""
STALE: Final = 300_000
"""In ms."""
MOST_KNOWN: Final = 10_000
"""How many tenants are kept in mind."""
ATTEMPTS: Final = 16


class TenantConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is sealed in a tenant's row."""

    core_config: dict[str, Any] = {}
    first_factors: list[str] | None = None
    required_secondary_factors: list[str] | None = None

    def __repr__(self) -> str:
        return f"TenantConfig(first_factors={self.first_factors})"  # there may be API keys in the rest

    __rich_repr__ = HIDDEN


@dataclass(slots=True)
class _Known:
    row: TenantRow
    app: App
    settings: CoreSettings
    loaded_at: int


@dataclass(frozen=True, slots=True)
class Found:
    """An app, and one of its tenants."""

    app: App
    settings: CoreSettings | None
    """Those of the tenant; None where the app has no such tenant."""


_logger = logging.getLogger("tallystick.service")
_decode_config: Final = msgspec.json.Decoder(TenantConfig).decode


class Registry:
    """The apps of a service. ``store`` may be one that keeps no tenants: then there is the public app alone."""

    def __init__(self, store: AsyncSessionStore, settings: CoreSettings, around: Surroundings) -> None:
        self._sessions = store
        self._store = cast("AsyncTenantStore | None", store if hasattr(store, "load_tenant") else None)
        self._settings = settings
        self._around = around
        self._public = Found(App(PUBLIC, settings, around), settings)
        self._known: dict[tuple[str, str], _Known] = {}
        self._sweeps: set[asyncio.Task[None]] = set()

    @property
    def public(self) -> App:
        """The public app."""
        return self._public.app

    # Finding

    async def find(self, app_id: str, tenant_id: str) -> Found | None:
        """An app and one of its tenants; None where there is no such app."""
        if app_id == PUBLIC and tenant_id == PUBLIC:
            return self._public
        app = self.public if app_id == PUBLIC else await self._find_app(app_id)
        if app is None:
            return None
        if tenant_id == PUBLIC:
            return Found(app, app.settings)
        known = await self._look_up(app_id, tenant_id, app)
        return Found(app, None if known is None else known.settings)

    async def all_apps(self) -> Sequence[App]:
        """Every app but the public one, and but those that cannot be read."""
        app_ids = {row.app_id for row in await self.list(None) if row.tenant_id == PUBLIC and row.app_id != PUBLIC}
        found = [await self._find_readable(app_id) for app_id in sorted(app_ids)]
        return [app for app in found if app is not None]

    async def _find_app(self, app_id: str) -> App | None:
        known = await self._look_up(app_id, PUBLIC, None)
        return None if known is None else known.app

    async def _find_readable(self, app_id: str) -> App | None:
        """The same, and None for one whose configuration no secret opens: it must not stand in the others' way, nor in
        that of its own removal."""
        try:
            return await self._find_app(app_id)
        except GeneralError as error:
            if error.reason != "wrong_secret":
                raise
            _logger.warning("%s", error.message)
            return None

    async def _look_up(self, app_id: str, tenant_id: str, app: App | None) -> _Known | None:
        now, known = self._around.clock(), self._known.get((app_id, tenant_id))
        if known is not None and 0 <= now - known.loaded_at < FRESH and app in (None, known.app):
            return known
        try:
            row = await self.load(app_id, tenant_id)
        except GeneralError:
            if known is None or not 0 <= now - known.loaded_at < STALE:
                raise
            return known
        if row is None:
            self._known.pop((app_id, tenant_id), None)
            return None
        if known is not None and known.row == row and app in (None, known.app):
            known.loaded_at = now
            return known
        return self._remember(row, app, now)

    def _remember(self, row: TenantRow, app: App | None, now: int) -> _Known:
        config = self.unseal(row)
        if app is None:
            settings = merge(self._settings, config.core_config)
            app = App(row.app_id, settings, self._around)
        else:
            settings = merge(app.settings, config.core_config, Scope.TENANT)
        if len(self._known) >= MOST_KNOWN:
            del self._known[next(iter(self._known))]
        known = self._known[row.app_id, row.tenant_id] = _Known(row, app, settings, now)
        return known

    # Reading and writing

    async def load(self, app_id: str, tenant_id: str) -> TenantRow | None:
        """A tenant's row, as it is in the store."""
        return None if self._store is None else await self._answer(self._store.load_tenant(app_id, tenant_id))

    async def list(self, app_id: str | None) -> list[TenantRow]:
        """The tenants of an app or (None) of all, but for the public app's public tenant if nobody ever set it."""
        return [] if self._store is None else await self._answer(self._store.list_tenants(app_id))

    async def keep(self, row: TenantRow, expected: TenantRow | None) -> bool:
        """Write a tenant, unless it has changed meanwhile."""
        store = self._need_store()
        if expected is None:
            is_done: bool = await self._answer(store.insert_tenant(row))
        else:
            is_done = await self._answer(store.swap_tenant(row, expected.sealed))
        self._known.pop((row.app_id, row.tenant_id), None)
        return is_done

    async def delete(self, app_id: str, tenant_id: str | None) -> bool:
        """Delete a tenant, or (None) a whole app, with the sessions. Whether there was one."""
        deployment = await self._deployment_of(app_id)
        was_there: bool = await self._answer(self._need_store().delete_tenants(app_id, tenant_id))
        for key in [key for key in self._known if key[0] == app_id and tenant_id in (None, key[1])]:
            del self._known[key]
        await self._sweep(deployment, app_id, tenant_id)
        if was_there:
            self._sweep_again(deployment, app_id, tenant_id)
        return was_there

    async def _deployment_of(self, app_id: str) -> Deployment:
        """By which an app's sessions end: for how long their endings matter depends on how long its tokens live."""
        found = self.public if app_id == PUBLIC else await self._find_readable(app_id)
        return (found or self.public).deployment

    async def _sweep(self, d: Deployment, app_id: str, tenant_id: str | None) -> None:
        await run_async(sweep(app_id, tenant_id, d.cause("revoked", d.clock())), self._sessions)

    def _sweep_again(self, d: Deployment, app_id: str, tenant_id: str | None) -> None:
        """Once more when no process can take the tenant to be there, for the sessions begun in between."""

        async def wait() -> None:
            await asyncio.sleep(2 * FRESH / 1000)
            if await self.load(app_id, tenant_id or PUBLIC) is None:
                await self._sweep(d, app_id, tenant_id)

        task = asyncio.create_task(wait())
        self._sweeps.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._sweeps.discard(task)
        if not task.cancelled():
            task.exception()  # seen: what a sweep left over ends by itself, when it expires

    async def close(self) -> None:
        """Let go of what still runs."""
        for task in list(self._sweeps):
            task.cancel()

    # Sealing

    def seal(self, app_id: str, tenant_id: str, config: TenantConfig) -> bytes:
        """A tenant's configuration as the store keeps it."""
        nonce = self._around.entropy(WRAP_NONCE_BYTES)
        plain = msgspec.json.encode(config)
        return nonce + AESGCM(self._secrets()[0]).encrypt(nonce, plain, _bound_to(app_id, tenant_id))

    async def seal_again(self) -> None:
        """Seal under the newest secret what a former one has sealed, so that that can be dropped some day."""
        newest = self._secrets()[:1]
        for row in await self.list(None):
            plain = None if _open(row, newest) is not None else _open(row, self._secrets())
            if plain is not None:
                sealed = self.seal(row.app_id, row.tenant_id, _decode_config(plain))
                await self.keep(replace(row, sealed=sealed), row)

    def unseal(self, row: TenantRow) -> TenantConfig:
        """The configuration in a row. Raises :class:`GeneralError` (``wrong_secret``) where no secret opens it."""
        plain = _open(row, self._secrets())
        if plain is not None:
            return _decode_config(plain)
        raise GeneralError(
            f"the configuration of app {row.app_id}, tenant {row.tenant_id} does not open with this secret: "
            "give the former one too",
            reason="wrong_secret",
        )

    def check(self, app: App, row_id: tuple[str, str], config: TenantConfig) -> None:
        """Raise :class:`GeneralError` (``bad_config``) for a configuration that does not do."""
        app_id, tenant_id = row_id
        if tenant_id == PUBLIC:
            settings = merge(self._settings, config.core_config)
            App(app_id, settings, self._around)
        else:
            merge(app.settings, config.core_config, Scope.TENANT)

    def _secrets(self) -> Sequence[bytes]:
        return [keys.wrapping for keys in self.public.deployment.secrets]

    def _need_store(self) -> AsyncTenantStore:
        if self._store is None:
            raise Refusal(400, "this store keeps no apps and tenants: there is the public app alone")
        return self._store

    async def _answer(self, call: Any) -> Any:  # noqa: ANN401 - a store's answer, as its method has it
        try:
            return await call
        except GeneralError:
            raise
        except Exception as error:
            raise GeneralError(f"the tenant store failed: {type(error).__name__}", reason="store_failed") from error


def _open(row: TenantRow, secrets: Sequence[bytes]) -> bytes | None:
    nonce, ciphertext = row.sealed[:WRAP_NONCE_BYTES], row.sealed[WRAP_NONCE_BYTES:]
    for key in secrets:
        with suppress(InvalidTag, ValueError):
            return AESGCM(key).decrypt(nonce, ciphertext, _bound_to(row.app_id, row.tenant_id))
    return None


def _bound_to(app_id: str, tenant_id: str) -> bytes:
    """Associated data: one tenant's configuration put into another's row does not open."""
    return f"tenant/{app_id}/{tenant_id}".encode("ascii")


def merge_config(former: Json, changes: Json) -> Json:
    """A configuration with changes; null removes a key."""
    return {name: value for name, value in {**former, **changes}.items() if value is not None}


_ID: Final = re.compile(r"[a-z0-9-]{1,64}")


def check_id(text: str, name: str, stop_words: frozenset[str] = frozenset()) -> str:
    """An app's or a tenant's id, trimmed and lower-cased (spec/cdi.md 1.4)."""
    cleaned = text.strip().lower()
    if not _ID.fullmatch(cleaned) or cleaned.startswith("appid-") or cleaned in stop_words:
        raise Refusal(
            400,
            f"{name} must be 1 to 64 characters of a-z, 0-9 and -, must not begin with 'appid-'"
            + (f" and must not be one of {', '.join(sorted(stop_words))}" if stop_words else ""),
        )
    return cleaned
