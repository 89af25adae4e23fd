"""The first interface, as drivers of 2019 and 2020 spoke it (spec/cdi-1.0.md)."""

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.service.cores import Core, claims_of

DRIVER = {"deviceDriverInfo": {"frontendSDK": [{"name": "website", "version": "1"}], "driver": {"name": "node"}}}
V1 = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsInZlcnNpb24iOiIxIn0="
V2 = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsInZlcnNpb24iOiIyIn0="
COOKIE = {"token", "expiry", "createdTime", "domain", "cookiePath", "cookieSecure", "sameSite"}
SETTINGS = {
    "enable_anti_csrf": True,
    "cookie_domain": "example.com",
    "cookie_secure": True,
    "cookie_same_site": "strict",
    "access_token_path": "/a",
    "refresh_api_path": "/a/refresh",
    "refresh_token_rotation_grace_period": 0,
}


@pytest.fixture(params=[None, "2.0", "2.3"], ids=["1.0", "2.0", "2.3"])
def cdi(request):
    return request.param


@pytest.fixture
def classic():
    return Core(**SETTINGS)


async def create(core, cdi):
    return await core.post(
        "/session", {"userId": "u", "userDataInJWT": {"a": 1}, "userDataInDatabase": {}, **DRIVER}, cdi=cdi
    )


def verify_as_the_driver(token, public_key, header):
    """Alone, with the key it was told."""
    first, second, signature = token.split(".")
    assert first == header
    key = load_der_public_key(b64decode(public_key))
    key.verify(b64decode(signature, validate=True), f"{first}.{second}".encode(), PKCS1v15(), SHA256())
    b64decode(second, validate=True)


async def test_the_story_of_a_session(classic, cdi):
    created = await create(classic, cdi)
    assert created["session"] == {"handle": created["session"]["handle"], "userId": "u", "userDataInJWT": {"a": 1}}
    for name in ("accessToken", "refreshToken", "idRefreshToken"):
        assert created[name].keys() == COOKIE
    assert created["accessToken"]["cookiePath"] == created["idRefreshToken"]["cookiePath"] == "/a"
    assert created["refreshToken"]["cookiePath"] == "/a/refresh"
    token = created["accessToken"]["token"]
    verify_as_the_driver(token, created["jwtSigningPublicKey"], V1 if cdi is None else V2)
    claims = claims_of(token)
    assert claims["userData"] == {"a": 1}
    assert claims["antiCsrfToken"] == created["antiCsrfToken"]
    assert claims["expiryTime"] - claims["timeCreated"] == 3_600_000
    assert "parentRefreshTokenHash1" not in claims
    check = {"accessToken": token, "antiCsrfToken": created["antiCsrfToken"], "doAntiCsrfCheck": True, **DRIVER}
    found = await classic.post("/session/verify", check, cdi=cdi)
    assert found.keys() == {"status", "session", "jwtSigningPublicKey", "jwtSigningPublicKeyExpiryTime"}
    refreshing = {"refreshToken": created["refreshToken"]["token"], **DRIVER}
    if cdi == "2.3":
        refused = await classic.post("/session/refresh", refreshing, cdi=cdi)
        assert refused["status"] == "UNAUTHORISED"
        refreshing["antiCsrfToken"] = created["antiCsrfToken"]
    refreshed = await classic.post("/session/refresh", refreshing, cdi=cdi)
    assert "jwtSigningPublicKey" not in refreshed
    first_use = {**check, "accessToken": refreshed["accessToken"]["token"], "antiCsrfToken": refreshed["antiCsrfToken"]}
    used = await classic.post("/session/verify", first_use, cdi=cdi)
    assert used["accessToken"].keys() == COOKIE
    assert "parentRefreshTokenHash1" not in claims_of(used["accessToken"]["token"])
    theft = await classic.post("/session/refresh", refreshing, cdi=cdi)
    assert theft["status"] == "TOKEN_THEFT_DETECTED"
    assert theft["session"]["handle"] == created["session"]["handle"]


