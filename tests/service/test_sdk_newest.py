"""What only today's SDKs can do: claims, payloads that change at once, static keys, JWTs."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest

from tests.service.operating import Service
from tests.service.sdks import NEWEST, Held, Kind, Sdk, refused

pytestmark = pytest.mark.parametrize("kind", NEWEST, ids=str)
StartSdk = Callable[..., Sdk]


def header_of(held: Held) -> dict[str, Any]:
    return jwt.get_unverified_header(held.access)


def test_a_revoked_session_is_found_out_at_once_where_the_database_is_asked(sdk: Sdk):
    held = sdk.create()
    assert sdk.verify(held, check_database=True).access == held.access
    sdk.call("revoke", handle=held.handle)
    assert sdk.verify(held).handle == held.handle, "no verification without the database can know"
    with refused("UNAUTHORISED"):
        sdk.verify(held, check_database=True)


def test_the_token_has_the_nine_claims_of_version_5_and_the_issuer(sdk: Sdk):
    held = sdk.create("ada", {"plan": "basic"})
    assert header_of(held) | {"kid": None} == {"alg": "RS256", "typ": "JWT", "version": "5", "kid": None}
    assert set(held.payload) == {
        *("sub", "rsub", "tId", "iat", "exp", "sessionHandle", "refreshTokenHash1", "parentRefreshTokenHash1"),
        *("antiCsrfToken", "iss", "plan"),
    }
    assert (held.payload["tId"], held.payload["rsub"]) == ("public", "ada")


def test_session_information_has_all_that_the_core_knows(sdk: Sdk):
    held = sdk.create("ada", {"plan": "basic"}, {"cart": []})
    told = sdk.call("information", handle=held.handle)
    assert told["created_at"] < told["expires_at"]
    assert (told["user"], told["tenant"], told["data"]) == ("ada", "public", {"cart": []})
    assert told["payload"] == {"plan": "basic", "iss": "http://localhost:3000/auth"}


def test_a_payload_merged_by_handle_shows_when_the_core_is_asked_next(sdk: Sdk):
    held = sdk.create(payload={"plan": "basic", "trial": True})
    assert sdk.call("merge_payload", handle=held.handle, update={"plan": "pro", "trial": None}) is True
    assert sdk.verify(held).payload["plan"] == "basic"
    asked = sdk.verify(held, check_database=True)
    assert asked.access != held.access
    assert asked.payload["plan"] == "pro"
    assert "trial" not in asked.payload
    assert sdk.refresh(held).payload["plan"] == "pro"
    assert sdk.call("merge_payload", handle="unknown", update={"plan": "pro"}) is False


def test_a_payload_merged_into_the_current_session_comes_with_a_new_token_at_once(sdk: Sdk):
    held = sdk.create(payload={"plan": "basic"})
    merged = sdk.change("merge_payload_now", held, update={"plan": "pro", "seats": [1, 2]})
    assert merged.access != held.access
    assert (merged.payload["plan"], merged.payload["seats"]) == ("pro", [1, 2])
    assert merged.payload["exp"] == held.payload["exp"]
    assert sdk.verify(merged, check_database=True).access == merged.access
    sdk.call("revoke", handle=held.handle)
    with refused("UNAUTHORISED"):
        sdk.change("merge_payload_now", merged, update={})


def test_a_payload_merged_between_refresh_and_first_use_keeps_the_session_on_its_line(sdk: Sdk):
    held = sdk.create()
    merged = sdk.change("merge_payload_now", sdk.refresh(held), update={"plan": "pro"})
    used = sdk.verify(merged)
    assert used.payload["plan"] == "pro"
    assert sdk.verify(sdk.refresh(used)).payload["plan"] == "pro"


def test_a_claim_is_fetched_set_checked_and_removed(sdk: Sdk):
    held = sdk.change("fetch_role", sdk.create("grace"))
    assert held.payload["role"]["v"] == "admin"
    assert sdk.verify(held, required_role="admin").handle == held.handle
    demoted = sdk.change("set_role", held, role_value="guest")
    with refused("INVALID_CLAIMS") as caught:
        sdk.verify(demoted, required_role="admin")
    (claim,) = caught.value.evidence["claims"]
    assert claim["id"] == "role"
    assert claim["reason"] == {"message": "wrong value", "expectedValue": "admin", "actualValue": "guest"}
    assert "role" not in sdk.change("remove_role", demoted).payload


def test_a_claim_of_another_session_is_set_and_checked_by_its_handle(sdk: Sdk):
    held = sdk.create("ada")
    assert sdk.call("set_role_of", handle=held.handle, role_value="editor") is True
    assert sdk.call("role_of", handle=held.handle) == "editor"
    assert sdk.call("invalid_claims_of", handle=held.handle, required_role="editor") == []
    (claim,) = sdk.call("invalid_claims_of", handle=held.handle, required_role="admin")
    assert claim["id"] == "role"
    assert sdk.verify(sdk.refresh(held), required_role="editor").handle == held.handle


def test_a_wrong_anti_csrf_token_at_a_refresh_is_unauthorised(sdk: Sdk):
    held = sdk.create()
    with refused("UNAUTHORISED"):
        sdk.call("refresh", refresh=held.refresh, anti_csrf="another")
    assert sdk.refresh(held).handle == held.handle


def test_static_and_dynamic_keys_do_not_mix_and_a_refresh_changes_over(
    kind: Kind, strict_core: Service, start_sdk: StartSdk, sdk: Sdk
):
    other = start_sdk(kind, strict_core.url, use_dynamic_key=False)
    held = other.create()
    assert header_of(held)["kid"].startswith("s-")
    assert other.verify(held).handle == held.handle
    with refused("TRY_REFRESH_TOKEN"):
        sdk.verify(held)
    changed = sdk.refresh(held)
    assert header_of(changed)["kid"].startswith("d-")
    assert header_of(sdk.verify(changed))["kid"].startswith("d-")


@pytest.mark.parametrize("is_static", [True, False])
def test_a_jwt_of_ones_own_verifies_by_the_published_keys_alone(sdk: Sdk, strict_core: Service, is_static: bool):
    made = sdk.call("create_jwt", payload={"for": "another service"}, is_static=is_static)
    published = jwt.PyJWKSet.from_dict(httpx.get(f"{strict_core.url}/.well-known/jwks.json").json())
    kid = jwt.get_unverified_header(made)["kid"]
    assert kid.startswith("s-" if is_static else "d-")
    claims = jwt.decode(made, published[kid], algorithms=["RS256"], issuer="http://localhost:3000/auth")
    assert claims["for"] == "another service"
    assert claims["exp"] - claims["iat"] == 3600
    assert kid in {key["kid"] for key in sdk.call("jwks")}


def test_claims_of_the_core_cannot_be_put_into_a_payload(sdk: Sdk, strict_core: Service):
    """The SDKs take them out themselves, so the core is asked as they would."""
    held = sdk.create(payload={"sub": "root", "rsub": "root", "tId": "root"})
    assert (held.user, held.payload["sub"], held.payload["tId"]) == ("ada", "ada", "public")
    answer = httpx.put(
        f"{strict_core.url}/recipe/jwt/data",
        content=json.dumps({"sessionHandle": held.handle, "userDataInJWT": {"sub": "root"}}),
        headers={"cdi-version": "5.4"},
    )
    assert (answer.status_code, answer.text.strip()) == (400, "The user payload contains protected field")
