"""What is checked of a request before an endpoint is reached, and how its input is read (spec/cdi.md 1.1 to 1.5)."""

import logging

import pytest

from tallystick import GeneralError
from tallystick.service.routing import ENDPOINTS
from tests.service.cores import NEWEST, Core, claims_of

KEY = "a-Key=of-20-characters"
OTHER = "another-key-that-is-as-good"
LISTING = "/recipe/session/user?userId=u"


async def test_text_is_sent_as_html_with_a_line_end_and_json_as_json(core):
    refused = await core.ask("GET", "/nothing")
    assert (refused.status_code, refused.content) == (404, b"Not found\n")
    assert refused.headers["content-type"] == "text/html; charset=UTF-8"
    found = await core.ask("GET", LISTING)
    assert found.content == b'{"status":"OK","sessionHandles":[]}\n'
    assert found.headers["content-length"] == str(len(found.content))


# API keys


@pytest.fixture
def locked():
    return Core(api_keys=(KEY, OTHER))


@pytest.mark.parametrize(
    "headers",
    [
        {"api-key": KEY},
        {"api-key": f"  {OTHER} "},
        {"authorization": KEY},
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bEARER   {OTHER}"},
        {"api-key": KEY, "authorization": "Bearer other"},
    ],
)
async def test_one_of_the_api_keys_opens(locked, headers):
    assert (await locked.http.get(LISTING, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"api-key": ""},
        {"api-key": KEY[:-1]},
        {"api-key": KEY.upper()},
        {"api-key": f"{KEY},{OTHER}"},
        {"authorization": f"Basic {KEY}"},
        {"api-key": "wrong", "authorization": KEY},
        {"api-key": b"\xff\xfe"},
    ],
)
async def test_anything_else_is_a_401_to_the_letter(locked, headers):
    refused = await locked.http.get(LISTING, headers=headers)
    assert (refused.status_code, refused.content) == (401, b"Invalid API key\n")


async def test_the_api_key_comes_before_the_version_the_method_and_the_tenant(locked):
    for method, path, headers in (
        ("GET", LISTING, {"cdi-version": "x"}),
        ("DELETE", LISTING, {}),
        ("GET", f"/t9{LISTING}", {}),
        ("POST", "/recipe/handshake", {}),
        ("POST", "/session", {}),
    ):
        assert (await locked.http.request(method, path, headers=headers)).status_code == 401, path


async def test_a_few_places_ask_for_no_api_key(locked):
    for path in ("/hello", "/", "/.well-known/jwks.json", "/config?pid=1"):
        assert (await locked.http.get(path)).status_code == 200, path
    assert (await locked.http.get("/nothing")).status_code == 404


async def test_addresses_may_be_let_in_or_kept_out():
    for settings, status in (
        ({"ip_allow_regex": r"127\.0\.0\.1"}, 200),
        ({"ip_allow_regex": r"127"}, 403),
        ({"ip_deny_regex": r"127\..*"}, 403),
        ({"ip_deny_regex": r"10\..*"}, 200),
    ):
        assert (await Core(**settings).ask("GET", LISTING)).status_code == status, settings


# Paths and methods


async def test_every_endpoint_is_found_with_all_prefixes_and_a_slash_at_its_end():
    core = Core(base_path="/base")
    find = core.app.endpoint_of
    for endpoint in ENDPOINTS:
        method = next(iter(endpoint.handlers))
        for path in (endpoint.path, endpoint.path.upper(), endpoint.path.rstrip("/") + "/"):
            assert find(method, f"/base{path}") == endpoint.path
        if endpoint.path != "/":
            for prefix in ("/appid-a1", "/t-1", "/appid-a1/t-1", "/APPID-A1/T-1"):
                assert find(method, f"/base{prefix}{endpoint.path}") == endpoint.path
        assert find(method, endpoint.path) is None, "outside of the base path"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/t1",
        "/t1/",
        "//recipe/session",
        "/recipe/recipe/session",
        "/config/recipe/session",
        "/a_b/recipe/session",
        "/appid-a_b/recipe/session",
        "/t1/appid-a1/recipe/session",
        "/recipe/session/verify/x",
        "/%2e%2e/recipe/session",
        "/t1%2frecipe%2fsession%00",
        "/'; DROP TABLE tallystick_sessions; --/recipe/session",
        "/recipe//session",
    ],
)
async def test_an_unknown_path_is_a_404(core, path):
    assert core.app.endpoint_of("GET", path) is None
    assert (await core.http.get("http://core" + path)).status_code == 404


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PATCH", "DELETE", "PUT", "PROPFIND"])
async def test_another_method_is_a_405(core, method):
    for path in ("/recipe/session/verify", "/apiversion", "/recipe/session/refresh", "/handshake"):
        refused = await core.http.request(method, path)
        assert refused.status_code == 405, path
        assert refused.text == ("" if method == "HEAD" else "Method not supported\n")


