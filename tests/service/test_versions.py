"""Each version of the interface, with its own fields and rules (spec/cdi.md 1.1.5)."""

import pytest

from tests.service.cores import BEFORE_KIDS, EVERY, NEWEST, WITH_KIDS, Core, claims_of, header_of

SESSION = {"handle", "userId", "userDataInJWT"}
KEYS = {"jwtSigningPublicKey", "jwtSigningPublicKeyExpiryTime"}


def session_fields(cdi):
    number = tuple(map(int, cdi.split(".")))
    return SESSION | ({"tenantId"} if number >= (3, 0) else set()) | ({"recipeUserId"} if number >= (4, 0) else set())


def key_fields(cdi):
    if cdi not in BEFORE_KIDS:
        return set()
    return KEYS if cdi in ("2.7", "2.8") else KEYS | {"jwtSigningPublicKeyList"}


def id_refresh(cdi):
    return {"idRefreshToken"} if cdi in BEFORE_KIDS else set()


@pytest.mark.parametrize("cdi", EVERY)
async def test_a_create_has_the_fields_of_its_version(core, cdi):
    created = await core.create(cdi, enableAntiCsrf=True)
    usual = {"status", "session", "accessToken", "refreshToken", "antiCsrfToken"}
    assert set(created) == usual | id_refresh(cdi) | key_fields(cdi)
    assert set(created["session"]) == session_fields(cdi)
    for name in {"accessToken", "refreshToken"} | id_refresh(cdi):
        assert set(created[name]) == {"token", "expiry", "createdTime"}


@pytest.mark.parametrize("cdi", EVERY)
async def test_a_refresh_has_the_fields_of_its_version_and_never_keys(core, cdi):
    created = await core.create(cdi)
    refreshed = await core.refresh(created["refreshToken"]["token"], cdi)
    assert set(refreshed) == {"status", "session", "accessToken", "refreshToken"} | id_refresh(cdi)
    assert set(refreshed["session"]) == session_fields(cdi)


@pytest.mark.parametrize("cdi", EVERY)
async def test_a_verify_has_the_fields_of_its_version(core, cdi):
    created = await core.create(cdi)
    found = await core.verify(created["accessToken"]["token"], cdi)
    assert set(found) == {"status", "session"} | key_fields(cdi)
    assert set(found["session"]) == session_fields(cdi)
    refused = await core.verify("not.a.token", cdi)
    assert set(refused) == {"status", "message"} | key_fields(cdi)


@pytest.mark.parametrize("cdi", EVERY)
async def test_what_is_known_of_a_session_has_the_fields_of_its_version(core, cdi):
    created = await core.create(cdi)
    known = await core.get("/recipe/session", cdi=cdi, sessionHandle=created["session"]["handle"])
    common = {"status", "sessionHandle", "userId", "expiry", "timeCreated", "userDataInJWT", "userDataInDatabase"}
    assert set(known) == common | (session_fields(cdi) - SESSION)


@pytest.mark.parametrize(
    ("cdi", "version"),
    [*((cdi, "2") for cdi in BEFORE_KIDS), ("2.21", "3"), ("3.0", "4"), ("3.1", "4"), ("4.0", "5"), (NEWEST, "5")],
)
async def test_the_version_of_access_tokens_is_that_of_the_request(core, cdi, version):
    created = await core.create(cdi)
    token = created["accessToken"]["token"]
    assert header_of(token)["version"] == version
    for spoken in EVERY:
        found = await core.verify(token, spoken)
        assert (found["status"], found["session"]["handle"]) == ("OK", created["session"]["handle"]), spoken


