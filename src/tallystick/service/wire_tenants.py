"""The names on the wire of apps and tenants (spec/cdi.md 1.7); see :mod:`tallystick.service.wire`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal, TypeAlias

from tallystick.service import fields
from tallystick.service.registry import TenantConfig
from tallystick.types import Json

TENANT_NOT_FOUND: Final = {"status": "TENANT_NOT_FOUND_ERROR"}


class _Unchanged(Enum):
    UNCHANGED = "unchanged"


UNCHANGED: Final = _Unchanged.UNCHANGED
"""What was not given, where null says something else."""
Factors: TypeAlias = list[str] | Literal[_Unchanged.UNCHANGED] | None

_RECIPES: Final = ("emailPassword", "thirdParty", "passwordless")


@dataclass(frozen=True, slots=True)
class TenantRequest:
    """What an app or a tenant is to be."""

    id: str | None
    core_config: Json = field(repr=False)
    first_factors: Factors
    required_secondary_factors: Factors


def read_app(body: Json) -> TenantRequest:
    """``PUT /recipe/multitenancy/app[/v2]``."""
    return _read(body, "appId")


def read_tenant(body: Json) -> TenantRequest:
    """``PUT /recipe/multitenancy/tenant[/v2]``."""
    return _read(body, "tenantId")


def _read(body: Json, id_name: str) -> TenantRequest:
    for recipe in _RECIPES:
        fields.find_flag(body, f"{recipe}Enabled")  # as asked before v2; there are no recipes here
    return TenantRequest(
        fields.find_text(body, id_name),
        fields.find_object(body, "coreConfig") or {},
        _read_factors(body, "firstFactors"),
        _read_factors(body, "requiredSecondaryFactors"),
    )


def _read_factors(body: Json, name: str) -> Factors:
    return fields.find_texts(body, name) if name in body else UNCHANGED


def read_app_removal(body: Json) -> str:
    """``POST /recipe/multitenancy/app/remove``."""
    return fields.need_text(body, "appId")


def read_tenant_removal(body: Json) -> str:
    """``POST /recipe/multitenancy/tenant/remove``."""
    return fields.need_text(body, "tenantId")


def read_recipe_user(body: Json) -> str:
    """``POST /recipe/multitenancy/tenant/user``."""
    return fields.need_text(body, "recipeUserId")


def write_put(*, was_created: bool) -> Json:
    """An app or a tenant is as it was asked to be."""
    return {"status": "OK", "createdNew": was_created}


def write_removal(*, did_exist: bool) -> Json:
    """An app or a tenant is gone."""
    return {"status": "OK", "didExist": did_exist}


def write_disassociation(*, was_associated: bool) -> Json:
    """A user is no longer in a tenant."""
    return {"status": "OK", "wasAssociated": was_associated}


def write_tenant(tenant_id: str, config: TenantConfig) -> Json:
    """A tenant, also for those who ask in the way from before ``v2``."""
    answer: Json = {
        "tenantId": tenant_id,
        "emailPassword": {"enabled": False},
        "passwordless": {"enabled": False},
        "thirdParty": {"enabled": False, "providers": []},
        "coreConfig": config.core_config,
    }
    if config.first_factors is not None:
        answer["firstFactors"] = config.first_factors
    if config.required_secondary_factors is not None:
        answer["requiredSecondaryFactors"] = config.required_secondary_factors
    return answer


def write_tenants(tenants: list[Json]) -> Json:
    """An app's tenants."""
    return {"status": "OK", "tenants": tenants}


def write_apps(tenants: dict[str, list[Json]]) -> Json:
    """All apps with their tenants."""
    return {"status": "OK", "apps": [{"appId": app_id, "tenants": listed} for app_id, listed in tenants.items()]}
