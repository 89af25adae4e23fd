"""The endpoints of apps and tenants (spec/cdi.md 1.7)."""

from __future__ import annotations

from typing import Final

from tallystick.calls import Flow
from tallystick.config import PUBLIC
from tallystick.errors import GeneralError
from tallystick.service import wire
from tallystick.service import wire_tenants as tenants
from tallystick.service.answers import Refusal
from tallystick.service.registry import ATTEMPTS, Registry, TenantConfig, check_id, merge_config
from tallystick.service.requests import Handler, Request
from tallystick.service.sessions import end
from tallystick.types import Json, TenantRow

STOP_WORDS: Final = frozenset({"recipe", "config", "users", "hello"})
"""What is never a tenant, as paths begin with it."""


async def put_app(request: Request) -> Json:
    """``PUT /recipe/multitenancy/app[/v2]``."""
    _check_base(request)
    asked = tenants.read_app(request.json())
    app_id = PUBLIC if asked.id is None else check_id(asked.id, "appId")
    return await _put(request, app_id, PUBLIC, asked)


async def put_tenant(request: Request) -> Json:
    """``PUT /recipe/multitenancy/tenant[/v2]``. A tenant may change itself; others only the public one may."""
    asked = tenants.read_tenant(request.json())
    tenant_id = PUBLIC if asked.id is None else check_id(asked.id, "tenantId", STOP_WORDS)
    if request.tenant_id not in (PUBLIC, tenant_id):
        raise Refusal(403, "Only the public tenantId is allowed to create or change other tenants")
    return await _put(request, request.app.app_id, tenant_id, asked)


async def _put(request: Request, app_id: str, tenant_id: str, asked: tenants.TenantRequest) -> Json:
    if asked.core_config and (app_id, tenant_id) == (PUBLIC, PUBLIC):
        raise Refusal(400, "the base tenant's configuration is the service's own, and cannot be changed here")
    registry = request.service.registry
    for _ in range(ATTEMPTS):
        row = await registry.load(app_id, tenant_id)
        config = _default(tenant_id) if row is None else registry.unseal(row)
        changed = _change(config, asked)
        try:
            registry.check(request.app, (app_id, tenant_id), changed)
        except GeneralError as error:
            raise Refusal(400, f"Invalid core config: {error.message}") from None
        created_at = request.app.deployment.clock()
        fresh = TenantRow(app_id, tenant_id, created_at, registry.seal(app_id, tenant_id, changed))
        if await registry.keep(fresh, row):
            return tenants.write_put(was_created=row is None and (app_id, tenant_id) != (PUBLIC, PUBLIC))
    raise GeneralError("the tenant changed while this request looked at it", reason="contended")


def _default(tenant_id: str) -> TenantConfig:
    """A new app's public tenant allows every first factor, any other tenant none until it is told which."""
    return TenantConfig(first_factors=None if tenant_id == PUBLIC else [])


def _change(config: TenantConfig, asked: tenants.TenantRequest) -> TenantConfig:
    return TenantConfig(
        merge_config(config.core_config, asked.core_config),
        config.first_factors if asked.first_factors is tenants.UNCHANGED else asked.first_factors,
        config.required_secondary_factors
        if asked.required_secondary_factors is tenants.UNCHANGED
        else asked.required_secondary_factors,
    )


async def remove_app(request: Request) -> Json:
    """``POST /recipe/multitenancy/app/remove``."""
    _check_base(request)
    app_id = check_id(tenants.read_app_removal(request.json()), "appId")
    if app_id == PUBLIC:
        raise Refusal(403, "Cannot delete public app")
    registry = request.service.registry
    if any(row.tenant_id != PUBLIC for row in await registry.list(app_id)):
        raise Refusal(403, "Please remove all tenants of the app before removing it")
    return tenants.write_removal(did_exist=await registry.delete(app_id, None))


async def remove_tenant(request: Request) -> Json:
    """``POST /recipe/multitenancy/tenant/remove``."""
    if request.tenant_id != PUBLIC:
        raise Refusal(403, "Only the public tenantId is allowed to delete a tenant")
    tenant_id = check_id(tenants.read_tenant_removal(request.json()), "tenantId")
    if tenant_id == PUBLIC:
        raise Refusal(403, "Cannot delete public tenant, use remove app API instead")
    return tenants.write_removal(did_exist=await request.service.registry.delete(request.app.app_id, tenant_id))


async def list_apps(request: Request) -> Json:
    """``GET /recipe/multitenancy/app/list[/v2]``."""
    _check_base(request)
    by_app: dict[str, list[TenantRow]] = {PUBLIC: []}
    for row in await request.service.registry.list(None):
        by_app.setdefault(row.app_id, []).append(row)
    registry = request.service.registry
    return tenants.write_apps({app_id: _describe(registry, rows) for app_id, rows in by_app.items()})


async def list_tenants(request: Request) -> Json:
    """``GET /recipe/multitenancy/tenant/list[/v2]``."""
    if request.tenant_id != PUBLIC:
        raise Refusal(403, "Only the public tenantId is allowed to list all tenants associated with this app")
    registry = request.service.registry
    return tenants.write_tenants(_describe(registry, await registry.list(request.app.app_id)))


async def look_up_tenant(request: Request) -> Json:
    """``GET /recipe/multitenancy/tenant[/v2]``."""
    registry = request.service.registry
    row = await registry.load(request.app.app_id, request.tenant_id)
    config = _default(request.tenant_id) if row is None else registry.unseal(row)
    return {**wire.OK, **tenants.write_tenant(request.tenant_id, config)}


def associate(request: Request) -> Json:
    """``POST /recipe/multitenancy/tenant/user``: there are no users here to put into a tenant."""
    tenants.read_recipe_user(request.json())
    return wire.UNKNOWN_USER


def disassociate(request: Request) -> Flow[Json]:
    """``POST /recipe/multitenancy/tenant/user/remove``: ends the user's sessions in this tenant."""
    user_id = tenants.read_recipe_user(request.json())
    ended = yield from end(request, wire.Removal(user_id, [], False))
    return tenants.write_disassociation(was_associated=bool(ended))


def _describe(registry: Registry, rows: list[TenantRow]) -> list[Json]:
    """An app's tenants; the public one is always there, if only in the service's own configuration."""
    configs = {PUBLIC: _default(PUBLIC)} | {row.tenant_id: registry.unseal(row) for row in rows}
    return [tenants.write_tenant(tenant_id, config) for tenant_id, config in configs.items()]


def _check_base(request: Request) -> None:
    if (request.app.app_id, request.tenant_id) != (PUBLIC, PUBLIC):
        raise Refusal(403, "Only the public appId and tenantId are allowed to create, list and remove apps")


HANDLERS: Final[dict[str, dict[str, Handler]]] = {
    "/app": {"PUT": put_app},
    "/app/v2": {"PUT": put_app},
    "/app/remove": {"POST": remove_app},
    "/app/list": {"GET": list_apps},
    "/app/list/v2": {"GET": list_apps},
    "/tenant": {"PUT": put_tenant, "GET": look_up_tenant},
    "/tenant/v2": {"PUT": put_tenant, "GET": look_up_tenant},
    "/tenant/remove": {"POST": remove_tenant},
    "/tenant/list": {"GET": list_tenants},
    "/tenant/list/v2": {"GET": list_tenants},
    "/tenant/user": {"POST": associate},
    "/tenant/user/remove": {"POST": disassociate},
}
"""Below ``/recipe/multitenancy``."""