async def test_an_anti_csrf_token_is_asked_for_where_the_call_says_so(classic, cdi):
    token = (await create(classic, cdi))["accessToken"]["token"]
    for fields, status in (({}, "TRY_REFRESH_TOKEN"), ({"antiCsrfToken": "x"}, "TRY_REFRESH_TOKEN")):
        body = {"accessToken": token, "doAntiCsrfCheck": True, **fields}
        assert (await classic.post("/session/verify", body, cdi=cdi))["status"] == status
    body = {"accessToken": token, "doAntiCsrfCheck": False}
    assert (await classic.post("/session/verify", body, cdi=cdi))["status"] == "OK"


async def test_a_handshake_tells_of_the_settings_and_of_the_key(classic, cdi):
    shaken = await classic.post("/handshake", DRIVER, cdi=cdi)
    key, expiry = shaken.pop("jwtSigningPublicKey"), shaken.pop("jwtSigningPublicKeyExpiryTime")
    assert load_der_public_key(b64decode(key)).key_size == 2048
    assert expiry == classic.clock.now + 168 * 3_600_000
    assert shaken == {
        "status": "OK",
        "cookieDomain": "example.com",
        "cookieSecure": True,
        "cookieSameSite": "strict",
        "accessTokenPath": "/a",
        "refreshTokenPath": "/a/refresh",
        "idRefreshTokenPath": "/a",
        "enableAntiCsrf": True,
        "accessTokenBlacklistingEnabled": False,
        "sessionExpiredStatusCode": 440,
    }


async def test_data_and_payload_are_read_and_written(classic, cdi):
    created = await create(classic, cdi)
    handle = created["session"]["handle"]
    body = {"sessionHandle": handle, "userDataInDatabase": {"cart": [1]}}
    assert await classic.put("/session/data", body, cdi=cdi) == {"status": "OK"}
    found = await classic.get("/session/data", cdi=cdi, sessionHandle=handle)
    assert found == {"status": "OK", "userDataInDatabase": {"cart": [1]}}
    body = {"accessToken": created["accessToken"]["token"], "userDataInJWT": {"b": 2}}
    changed = await classic.post("/session/regenerate", body, cdi=cdi)
    assert claims_of(changed["accessToken"]["token"])["userData"] == {"b": 2}
    assert (await classic.get("/jwt/data", cdi=cdi, sessionHandle=handle))["userDataInJWT"] == {"b": 2}
    assert (await classic.get("/session/user", cdi=cdi, userId="u"))["sessionHandles"] == [handle]


async def test_sessions_are_ended_by_handle_and_by_user(classic, cdi):
    handles = [(await create(classic, cdi))["session"]["handle"] for _ in range(3)]
    for body, count in (({"sessionHandle": handles[0]}, 1), ({"sessionHandle": handles[0]}, 0), ({"userId": "u"}, 2)):
        ended = (await classic.ask("DELETE", "/session", body, cdi=cdi)).json()
        assert ended == {"status": "OK", "numberOfSessionsRevoked": count}
    handle = (await create(classic, cdi))["session"]["handle"]
    removed = await classic.post("/session/remove", {"sessionHandles": [handle, "no"]}, cdi=cdi)
    assert removed == {"status": "OK", "sessionHandlesRevoked": [handle]}
    for body in ({}, {"userId": "u", "sessionHandle": "h"}, {"userId": None}, {"sessionHandle": 1}):
        assert (await classic.ask("DELETE", "/session", body, cdi=cdi)).status_code == 400


async def test_without_a_domain_the_field_is_left_out_and_without_anti_csrf_so_is_that_token(core, cdi):
    created = await create(core, cdi)
    assert "domain" not in created["accessToken"]
    assert "antiCsrfToken" not in created
    assert "cookieDomain" not in await core.post("/handshake", {}, cdi=cdi)


async def test_later_versions_have_no_such_paths(core):
    for cdi in ("2.7", "5.4"):
        assert (await core.ask("POST", "/session", {}, cdi=cdi)).status_code == 404
    assert (await core.ask("POST", "/session", {}, cdi="9.9")).status_code == 400


async def test_a_session_of_an_old_driver_goes_on_with_a_new_one(core):
    created = await create(core, None)
    assert (await core.verify(created["accessToken"]["token"]))["session"]["userDataInJWT"] == {"a": 1}
    refreshed = await core.refresh(created["refreshToken"]["token"], "5.4")
    assert claims_of(refreshed["accessToken"]["token"])["rsub"] == "u"
