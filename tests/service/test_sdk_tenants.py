"""Apps and tenants, as today's SDKs and their own test suites use them."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.service.operating import Service
from tests.service.sdks import NEWEST, Failed, Kind, Sdk, refused

pytestmark = pytest.mark.parametrize("kind", NEWEST, ids=str)
StartSdk = Callable[..., Sdk]


def make_app(core: Service, **settings: object) -> str:
    """A new app as the SDKs' own test suites make one; its address."""
    app = str(uuid4())
    put(core.url, "app/v2", {"appId": app, "coreConfig": settings})
    return f"{core.url}/appid-{app}"


def put(base: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.put(f"{base}/recipe/multitenancy/{path}", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert told == {"status": "OK", "createdNew": True}
    return told


def test_apps_have_keys_sessions_and_settings_of_their_own(
    kind: Kind, strict_core: Service, start_sdk: StartSdk, sdk: Sdk
):
    app = make_app(strict_core, access_token_validity="7200", access_token_validity_jitter="0")
    inside = start_sdk(kind, app)
    held, outside = inside.create("ada"), sdk.create("ada")
    assert held.payload["exp"] - held.payload["iat"] == 7200
    assert inside.call("handles", user="ada") == [held.handle]
    assert sdk.call("information", handle=held.handle) is None
    for there, token in ((inside, outside), (sdk, held)):
        with refused("TRY_REFRESH_TOKEN"):
            there.verify(token)
        with refused("UNAUTHORISED"):
            there.refresh(token)
    assert sdk.call("revoke", handle=held.handle) is False
    assert inside.verify(inside.refresh(held)).handle == held.handle


def test_within_the_grace_of_an_app_a_used_parent_is_no_theft(kind: Kind, strict_core: Service, start_sdk: StartSdk):
    sdk = start_sdk(kind, make_app(strict_core, refresh_token_rotation_grace_period=300))
    held = sdk.create()
    sdk.verify(sdk.refresh(held))
    assert sdk.verify(sdk.refresh(held)).handle == held.handle


def test_tenants_of_an_app_are_listed_and_revoked_each_by_itself(kind: Kind, strict_core: Service, start_sdk: StartSdk):
    app = make_app(strict_core)
    put(app, "tenant/v2", {"tenantId": "acme"})
    sdk = start_sdk(kind, app)
    public, acme = sdk.create("ada"), sdk.create("ada", tenant="acme")
    assert acme.handle.endswith("_acme")
    assert (acme.tenant, acme.payload["tId"]) == ("acme", "acme")
    assert sdk.call("information", handle=acme.handle)["tenant"] == "acme"
    assert set(sdk.call("handles", user="ada")) == {public.handle, acme.handle}
    assert sdk.call("handles", user="ada", tenant="acme") == [acme.handle]
    assert sdk.call("handles", user="ada", tenant="public") == [public.handle]
    used = sdk.verify(sdk.refresh(acme))
    assert (used.tenant, used.payload["tId"]) == ("acme", "acme")
    assert sdk.call("revoke_all", user="ada", tenant="acme") == [acme.handle]
    assert sdk.verify(public, check_database=True).handle == public.handle
    with refused("UNAUTHORISED"):
        sdk.verify(used, check_database=True)
    with pytest.raises(Failed, match="status code: 400"):
        sdk.create("ada", tenant="unknown")
