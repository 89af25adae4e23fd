"""Apps and tenants: by path, with their own keys and configuration, agreed on by several instances."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tallystick.storage.interface import AsyncSessionStore
from tests.service.cores import Core, claims_of

KEY = "a-Key=of-20-characters"


async def make_app(core, app_id="app1", **config):
    body = {"appId": app_id, "coreConfig": config}
    return await core.put("/recipe/multitenancy/app/v2", body, cdi=None)


async def make_tenant(core, tenant_id="t1", prefix="", **fields):
    return await core.put(f"{prefix}/recipe/multitenancy/tenant/v2", {"tenantId": tenant_id, **fields}, cdi=None)


async def test_an_app_is_created_once_and_changed_after_that(core):
    assert await make_app(core, access_token_validity="1") == {"status": "OK", "createdNew": True}
    assert await make_app(core, access_token_validity=7) == {"status": "OK", "createdNew": False}
    created = await core.create(prefix="/appid-app1")
    claims = claims_of(created["accessToken"]["token"])
    assert claims["exp"] - claims["iat"] == 7


async def test_an_apps_configuration_is_merged_and_a_null_takes_a_setting_back(core):
    await make_app(core, access_token_validity=7, refresh_token_validity=120)
    await make_app(core, access_token_validity=None)
    created = await core.create(prefix="/appid-app1")
    assert created["accessToken"]["expiry"] - created["accessToken"]["createdTime"] == 3_600_000
    assert created["refreshToken"]["expiry"] - created["refreshToken"]["createdTime"] == 7_200_000
    tenant = await core.get("/appid-app1/recipe/multitenancy/tenant/v2")
    assert tenant["coreConfig"] == {"refresh_token_validity": 120}


async def test_sessions_keys_and_users_of_one_app_are_nothing_to_another(core):
    await make_app(core)
    ours, theirs = await core.create(), await core.create(prefix="/appid-app1")
    assert (await core.verify(ours["accessToken"]["token"], prefix="/appid-app1"))["status"] == "TRY_REFRESH_TOKEN"
    assert (await core.refresh(theirs["refreshToken"]["token"]))["status"] == "UNAUTHORISED"
    listed = await core.get("/appid-app1/recipe/session/user", userId="u1")
    assert listed["sessionHandles"] == [theirs["session"]["handle"]]
    mine = {key["kid"] for key in (await core.get("/.well-known/jwks.json", cdi=None))["keys"]}
    others = {key["kid"] for key in (await core.get("/appid-app1/.well-known/jwks.json", cdi=None))["keys"]}
    assert len(mine | others) == 4


async def test_the_public_app_and_tenant_may_be_named_or_not(core):
    for prefix in ("/public", "/appid-public", "/appid-public/public", "/PUBLIC"):
        created = await core.create(prefix=prefix)
        assert (await core.verify(created["accessToken"]["token"]))["status"] == "OK"


async def test_a_tenant_is_in_the_handle_the_token_and_the_answers(core):
    await make_tenant(core)
    created = await core.create(prefix="/t1")
    handle, token = created["session"]["handle"], created["accessToken"]["token"]
    assert handle.endswith("_t1")
    assert (created["session"]["tenantId"], claims_of(token)["tId"]) == ("t1", "t1")
    # Handles and tokens say by themselves which tenant's they are.
    assert (await core.verify(token, checkDatabase=True))["session"]["tenantId"] == "t1"
    assert (await core.get("/recipe/session", sessionHandle=handle))["tenantId"] == "t1"
    assert (await core.refresh(created["refreshToken"]["token"]))["session"]["tenantId"] == "t1"


async def test_sessions_are_listed_and_removed_in_one_tenant_or_in_all(core):
    await make_tenant(core)
    public, other = [await core.create(prefix=prefix) for prefix in ("", "/t1")]
    handles = [created["session"]["handle"] for created in (public, other)]
    across = await core.get("/recipe/session/user", userId="u1", fetchAcrossAllTenants="true")
    assert set(across["sessionHandles"]) == set(handles)
    within = await core.get("/t1/recipe/session/user", userId="u1", fetchAcrossAllTenants="false")
    assert within["sessionHandles"] == handles[1:]
    body = {"userId": "u1", "revokeAcrossAllTenants": False}
    assert (await core.post("/t1/recipe/session/remove", body))["sessionHandlesRevoked"] == handles[1:]
    assert (await core.post("/recipe/session/remove", {"userId": "u1"}))["sessionHandlesRevoked"] == handles[:1]


async def test_what_is_the_whole_apps_refuses_another_tenant_since_5_0(core):
    await make_tenant(core)
    paths = (
        "/recipe/session/user?userId=u",
        "/apiversion",
        "/user/id?userId=u",
        "/telemetry",
        "/recipe/jwt/jwks",
        "/requests/stats",
    )
    for path in paths:
        assert (await core.ask("GET", f"/t1{path}", cdi="5.0")).status_code == 403, path
        assert (await core.ask("GET", f"/t1{path}", cdi="4.0")).status_code == 200, path


async def test_an_unknown_app_or_tenant_is_a_400_with_the_triple(core):
    for prefix, triple in (("/appid-no", "(, no, public)"), ("/t9", "(, public, t9)"), ("/appid-/t", "(, , t)")):
        refused = await core.ask("GET", f"{prefix}/recipe/session?sessionHandle=h")
        assert refused.status_code == 400
        assert refused.text.startswith("AppId or tenantId not found => ")
        assert triple in refused.text


async def test_asking_for_an_unknown_tenant_has_an_answer_of_its_own(core):
    for prefix in ("/t9", "/appid-no"):
        for path in ("tenant", "tenant/v2"):
            asked = await core.get(f"{prefix}/recipe/multitenancy/{path}", cdi=None)
            assert asked == {"status": "TENANT_NOT_FOUND_ERROR"}


async def test_an_unknown_path_below_an_unknown_tenant_is_a_404(core):
    assert (await core.ask("GET", "/t9/nothing/here")).status_code == 404


async def test_tenants_are_shown_and_listed(core):
    await make_tenant(core, firstFactors=["otp-email"], requiredSecondaryFactors=["totp"])
    await make_tenant(core, "t2")
    shown = await core.get("/t1/recipe/multitenancy/tenant/v2")
    assert shown["firstFactors"] == ["otp-email"]
    assert shown["requiredSecondaryFactors"] == ["totp"]
    assert (await core.get("/t2/recipe/multitenancy/tenant/v2"))["firstFactors"] == []
    assert "firstFactors" not in await core.get("/recipe/multitenancy/tenant/v2")
    listed = await core.get("/recipe/multitenancy/tenant/list/v2")
    assert [tenant["tenantId"] for tenant in listed["tenants"]] == ["public", "t1", "t2"]
    await make_app(core)
    apps = (await core.get("/recipe/multitenancy/app/list/v2"))["apps"]
    assert {app["appId"]: [tenant["tenantId"] for tenant in app["tenants"]] for app in apps} == {
        "public": ["public", "t1", "t2"],
        "app1": ["public"],
    }


@pytest.mark.parametrize("app_id", ["", "appid-x", "a_b", "ä", "a/b", "x" * 65, "'; DROP TABLE x --"])
async def test_a_bad_id_is_refused(core, app_id):
    assert (await core.ask("PUT", "/recipe/multitenancy/app/v2", {"appId": app_id})).status_code == 400
    assert (await core.ask("PUT", "/recipe/multitenancy/tenant/v2", {"tenantId": app_id})).status_code == 400


@pytest.mark.parametrize("tenant_id", ["recipe", "config", "users", "hello"])
async def test_a_word_that_begins_paths_is_no_tenant(core, tenant_id):
    assert (await core.ask("PUT", "/recipe/multitenancy/tenant/v2", {"tenantId": tenant_id})).status_code == 400


async def test_an_id_is_trimmed_and_lower_cased(core):
    await make_app(core, " App1 ")
    assert (await core.create(prefix="/appid-APP1"))["status"] == "OK"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"no_such_setting": 1}, "no_such_setting"),
        ({"access_token_validity": "1.5"}, "access_token_validity"),
        ({"access_token_validity": "soon"}, "access_token_validity"),
        ({"port": 1}, "port"),
        ({"refresh_token_validity": 1}, "refresh_token_validity"),
        ({"api_keys": "short"}, "api_keys"),
    ],
)
async def test_a_bad_configuration_is_refused_by_name_and_changes_nothing(core, config, said):
    refused = await core.ask("PUT", "/recipe/multitenancy/app/v2", {"appId": "app1", "coreConfig": config})
    assert refused.status_code == 400
    assert said in refused.text
    assert (await core.ask("GET", "/appid-app1/apiversion")).status_code == 400


async def test_the_base_tenants_configuration_is_not_changed_here(core):
    body = {"coreConfig": {"access_token_validity": 5}}
    for path in ("app/v2", "tenant/v2"):
        assert (await core.ask("PUT", f"/recipe/multitenancy/{path}", body)).status_code == 400


async def test_an_app_has_api_keys_of_its_own(core):
    await make_app(core, api_keys=KEY)
    path = "/appid-app1/recipe/session/user?userId=u"
    assert (await core.ask("GET", path)).status_code == 401
    assert (await core.ask("GET", path, api_key="a-Key=of-20-characterz")).status_code == 401
    assert (await core.ask("GET", path, api_key=KEY)).status_code == 200
    assert (await core.ask("GET", "/recipe/session/user?userId=u")).status_code == 200
    # A tenant that there is not does not open what is the app's.
    assert (await core.ask("GET", f"/appid-app1/t9{path[11:]}")).status_code == 401


async def test_api_keys_are_not_in_the_store_for_everyone_to_read(core):
    await make_app(core, api_keys=KEY)
    (row,) = await core.store.list_tenants("app1")
    assert KEY.encode() not in row.sealed


async def test_an_app_is_removed_with_its_sessions_and_keys_when_its_tenants_are_gone(core):
    await make_app(core)
    await make_tenant(core, prefix="/appid-app1")
    created = await core.create(prefix="/appid-app1")
    remove = "/recipe/multitenancy/app/remove"
    assert (await core.ask("POST", remove, {"appId": "app1"})).status_code == 403
    gone = await core.post("/appid-app1/recipe/multitenancy/tenant/remove", {"tenantId": "t1"})
    assert gone == {"status": "OK", "didExist": True}
    assert await core.post(remove, {"appId": "app1"}) == {"status": "OK", "didExist": True}
    assert await core.post(remove, {"appId": "app1"}) == {"status": "OK", "didExist": False}
    assert (await core.ask("GET", "/appid-app1/apiversion")).status_code == 400
    await make_app(core)
    assert (await core.verify(created["accessToken"]["token"], prefix="/appid-app1"))["status"] == "TRY_REFRESH_TOKEN"
    assert (await core.refresh(created["refreshToken"]["token"], prefix="/appid-app1"))["status"] == "UNAUTHORISED"


async def test_the_endings_of_a_removed_tenant_are_kept_for_as_long_as_its_apps_tokens_live(core):
    await make_app(core, access_token_validity=7200)  # longer than the service's own
    await make_tenant(core, prefix="/appid-app1")
    created = await core.create(prefix="/appid-app1/t1")
    await core.post("/appid-app1/recipe/multitenancy/tenant/remove", {"tenantId": "t1"})
    (ending,) = (await core.store.read_endings("app1", None, 10)).endings
    assert ending.handle == created["session"]["handle"]
    assert ending.forget_at >= created["accessToken"]["expiry"]


async def test_an_app_whose_configuration_no_secret_opens_keeps_no_other_from_its_purge_and_can_be_removed(core, other):
    await make_app(core)
    row = await core.store.load_tenant("app1", "public")
    await core.store.swap_tenant(replace(row, sealed=b"sealed by somebody else"), row.sealed)
    assert (await other.ask("GET", "/appid-app1/apiversion")).status_code == 500
    await make_app(other, "app2")
    await other.create(prefix="/appid-app2")
    other.clock.advance(timedelta(days=101))
    assert await other.app.purge() == 1
    gone = await other.post("/recipe/multitenancy/app/remove", {"appId": "app1"})
    assert gone == {"status": "OK", "didExist": True}


async def test_a_purge_seals_anew_what_a_former_secret_has_sealed_so_that_it_can_be_dropped():
    former, newest = "the-former-secret-that-is-long-enough", "the-newest-secret-that-is-long-enough"
    before = Core(secret=former)
    await make_app(before, "app1", access_token_validity=1234)
    await make_tenant(before, prefix="/appid-app1")
    during = Core(store=before.store, clock=before.clock, secret=[newest, former])
    await make_app(during, "app2")
    rows = await during.store.list_tenants(None)
    await during.app.purge()
    sealed_anew = [
        row.app_id for row, now in zip(rows, await during.store.list_tenants(None), strict=True) if row != now
    ]
    assert sealed_anew == ["app1", "app1"]
    after = Core(store=before.store, clock=before.clock, secret=newest)
    created = await after.create(prefix="/appid-app1/t1")
    assert created["accessToken"]["expiry"] - created["accessToken"]["createdTime"] == 1_234_000


async def test_a_tenants_sessions_go_with_it(core):
    await make_tenant(core)
    kept, lost = await core.create(), await core.create(prefix="/t1")
    await core.post("/recipe/multitenancy/tenant/remove", {"tenantId": "t1"})
    for created, status in ((kept, "OK"), (lost, "UNAUTHORISED")):
        answer = await core.get("/recipe/session", sessionHandle=created["session"]["handle"])
        assert answer["status"] == status


async def test_only_the_public_places_may_change_others(core):
    await make_app(core)
    await make_tenant(core)
    refused = [
        ("PUT", "/appid-app1/recipe/multitenancy/app/v2", {"appId": "app2"}),
        ("PUT", "/t1/recipe/multitenancy/app/v2", {"appId": "app2"}),
        ("PUT", "/t1/recipe/multitenancy/tenant/v2", {"tenantId": "t2"}),
        ("GET", "/appid-app1/recipe/multitenancy/app/list/v2", None),
        ("GET", "/t1/recipe/multitenancy/tenant/list/v2", None),
        ("POST", "/t1/recipe/multitenancy/tenant/remove", {"tenantId": "t1"}),
        ("POST", "/recipe/multitenancy/tenant/remove", {"tenantId": "public"}),
        ("POST", "/recipe/multitenancy/app/remove", {"appId": "public"}),
    ]
    for method, path, body in refused:
        assert (await core.ask(method, path, body)).status_code == 403, path
    assert (await core.put("/t1/recipe/multitenancy/tenant/v2", {"tenantId": "t1"}))["createdNew"] is False


async def test_a_tenants_address_rule_is_its_own(core):
    await make_tenant(core, coreConfig={"ip_deny_regex": r"127\..*"})
    path = "/recipe/session/user?userId=u&fetchAcrossAllTenants=false"
    denied = await core.ask("GET", f"/t1{path}")
    assert (denied.status_code, denied.text.strip()) == (403, "")
    assert (await core.ask("GET", path)).status_code == 200


async def test_a_user_of_a_tenant_is_unknown_and_taking_one_out_ends_sessions(core):
    await make_tenant(core)
    created = await core.create(prefix="/t1")
    body = {"recipeUserId": "u1"}
    added = await core.post("/t1/recipe/multitenancy/tenant/user", body)
    assert added == {"status": "UNKNOWN_USER_ID_ERROR"}
    for was_associated in (True, False):
        removed = await core.post("/t1/recipe/multitenancy/tenant/user/remove", body)
        assert removed == {"status": "OK", "wasAssociated": was_associated}
    gone = await core.get("/recipe/session", sessionHandle=created["session"]["handle"])
    assert gone["status"] == "UNAUTHORISED"


# Several instances


@pytest.fixture
async def other(core):
    """A second instance on the same store."""
    made = Core(store=core.store, clock=core.clock, seed=2)
    async with made.http:
        yield made


async def test_what_one_instance_has_made_another_has_at_once(core, other):
    await make_app(core)
    await make_tenant(core, prefix="/appid-app1")
    assert (await other.create(prefix="/appid-app1/t1"))["status"] == "OK"


async def test_a_change_is_seen_by_the_other_instance_within_a_second(core, other):
    await make_app(core)
    await other.create(prefix="/appid-app1")
    await make_app(core, api_keys=KEY)
    core.clock.advance(timedelta(milliseconds=1001))
    assert (await other.ask("GET", "/appid-app1/telemetry")).status_code == 401


async def test_an_app_that_was_removed_elsewhere_is_gone_within_a_second(core, other):
    await make_app(core)
    await other.create(prefix="/appid-app1")
    await core.post("/recipe/multitenancy/app/remove", {"appId": "app1"})
    core.clock.advance(timedelta(milliseconds=1001))
    assert (await other.ask("GET", "/appid-app1/telemetry")).status_code == 400


async def test_two_instances_that_change_an_app_at_once_both_take_effect(core, other):
    await make_app(core)
    await make_app(core, access_token_validity=5)
    await make_app(other, refresh_token_validity=60)
    tenant = await core.get("/appid-app1/recipe/multitenancy/tenant/v2")
    assert tenant["coreConfig"] == {"access_token_validity": 5, "refresh_token_validity": 60}


async def test_a_store_that_keeps_no_tenants_has_the_public_app_alone(core):
    class SessionsAlone:
        def __init__(self, store):
            self._store = store

        def __getattr__(self, name):
            if name not in dir(AsyncSessionStore):
                raise AttributeError(name)
            return getattr(self._store, name)

    alone = Core(store=SessionsAlone(core.store), clock=core.clock)
    assert (await alone.create())["status"] == "OK"
    refused = await alone.ask("PUT", "/recipe/multitenancy/app/v2", {"appId": "app1"})
    assert (refused.status_code, "keeps no apps" in refused.text) == (400, True)
    assert (await alone.ask("GET", "/appid-app1/telemetry")).status_code == 400


async def test_a_purge_is_of_all_apps(core):
    await make_app(core, refresh_token_validity=120)
    kept = await core.create()
    await core.create(prefix="/appid-app1")
    core.clock.advance(timedelta(hours=3))
    assert await core.app.purge() == 1
    assert (await core.get("/recipe/session", sessionHandle=kept["session"]["handle"]))["status"] == "OK"