async def test_hello_greets_whoever_asks_and_tells_of_a_broken_store(core):
    for method in ("GET", "POST", "PUT", "DELETE"):
        for path in ("/hello", "/"):
            greeted = await core.http.request(method, path)
            assert (greeted.status_code, greeted.text) == (200, "Hello\n")
    break_store(core)
    assert (await core.http.get("/hello")).status_code == 503


async def test_small_endpoints(core):
    assert await core.get("/user/id", userId="u") == {"status": "UNKNOWN_USER_ID_ERROR"}
    assert await core.get("/telemetry") == {"exists": False}
    assert await core.get("/config", pid="1") == {"status": "NOT_ALLOWED"}
    assert await core.put("/ee/license", {"licenseKey": "x"}) == {"status": "OK"}
    assert (await core.ask("GET", "/user/id")).text == "Field name 'userId' is missing in GET request\n"
    stats = await core.get("/requests/stats")
    assert stats["status"] == "OK"
    assert len(stats["averageRequestsPerSecond"]) == len(stats["peakRequestsPerSecond"]) == 1440


# Bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"[{}]",
        b'{"a": NaN}',
        b"\xff\xfe{}",
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"[" * 100_000,
        b'{"a": 1}{"a": 1}',
    ],
)
async def test_what_is_no_json_object_is_refused(core, body):
    for path in ("/recipe/session", "/recipe/session/verify", "/recipe/session/refresh", "/session"):
        refused = await core.ask("POST", path, body, cdi=None)
        assert (refused.status_code, refused.text) == (400, "Invalid Json Input\n")


CREATE = {
    "userId": "u",
    "userDataInJWT": {},
    "userDataInDatabase": {},
    "enableAntiCsrf": False,
    "useDynamicSigningKey": True,
    "accessTokenValidity": 1000,
}
VERIFY = {
    "accessToken": "t",
    "doAntiCsrfCheck": False,
    "enableAntiCsrf": False,
    "antiCsrfToken": "a",
    "checkDatabase": False,
}
REFRESH = {
    "refreshToken": "t",
    "enableAntiCsrf": False,
    "antiCsrfToken": "a",
    "useDynamicSigningKey": True,
    "accessTokenValidity": 1000,
}
BODIES = [
    ("POST", "/recipe/session", CREATE, {"useDynamicSigningKey", "accessTokenValidity"}),
    ("POST", "/recipe/session/verify", VERIFY, {"antiCsrfToken"}),
    ("POST", "/recipe/session/refresh", REFRESH, {"antiCsrfToken", "accessTokenValidity"}),
    ("POST", "/recipe/session/regenerate", {"accessToken": "t", "userDataInJWT": {}}, {"userDataInJWT"}),
    ("PUT", "/recipe/session/data", {"sessionHandle": "h", "userDataInDatabase": {}}, set()),
    ("PUT", "/recipe/jwt/data", {"sessionHandle": "h", "userDataInJWT": {}}, set()),
    (
        "POST",
        "/recipe/jwt",
        {"algorithm": "RS256", "jwksDomain": "d", "payload": {}, "validity": 1, "useStaticSigningKey": True},
        {"useStaticSigningKey"},
    ),
    ("POST", "/user/remove", {"userId": "u"}, set()),
]
WRONG = {
    str: [None, 1, True, [], {}, ["x"], {"a": "b"}],
    bool: [None, "true", [], {}, [True]],
    dict: [None, 1, "{}", [], True],
    int: [None, "x", [], {}, True],
}