@pytest.mark.parametrize("cdi", EVERY)
async def test_a_theft_has_all_three_fields_in_every_version(core, cdi):
    created = await core.create(cdi)
    child = (await core.refresh(created["refreshToken"]["token"], cdi))["refreshToken"]["token"]
    await core.refresh(child, cdi)
    theft = await core.refresh(created["refreshToken"]["token"], cdi)
    handle = created["session"]["handle"]
    assert theft.pop("recentTokenReuseSubtype", None) == ("STALE_LINEAGE" if cdi == NEWEST else None)
    assert theft == {
        "status": "TOKEN_THEFT_DETECTED",
        "session": {"handle": handle, "userId": "u1", "recipeUserId": "u1"},
    }


@pytest.mark.parametrize("cdi", ["2.20", "2.21"])
async def test_a_handshake_is_there_before_2_21_alone(core, cdi):
    shaken = await core.ask("POST", "/recipe/handshake", b"", cdi=cdi)
    if cdi == "2.21":
        assert (shaken.status_code, shaken.text) == (404, "Not found\n")
    else:
        assert shaken.json()["accessTokenValidity"] == 3_600_000
        assert len(shaken.json()) == 7
        assert len((await core.ask("POST", "/recipe/handshake", b"", cdi="2.7")).json()) == 6


async def test_static_keys_before_2_21_are_a_setting_and_never_expire():
    core = Core(access_token_signing_key_dynamic=False)
    created = await core.create("2.20")
    assert created["jwtSigningPublicKeyExpiryTime"] == 315_360_000_000
    (listed,) = created["jwtSigningPublicKeyList"]
    assert listed == {
        "publicKey": created["jwtSigningPublicKey"],
        "expiryTime": core.clock.now + 315_360_000_000,
        "createdAt": core.clock.now,
    }


async def test_blacklisting_before_2_21_is_a_setting():
    for blacklisting, status in ((False, "OK"), (True, "UNAUTHORISED")):
        core = Core(access_token_blacklisting=blacklisting)
        created = await core.create("2.20")
        await core.remove(created["session"]["handle"])
        assert (await core.verify(created["accessToken"]["token"], "2.20"))["status"] == status


# Choosing


async def test_every_version_is_listed_without_a_status_and_the_first_interfaces_too(core):
    listed = await core.get("/apiversion", cdi=None, websiteDomain="https://a", apiDomain="https://b")
    assert set(listed) == {"versions"}
    assert {*EVERY, "2.0", "2.1", "2.2", "2.3"} <= set(listed["versions"])
    assert len(set(listed["versions"])) == len(listed["versions"]) == 29


@pytest.mark.parametrize("header", ["2.22", "4.1", "2.3", "1.0", "99.0", "5.7", "5.4.0"])
async def test_an_unknown_version_is_refused_by_name(core, header):
    refused = await core.ask("GET", "/recipe/session?sessionHandle=h", cdi=header)
    assert (refused.status_code, refused.text) == (400, f"cdi-version {header} not supported\n")


@pytest.mark.parametrize("header", ["", "x", "5.", ".5", "5..4", "5.4;", "-1", "1" * 100, "५.४"])
async def test_what_is_no_version_is_refused_everywhere(core, header):
    for path in ("/recipe/session?sessionHandle=h", "/hello", "/apiversion", "/.well-known/jwks.json"):
        refused = await core.http.get(path, headers={b"cdi-version": header.encode()})
        assert refused.status_code == 400, path


@pytest.mark.parametrize("path", ["/hello", "/apiversion", "/.well-known/jwks.json"])
async def test_three_endpoints_need_no_known_version_but_none_that_is_too_new(core, path):
    assert (await core.ask("GET", path, cdi="2.22")).status_code == 200
    assert (await core.ask("GET", path, cdi="6.0")).status_code == 400


async def test_a_request_without_a_version_speaks_the_newest(core):
    created = await core.create(None)
    assert header_of(created["accessToken"]["token"])["version"] == "5"
    refused = await core.ask(
        "POST", "/recipe/session/refresh", {"refreshToken": "r", "enableAntiCsrf": False}, cdi=None
    )
    assert refused.text == "Field name 'useDynamicSigningKey' is invalid in JSON input\n"


