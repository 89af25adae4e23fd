"""Apps and tenants as SQL: :class:`~tallystick.storage.interface.TenantStore`."""
# ruff: noqa: D103 - what each function promises is written in the interface, and only there

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from sqlalchemy import BindParameter, Connection, and_, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from tallystick.storage.sql.schema import signing_keys, tenants
from tallystick.types import TenantRow

_row = tenants.c
_app_id: Final[BindParameter[str]] = bindparam("of_app_id")
_of_app: Final = _row.app_id == _app_id
_is_it: Final = and_(_of_app, _row.tenant_id == bindparam("of_tenant_id"))

_LOAD: Final = select(tenants).where(_is_it)
_LIST_ALL: Final = select(tenants).order_by(_row.app_id, _row.tenant_id)
_LIST: Final = _LIST_ALL.where(_of_app)
_INSERT: Final = insert(tenants)
_SWAP: Final = (
    update(tenants).where(_is_it, _row.sealed == bindparam("expected")).values(sealed=bindparam("new_sealed"))
)
_DELETE: Final = delete(tenants).where(_is_it)
_DELETE_ALL: Final = delete(tenants).where(_of_app)
_DELETE_KEYS: Final = delete(signing_keys).where(signing_keys.c.app_id == _app_id)


def load_tenant(connection: Connection, app_id: str, tenant_id: str) -> TenantRow | None:
    found = connection.execute(_LOAD, _it(app_id, tenant_id)).one_or_none()
    return None if found is None else TenantRow(*found)


def list_tenants(connection: Connection, app_id: str | None) -> list[TenantRow]:
    statement, values = (_LIST_ALL, {}) if app_id is None else (_LIST, {"of_app_id": app_id})
    return [TenantRow(*found) for found in connection.execute(statement, values)]


def insert_tenant(connection: Connection, row: TenantRow) -> bool:
    try:
        connection.execute(_INSERT, asdict(row))
    except IntegrityError:
        return False
    return True


def swap_tenant(connection: Connection, row: TenantRow, expected: bytes) -> bool:
    values = _it(row.app_id, row.tenant_id) | {"expected": expected, "new_sealed": row.sealed}
    return connection.execute(_SWAP, values).rowcount == 1


def delete_tenants(connection: Connection, app_id: str, tenant_id: str | None) -> bool:
    """An app's keys go first: what is left of it, should the process die in between, is asked to be deleted again."""
    if tenant_id is not None:
        return connection.execute(_DELETE, _it(app_id, tenant_id)).rowcount > 0
    connection.execute(_DELETE_KEYS, {"of_app_id": app_id})
    return connection.execute(_DELETE_ALL, {"of_app_id": app_id}).rowcount > 0


def _it(app_id: str, tenant_id: str) -> dict[str, object]:
    return {"of_app_id": app_id, "of_tenant_id": tenant_id}