@pytest.mark.parametrize(("method", "path", "body", "optional"), BODIES, ids=[path for _, path, _, _ in BODIES])
async def test_each_field_is_refused_by_name_where_it_is_missing_or_of_another_type(core, method, path, body, optional):
    for name, right in body.items():
        said = f"Field name '{name}' is invalid in JSON input\n"
        for wrong in WRONG[type(right)]:
            refused = await core.ask(method, path, {**body, name: wrong}, cdi=NEWEST)
            assert (refused.status_code, refused.text) == (400, said), wrong
        without = await core.ask(method, path, {key: value for key, value in body.items() if key != name}, cdi=NEWEST)
        assert (without.text == said) is (name not in optional)
    # Only what was whole, or lacked something optional, has begun a session.
    assert core.events["session_created"] == (len(optional) if path == "/recipe/session" else 0)


async def test_a_number_for_a_boolean_is_read_as_false_and_unknown_fields_are_passed_over(core):
    created = await core.create(enableAntiCsrf=1, somethingElse=[1])
    assert "antiCsrfToken" not in created


async def test_a_removal_takes_a_user_or_handles_and_not_both(core):
    wrong = [
        {},
        {"userId": "u", "sessionHandles": []},
        {"sessionHandles": "h"},
        {"sessionHandles": [1]},
        {"sessionHandles": None},
        {"userId": None},
        {"userId": "u", "revokeAcrossAllTenants": "true"},
        {"sessionHandles": [], "revokeAcrossAllTenants": True},
        {"sessionHandles": [], "revokeSessionsForLinkedAccounts": False},
    ]
    for body in wrong:
        assert (await core.ask("POST", "/recipe/session/remove", body)).status_code == 400, body
    assert await core.remove() == {"status": "OK", "sessionHandlesRevoked": []}


@pytest.mark.parametrize(
    "handle",
    ["", "no", "' OR 1=1 --", "../../etc/passwd", "x" * 10_000, "a\0b", "\u202e", "%00", "h_t9", "{}", "*"],
)
async def test_any_text_is_a_handle_that_is_not_there(core, handle):
    kept = (await core.create())["session"]["handle"]
    gone = {"status": "UNAUTHORISED", "message": "there is no such session, or it is over"}
    for path in ("/recipe/session", "/recipe/session/data", "/recipe/jwt/data"):
        assert await core.get(path, sessionHandle=handle) == gone
    assert await core.put("/recipe/session/data", {"sessionHandle": handle, "userDataInDatabase": {}}) == gone
    assert await core.put("/recipe/jwt/data", {"sessionHandle": handle, "userDataInJWT": {}}) == gone
    assert (await core.remove(handle))["sessionHandlesRevoked"] == []
    assert (await core.get("/recipe/session/user", userId="u1"))["sessionHandles"] == [kept]


@pytest.mark.parametrize("user", ["", "x" * 129, "a\0b", "' OR 'a'='a"])
async def test_any_text_is_a_user_who_has_no_sessions(core, user):
    await core.create()
    assert (await core.get("/recipe/session/user", userId=user))["sessionHandles"] == []
    assert (await core.post("/recipe/session/remove", {"userId": user}))["sessionHandlesRevoked"] == []
    assert await core.post("/user/remove", {"userId": user}) == {"status": "OK"}
    assert len((await core.get("/recipe/session/user", userId="u1"))["sessionHandles"]) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"userId": ""},
        {"userId": "x" * 129},
        {"userId": "a\0b"},
        {"userDataInJWT": {"a": 2**70}},
        {"userDataInJWT": {"a": "x" * 5000}},
        {"userDataInDatabase": {"a": "x" * 70_000}},
    ],
)
async def test_what_a_session_cannot_hold_is_a_400_that_says_so_and_begins_none(core, changes):
    refused = await core.ask("POST", "/recipe/session", {**CREATE, **changes})
    assert refused.status_code == 400
    assert len(refused.text) > 20
    assert "session_created" not in core.events


async def test_a_body_that_is_too_large_is_a_413(core):
    assert (await core.ask("POST", "/recipe/session", b" " * (10 * 1024 * 1024))).status_code == 413


async def test_a_query_with_very_many_fields_is_a_400(core):
    assert (await core.ask("GET", LISTING + "&a=1" * 200)).status_code == 400


async def test_nothing_of_a_request_becomes_markup(core):
    refused = await core.ask("PUT", "/recipe/multitenancy/app/v2", {"appId": "a", "coreConfig": {"<b>x</b>": 1}})
    assert "<b>" not in refused.text


# Tokens that are none


