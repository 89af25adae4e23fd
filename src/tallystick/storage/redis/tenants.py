"""Apps and tenants in Redis: :class:`~tallystick.storage.interface.TenantStore`. All are in one hash."""
# ruff: noqa: D103 - what each function promises is written in the interface, and only there

from __future__ import annotations

from dataclasses import replace
from typing import Final

import msgspec

from tallystick.storage.redis.layout import keys_key
from tallystick.storage.redis.steps import Batch, Script, Step
from tallystick.types import TenantRow

_KEY: Final = "tallystick:tenants"
_encode: Final = msgspec.msgpack.encode
_decode: Final = msgspec.msgpack.Decoder(TenantRow).decode


def load_tenant(app_id: str, tenant_id: str) -> Step[TenantRow | None]:
    (value,) = yield Batch([("HGET", _KEY, _field(app_id, tenant_id))])
    return None if value is None else _decode(value)


def list_tenants(app_id: str | None) -> Step[list[TenantRow]]:
    (values,) = yield Batch([("HVALS", _KEY)])
    rows = sorted(map(_decode, values), key=lambda row: (row.app_id, row.tenant_id))
    return [row for row in rows if app_id in (None, row.app_id)]


def insert_tenant(row: TenantRow) -> Step[bool]:
    (was_kept,) = yield Batch([("HSETNX", _KEY, _field(row.app_id, row.tenant_id), _encode(row))])
    return bool(was_kept)


def swap_tenant(row: TenantRow, expected: bytes) -> Step[bool]:
    found = yield from load_tenant(row.app_id, row.tenant_id)
    if found is None or found.sealed != expected:
        return False
    values = [_field(row.app_id, row.tenant_id), _encode(found), _encode(replace(found, sealed=row.sealed))]
    return bool((yield Script("swap_tenant", [_KEY], values)))


def delete_tenants(app_id: str, tenant_id: str | None) -> Step[bool]:
    """An app's keys go first: what is left of it, should the process die in between, is asked to be deleted again."""
    if tenant_id is not None:
        (deleted,) = yield Batch([("HDEL", _KEY, _field(app_id, tenant_id))])
        return bool(deleted)
    yield Batch([("DEL", keys_key(app_id))])
    rows = yield from list_tenants(app_id)
    if not rows:
        return False
    (deleted,) = yield Batch([("HDEL", _KEY, *(_field(row.app_id, row.tenant_id) for row in rows))])
    return bool(deleted)


def _field(app_id: str, tenant_id: str) -> str:
    return f"{app_id}/{tenant_id}"