async def test_a_newest_and_an_oldest_version_can_be_set():
    core = Core(supertokens_max_cdi_version="4.0", supertokens_min_cdi_version="2.21")
    listed = (await core.get("/apiversion", cdi=None))["versions"]
    # The least one filters no list, as test suites of drivers count on it.
    assert (listed[-1], "2.7" in listed, "2.3" in listed) == ("4.0", True, False)
    statuses = {}
    for cdi in ("2.20", "2.21", "4.0", "5.0", None):
        statuses[cdi] = (await core.ask("GET", "/recipe/session?sessionHandle=h", cdi=cdi)).status_code
    assert statuses == {"2.20": 400, "2.21": 200, "4.0": 200, "5.0": 400, None: 200}
    assert "recipeUserId" in (await core.create(None))["session"]
    assert (await core.ask("POST", "/handshake", {}, cdi=None)).status_code == 400


async def test_a_tenant_is_no_place_for_versions_that_have_none(core):
    await core.put("/recipe/multitenancy/tenant/v2", {"tenantId": "t1"})
    await core.put("/recipe/multitenancy/app/v2", {"appId": "app1"})
    for cdi, status in (("2.21", 404), ("3.0", 200)):
        assert (await core.ask("GET", "/t1/recipe/session?sessionHandle=h", cdi=cdi)).status_code == status
    assert (await core.ask("GET", "/appid-app1/recipe/session?sessionHandle=h", cdi="2.7")).status_code == 200


# Payloads between versions


async def test_a_claim_that_is_ours_in_this_version_is_refused_and_nothing_is_kept(core):
    for cdi, claim in (("2.21", "sub"), ("3.0", "tId"), ("4.0", "rsub"), (NEWEST, "antiCsrfToken")):
        body = {"userId": "u", "userDataInJWT": {claim: 1}, "userDataInDatabase": {}, "enableAntiCsrf": False}
        refused = await core.ask("POST", "/recipe/session", body, cdi=cdi)
        assert (refused.status_code, refused.text) == (400, "The user payload contains protected field\n")
    assert (await core.get("/recipe/session/user", userId="u"))["sessionHandles"] == []


async def test_a_claim_of_a_later_version_is_the_apps_own_in_an_earlier_one(core):
    oldest = await core.create("2.20", userDataInJWT={"sub": "mine", "exp": 1})
    assert (await core.verify(oldest["accessToken"]["token"]))["session"]["userId"] == "u1"
    third = await core.create("2.21", userDataInJWT={"tId": "mine", "rsub": "mine"})
    found = await core.verify(third["accessToken"]["token"])
    assert found["session"]["userDataInJWT"] == {"tId": "mine", "rsub": "mine"}
    assert found["session"]["tenantId"] == "public"
    assert claims_of(third["accessToken"]["token"])["tId"] == "mine"


async def test_a_refresh_into_a_version_where_a_claim_is_ours_is_unauthorised_and_names_it(core):
    for cdi, claim in (("2.20", "sub"), ("2.21", "tId"), ("3.1", "rsub")):
        created = await core.create(cdi, userDataInJWT={claim: "mine"})
        refused = await core.refresh(created["refreshToken"]["token"], "5.4")
        assert refused == {"status": "UNAUTHORISED", "message": "The user payload contains protected field"}
        assert (await core.refresh(created["refreshToken"]["token"], cdi))["status"] == "OK"


async def test_a_payload_update_is_held_to_the_requests_version(core):
    handle = (await core.create())["session"]["handle"]
    body = {"sessionHandle": handle, "userDataInJWT": {"rsub": "mine"}}
    assert (await core.ask("PUT", "/recipe/jwt/data", body, cdi="5.4")).status_code == 400
    assert await core.put("/recipe/jwt/data", body, cdi="3.1") == {"status": "OK"}
    assert await core.put("/recipe/jwt/data", {**body, "userDataInJWT": {"sub": 1}}, cdi="2.20") == {"status": "OK"}