def broken_tokens(token):
    header, payload, signature = token.split(".")
    return [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        "x" * 100_000,
        "\u00e9",
        header,
        f"{header}.{payload}",
        f"{header}.{payload}.",
        f"{header}..{signature}",
        f".{payload}.{signature}",
        f"{header}.{payload}.{signature}=",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        f"{header}.{signature}.{payload}",
        f"{header[:-1]}.{payload}.{signature}",
        f" {token}",
        token.swapcase(),
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.e30.",
    ]


@pytest.mark.parametrize("cdi", ["2.7", "2.21", "3.0", "5.4"])
async def test_a_broken_access_token_of_any_version_asks_for_a_refresh(core, cdi):
    token = (await core.create(cdi))["accessToken"]["token"]
    for broken in broken_tokens(token):
        for spoken in (cdi, NEWEST):
            assert (await core.verify(broken, spoken))["status"] == "TRY_REFRESH_TOKEN", broken[:80]
    assert (await core.verify(token, cdi))["status"] == "OK"


async def test_an_access_token_of_one_version_is_not_taken_for_one_of_another(core):
    """The header says which claims are the app's own, so it is signed with the rest."""
    third = (await core.create("2.21", userDataInJWT={"tId": "x", "rsub": "y"}))["accessToken"]["token"]
    fifth = (await core.create())["accessToken"]["token"]
    mixed = ".".join((fifth.split(".")[0], *third.split(".")[1:]))
    assert (await core.verify(mixed))["status"] == "TRY_REFRESH_TOKEN"


async def test_a_broken_refresh_token_is_unauthorised_and_ends_nothing(core):
    created = await core.create()
    token = created["refreshToken"]["token"]
    for broken in (
        "",
        "x",
        "a.b.V2",
        token[:-3],
        token + "x",
        token.replace(".T1", ".V2"),
        "x" * 100_000,
        "é",
        token.lower(),
    ):
        assert (await core.refresh(broken))["status"] == "UNAUTHORISED"
    assert (await core.refresh(token))["status"] == "OK"


# A store that is broken


def break_store(core, error=None):
    async def fail(*_args):
        raise error or ConnectionError("password=hunter2")

    for name in dir(core.store):
        if not name.startswith("_") and name not in ("open", "close"):
            setattr(core.store, name, fail)


async def test_a_broken_store_is_a_503_that_may_be_tried_again_and_never_unauthorised(core):
    created = await core.create()
    refresh = {"refreshToken": created["refreshToken"]["token"], "enableAntiCsrf": False, "useDynamicSigningKey": True}
    break_store(core)
    for method, path, body in (
        ("POST", "/recipe/session", CREATE),
        ("POST", "/recipe/session/refresh", refresh),
        ("GET", "/recipe/session?sessionHandle=h", None),
        ("POST", "/recipe/session/remove", {"sessionHandles": ["h"]}),
        ("GET", "/appid-x/telemetry", None),
        ("PUT", "/recipe/multitenancy/app/v2", {"appId": "x"}),
    ):
        failed = await core.ask(method, path, body)
        assert (failed.status_code, failed.headers["retry-after"]) == (503, "1"), path
        assert "hunter2" not in failed.text
    assert core.events["store_error"] == 6
    assert (await core.verify(created["accessToken"]["token"]))["status"] == "OK"


async def test_what_is_broken_for_good_is_a_500_that_tells_no_secret(core, caplog):
    break_store(core, GeneralError("none of the signing keys opens", reason="wrong_secret"))
    failed = await core.ask("POST", "/recipe/session/remove", {"sessionHandles": ["h"]})
    assert (failed.status_code, failed.text) == (500, "none of the signing keys opens\n")


async def test_nothing_that_is_secret_is_logged(core, caplog):
    caplog.set_level(logging.DEBUG)
    created = await core.create(userDataInJWT={"private": "claim"}, userDataInDatabase={"private": "data"})
    child = await core.refresh(created["refreshToken"]["token"])
    await core.verify(child["accessToken"]["token"])
    await core.refresh(created["refreshToken"]["token"])
    await core.verify("bro.ken.token")
    break_store(core)
    await core.ask("POST", "/recipe/session", {**CREATE, "userId": "private-user"})
    secrets = [created["refreshToken"]["token"], child["accessToken"]["token"], "private", "bro.ken"]
    assert "token theft detected" in caplog.text
    for secret in secrets:
        assert secret not in caplog.text
    assert claims_of(child["accessToken"]["token"])["refreshTokenHash1"] not in caplog.text
