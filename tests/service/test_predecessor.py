"""Taking over from another core: its access tokens are accepted until they expire, and nothing else of it."""

import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from tallystick import GeneralError
from tallystick.protocol.encoding import encode_base64url
from tests.service.cores import NEWEST, Core
from tests.unit.workshop import private_key

KEY = load_der_private_key(private_key("RS256", 77), None)
KID = "d-1699990000000"


def make_jwks(**changes):
    numbers = KEY.public_key().public_numbers()
    key = {
        "kty": "RSA",
        "kid": KID,
        "n": encode_base64url(numbers.n.to_bytes(256)),
        "e": "AQAB",
        "alg": "RS256",
        "use": "sig",
        "x5c": ["something else"],
    }
    return {"keys": [key | changes]}


def make_token(core, version="5", key=KEY, kid=KID, **changes):
    now = core.clock.now // 1000
    claims = {
        "iat": now,
        "exp": now + 3600,
        "sub": "u9",
        "tId": "public",
        "rsub": "u9",
        "sessionHandle": "theirs",
        "refreshTokenHash1": "a" * 64,
        "parentRefreshTokenHash1": None,
        "antiCsrfToken": None,
        "iss": "https://api",
    }
    header = {"kid": kid, "typ": "JWT", "version": version}
    return jwt.encode(claims | changes, key, "RS256", headers={name: value for name, value in header.items() if value})


@pytest.fixture
async def heir(tmp_path):
    """A core that has taken over."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(make_jwks()))
    made = Core(former_core_jwks=str(file))
    await made.app.open()
    yield made
    await made.app.close()


@pytest.mark.parametrize("version", ["3", "4", "5"])
async def test_a_token_of_the_former_core_is_good_until_it_expires(heir, version):
    token = make_token(heir, version)
    for cdi in ("2.21", "5.4", NEWEST):
        found = await heir.verify(token, cdi)
        assert (found["status"], found["session"]["userId"]) == ("OK", "u9")
        assert found["session"]["userDataInJWT"]["iss"] == "https://api"
    heir.clock.advance(timedelta(hours=1, milliseconds=1))
    assert (await heir.verify(token))["status"] == "TRY_REFRESH_TOKEN"


async def test_a_token_that_awaits_its_first_use_is_good_as_it_is(heir):
    found = await heir.verify(make_token(heir, parentRefreshTokenHash1="b" * 64))
    assert found.keys() == {"status", "session"}


async def test_there_is_no_session_behind_it(heir):
    token = make_token(heir)
    assert (await heir.verify(token, checkDatabase=True))["status"] == "UNAUTHORISED"
    assert (await heir.post("/recipe/session/regenerate", {"accessToken": token}))["status"] == "UNAUTHORISED"
    assert (await heir.get("/recipe/session", sessionHandle="theirs"))["status"] == "UNAUTHORISED"
    assert (await heir.refresh("AAAA.bbbb.V2"))["status"] == "UNAUTHORISED"


async def test_the_former_keys_are_published_with_ours_so_that_sdks_verify_by_them(heir):
    keys = (await heir.get("/.well-known/jwks.json", cdi=None))["keys"]
    assert [key["kid"][:2] for key in keys[:2]] == ["d-", "s-"]
    (theirs,) = [key for key in keys if key["kid"] == KID]
    assert theirs.keys() == {"kty", "kid", "n", "e", "alg", "use"}
    jwt.decode(
        make_token(heir), jwt.PyJWK(theirs), algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False}
    )


async def test_it_is_the_public_apps_alone(heir):
    await heir.put("/recipe/multitenancy/app/v2", {"appId": "app1"})
    assert (await heir.verify(make_token(heir), prefix="/appid-app1"))["status"] == "TRY_REFRESH_TOKEN"
    keys = (await heir.get("/appid-app1/.well-known/jwks.json", cdi=None))["keys"]
    assert KID not in [key["kid"] for key in keys]


async def test_our_own_sessions_are_as_ever(heir):
    created = await heir.create()
    refreshed = await heir.refresh(created["refreshToken"]["token"])
    assert "accessToken" in await heir.verify(refreshed["accessToken"]["token"])


async def test_what_the_former_core_did_not_sign_is_refused(heir):
    other = load_der_private_key(private_key("RS256", 78), None)
    header, payload, signature = make_token(heir).split(".")
    refused = [
        make_token(heir, key=other),
        make_token(heir, kid="d-1"),
        make_token(heir, None),  # a plain JWT that it signed for the app, whatever the app had it say
        make_token(heir, "6"),
        make_token(heir, "2"),
        make_token(heir, sub=None),
        make_token(heir, exp="soon"),
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}.{payload[:-2]}.{signature}",
        jwt.encode({"sub": "u"}, None, "none", headers={"kid": KID}),
        "x" * 5000,
    ]
    for token in refused:
        assert (await heir.verify(token))["status"] == "TRY_REFRESH_TOKEN", token[:60]


async def test_without_the_setting_the_tokens_of_others_are_refused(core):
    assert (await core.verify(make_token(core)))["status"] == "TRY_REFRESH_TOKEN"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys": 1}',
        '{"keys": []}',
        '{"keys": [{}]}',
        json.dumps(make_jwks(kty="EC")),
        json.dumps(make_jwks(n="AQAB")),
        json.dumps(make_jwks(n="!")),
        json.dumps(make_jwks(e="")),
        "[" * 100_000,
    ],
)
async def test_a_file_that_is_no_key_set_is_refused_at_the_start_by_name(tmp_path, text):
    file = tmp_path / "jwks.json"
    file.write_text(text)
    with pytest.raises(GeneralError, match="former_core_jwks"):
        await Core(former_core_jwks=str(file)).app.open()


async def test_keys_of_other_kinds_are_passed_over(tmp_path):
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [{"kty": "oct", "kid": "theirs"}, *make_jwks()["keys"]]}))
    core = Core(former_core_jwks=str(file))
    await core.app.open()
    assert (await core.verify(make_token(core)))["status"] == "OK"
    await core.app.close()


async def test_a_file_that_is_not_there_is_refused_at_the_start(tmp_path):
    with pytest.raises(GeneralError, match="FileNotFoundError"):
        await Core(former_core_jwks=str(tmp_path / "none")).app.open()


async def test_the_keys_are_read_from_where_the_former_core_publishes_them():
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(make_jwks()).encode())

        def log_message(self, *_args):
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        core = Core(former_core_jwks=f"http://127.0.0.1:{server.server_port}/.well-known/jwks.json")
        await core.app.open()
        server.shutdown()
    assert (await core.verify(make_token(core)))["status"] == "OK"
    await core.app.close()


async def test_a_former_core_that_is_gone_does_not_keep_the_service_from_starting():
    core = Core(former_core_jwks="http://127.0.0.1:9/.well-known/jwks.json")
    await core.app.open()
    assert (await core.create())["status"] == "OK"
    assert (await core.verify(make_token(core)))["status"] == "TRY_REFRESH_TOKEN"
    await core.app.close()
