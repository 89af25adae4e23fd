"""The endpoints of sessions, in the words of today's SDKs (CDI 5.4)."""

from tests.service.cores import claims_of, header_of

NINE = [
    "sub",
    "exp",
    "iat",
    "tId",
    "rsub",
    "sessionHandle",
    "refreshTokenHash1",
    "parentRefreshTokenHash1",
    "antiCsrfToken",
]


async def test_a_session_is_created_verified_refreshed_and_removed(core):
    created = await core.create(userDataInJWT={"iss": "http://api/auth"}, userDataInDatabase={"cart": []})
    handle = created["session"]["handle"]
    assert created["status"] == "OK"
    assert set(created) == {"status", "session", "accessToken", "refreshToken"}
    assert created["session"] == {
        "handle": handle,
        "userId": "u1",
        "recipeUserId": "u1",
        "userDataInJWT": {"iss": "http://api/auth"},
        "tenantId": "public",
    }
    assert await core.verify(created["accessToken"]["token"]) == {"status": "OK", "session": created["session"]}
    refreshed = await core.refresh(created["refreshToken"]["token"])
    assert refreshed["session"] == created["session"]
    used = await core.verify(refreshed["accessToken"]["token"])
    assert set(used) == {"status", "session", "accessToken"}
    again = await core.refresh(created["refreshToken"]["token"])
    assert again == {
        "status": "TOKEN_THEFT_DETECTED",
        "session": {"handle": handle, "userId": "u1", "recipeUserId": "u1"},
    }
    assert await core.remove(handle) == {"status": "OK", "sessionHandlesRevoked": []}
    assert core.events == {
        "session_created": 1,
        "session_verified": 2,
        "session_refreshed": 1,
        "token_theft": 1,
        "session_revoked": 1,
    }


async def test_an_access_token_of_today_has_nine_claims_of_ours_and_a_version_in_its_header(core):
    token = (await core.create())["accessToken"]["token"]
    assert list(claims_of(token)) == NINE
    assert header_of(token)["version"] == "5"
    assert header_of(token)["kid"].startswith("d-")


async def test_the_times_of_tokens_are_those_in_them(core):
    created = await core.create()
    access, claims = created["accessToken"], claims_of(created["accessToken"]["token"])
    assert (access["expiry"], access["createdTime"]) == (claims["exp"] * 1000, claims["iat"] * 1000)
    assert access["expiry"] - access["createdTime"] == 3_600_000
    assert created["refreshToken"]["expiry"] - created["refreshToken"]["createdTime"] == 100 * 86_400_000