async def test_a_verify_that_would_have_to_mint_a_claim_of_ours_is_a_400(core):
    created = await core.create()
    body = {"sessionHandle": created["session"]["handle"], "userDataInJWT": {"rsub": "mine"}}
    await core.put("/recipe/jwt/data", body, cdi="3.1")
    check = {"accessToken": created["accessToken"]["token"], "doAntiCsrfCheck": False, "enableAntiCsrf": False}
    refused = await core.ask("POST", "/recipe/session/verify", {**check, "checkDatabase": True})
    assert (refused.status_code, refused.text) == (400, "The user payload contains protected field\n")


# Keys: dynamic or static


def kind(answer):
    return header_of(answer["accessToken"]["token"])["kid"][:2]


@pytest.mark.parametrize("cdi", WITH_KIDS)
async def test_the_kind_of_key_is_chosen_at_create_and_kept(core, cdi):
    created = await core.create(cdi, useDynamicSigningKey=False)
    assert kind(created) == "s-"
    body = {"refreshToken": created["refreshToken"]["token"], "enableAntiCsrf": False}
    if cdi in ("5.0", "5.4", "5.5"):
        body["useDynamicSigningKey"] = False
    refreshed = await core.post("/recipe/session/refresh", body, cdi=cdi)
    assert kind(refreshed) == "s-"
    assert kind(await core.verify(refreshed["accessToken"]["token"], cdi)) == "s-"
    changed = {"accessToken": refreshed["accessToken"]["token"], "userDataInJWT": {"a": 1}}
    assert kind(await core.post("/recipe/session/regenerate", changed, cdi=cdi)) == "s-"
    again = await core.post(
        "/recipe/session/refresh", {**body, "refreshToken": refreshed["refreshToken"]["token"]}, cdi=cdi
    )
    assert kind(again) == "s-"


async def test_a_refresh_may_change_the_kind_of_key_from_3_0_on(core):
    for cdi, expected in (("2.21", "d-"), ("3.0", "s-"), ("5.4", "s-"), (NEWEST, "s-")):
        created = await core.create(cdi)
        refreshed = await core.refresh(created["refreshToken"]["token"], cdi, useDynamicSigningKey=False)
        assert kind(refreshed) == expected


async def test_the_validity_of_an_access_token_may_be_asked_for_from_5_6_on(core):
    created = await core.create(NEWEST, accessTokenValidity=5000)
    assert created["accessToken"]["expiry"] - created["accessToken"]["createdTime"] == 5000
    refreshed = await core.refresh(created["refreshToken"]["token"], NEWEST, accessTokenValidity=7000)
    assert refreshed["accessToken"]["expiry"] - refreshed["accessToken"]["createdTime"] == 7000
    usual = await core.create("5.5", accessTokenValidity=5000)
    assert usual["accessToken"]["expiry"] - usual["accessToken"]["createdTime"] == 3_600_000
    for wrong in (0, -1, 3_600_001):
        body = {"userId": "u", "userDataInJWT": {}, "userDataInDatabase": {}, "enableAntiCsrf": False}
        assert (
            await core.ask("POST", "/recipe/session", {**body, "accessTokenValidity": wrong}, cdi=None)
        ).status_code == 400


async def test_access_tokens_live_a_little_shorter_at_random_but_no_verification_shortens_them():
    core = Core(access_token_validity_jitter=0.25)
    created = [await core.create() for _ in range(20)]
    lives = {each["accessToken"]["expiry"] - each["accessToken"]["createdTime"] for each in created}
    assert len(lives) > 10
    assert min(lives) >= 2_700_000 - 1000
    assert max(lives) <= 3_600_000
    refreshed = await core.refresh(created[0]["refreshToken"]["token"])
    replaced = (await core.verify(refreshed["accessToken"]["token"]))["accessToken"]
    assert replaced["expiry"] - replaced["createdTime"] == 3_600_000
