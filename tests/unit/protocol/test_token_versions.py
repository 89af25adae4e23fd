"""Access tokens of the versions before today's: their exact form, and that each opens as itself alone."""

import json
from base64 import b64decode

import pytest

from tallystick.errors import TryRefreshToken
from tallystick.protocol.access_token import AccessToken, UnknownKey
from tallystick.protocol.encoding import hash_again, hash_token
from tallystick.protocol.keyring import Schedule, is_genuine_kid, mint_key_row
from tallystick.protocol.rotation import is_of_line
from tallystick.protocol.token_versions import (
    V1,
    V2,
    V3,
    V4,
    V5,
    check_unexpired,
    encode_plain_header,
    open_any_access_token,
    sign_jwt,
    tenant_of,
)
from tallystick.testing import START
from tallystick.testing.contract.rows import make_session
from tests.unit.workshop import DAY, FOREIGN, HOUR, decode, encode, keys_of, make_row, open_rows, private_key, sign

VERSIONS = (V1, V2, V3, V4, V5)
ROWS = [make_row(1, START, "RS256")]
RING = open_rows(ROWS, algorithm="RS256")
KEY = RING.keys[0]
SECRETS = [keys_of()]
TOKEN = AccessToken(
    "5f2b1c9e-0000-4000-8000-000000000001_t1",
    "u1",
    "t1",
    START,
    START + HOUR,
    "a" * 64,
    "b" * 64,
    "anti",
    {"role": "admin", "none": None},
)


def open_(text, ring=RING, now=START):
    return open_any_access_token(text, ring, SECRETS, now)


def refuse(text, ring=RING, now=START):
    with pytest.raises(TryRefreshToken) as refused:
        open_(text, ring, now)
    return refused.value.reason


def with_header(version=None, kid=KEY.kid, **more):
    return {"alg": "RS256", "kid": kid, "typ": "JWT"} | ({} if version is None else {"version": version}) | more


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.number}")
def test_what_is_minted_opens_to_the_same_and_names_its_version_and_key(version):
    opened = open_(version.mint(TOKEN, KEY))
    assert (opened.token, opened.version, opened.key) == (TOKEN, version, KEY)


@pytest.mark.parametrize(
    ("version", "header"),
    [
        (V1, "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsInZlcnNpb24iOiIxIn0="),
        (V2, "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsInZlcnNpb24iOiIyIn0="),
    ],
)
def test_the_oldest_headers_are_what_drivers_compare_with(version, header):
    first, second, signature = version.mint(TOKEN, KEY).split(".")
    assert first == header
    assert json.loads(b64decode(second, validate=True)) == {
        "sessionHandle": TOKEN.handle,
        "userId": "u1",
        "refreshTokenHash1": "a" * 64,
        "userData": {"role": "admin", "none": None},
        "expiryTime": START + HOUR,
        "timeCreated": START,
        "kid": KEY.kid,
        "parentRefreshTokenHash1": "b" * 64,
        "antiCsrfToken": "anti",
    }
    assert len(b64decode(signature, validate=True)) == 256


def test_the_oldest_versions_leave_out_what_is_not_set():
    bare = AccessToken("h", "u", "public", START, START + HOUR, "a" * 64, None, None, {})
    claims = json.loads(b64decode(V2.mint(bare, KEY).split(".")[1]))
    assert not claims.keys() & {"parentRefreshTokenHash1", "antiCsrfToken"}
    assert open_(V2.mint(bare, KEY)).token == bare


@pytest.mark.parametrize(("version", "left_out"), [(V3, {"tId", "rsub"}), (V4, {"rsub"}), (V5, set())])
def test_the_versions_with_key_ids_differ_in_their_claims(version, left_out):
    bare = AccessToken("h", "u", "public", START, START + HOUR, "a" * 64, None, None, {})
    header, payload, _ = version.mint(bare, KEY).split(".")
    assert decode(header) == with_header(str(version.number))
    assert decode(payload).keys() == set(V5.reserved) - left_out
    assert decode(payload)["antiCsrfToken"] is None


def test_the_protected_claims_are_the_documented_ones():
    assert [len(version.reserved) for version in VERSIONS] == [0, 0, 7, 8, 9]


@pytest.mark.parametrize("version", [V3, V4])
def test_a_name_that_a_version_leaves_to_the_app_is_the_apps(version):
    own = {"rsub": "mine"} if version is V4 else {"rsub": "mine", "tId": "mine"}
    token = AccessToken("h", "u", "public", START, START + HOUR, "a" * 64, None, None, own)
    assert open_(version.mint(token, KEY)).token == token


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.number}")
def test_a_changed_token_is_refused(version):
    text = version.mint(TOKEN, KEY)
    parts = text.split(".")
    for i in range(3):
        part = parts[i]
        for at in (0, len(part) // 2):
            changed = part[:at] + ("A" if part[at] != "A" else "B") + part[at + 1 :]
            assert refuse(".".join([*parts[:i], changed, *parts[i + 1 :]]))
    for wrong in ("", ".", "..", "a.b.c", "a.b", text + ".x", text[:-400], "é" * 3, "x" * 10_000):
        assert refuse(wrong)


def test_a_token_without_a_version_counts_as_the_newest_and_must_have_all_its_claims():
    opened = open_(sign_jwt(encode_plain_header(KEY), TOKEN.claims(), KEY))
    assert (opened.token, opened.version) == (TOKEN, V5)
    for name in V5.reserved:
        claims = {key: value for key, value in TOKEN.claims().items() if key != name}
        assert refuse(sign_jwt(encode_plain_header(KEY), claims, KEY)) == "malformed"


@pytest.mark.parametrize(
    "header",
    [
        with_header("1"),
        with_header("2"),
        with_header("6"),
        with_header("05"),
        with_header(5),
        with_header("5", typ="at+jwt"),
        with_header("5", alg="none"),
        with_header("5", alg="HS256"),
        with_header("4", jku="https://evil"),
        with_header("3", kid=7),
        {"alg": "RS256", "typ": "JWT", "version": "3"},
        {"typ": "JWT", "alg": "RS256", "version": "4", "kid": KEY.kid},
        [],
        None,
        b"\xff",
    ],
)
def test_a_header_that_we_would_not_have_written_is_refused_though_it_is_rightly_signed(header):
    assert refuse(sign(header, TOKEN.claims(), KEY.signer)) == "malformed"


@pytest.mark.parametrize("change", [{"exp": "1"}, {"iat": 1.5}, {"sub": None}, {"tId": 1}, {"sessionHandle": []}])
def test_a_claim_of_another_type_is_refused(change):
    assert refuse(sign(with_header("4"), TOKEN.claims() | change, KEY.signer)) == "malformed"


@pytest.mark.parametrize("change", [{"userData": []}, {"expiryTime": None}, {"kid": 1}, {"userId": 1}])
def test_a_claim_of_another_type_is_refused_in_the_oldest_versions(change):
    header, payload, _ = V2.mint(TOKEN, KEY).split(".")
    claims = json.loads(b64decode(payload)) | change
    body = f"{header}.{encode(claims)}"
    assert refuse(f"{body}.{encode(KEY.signer.sign(body.encode()))}") == "malformed"


@pytest.mark.parametrize("version", [V1, V3, V4, V5], ids=lambda version: f"v{version.number}")
def test_a_key_that_another_process_has_made_is_asked_for_and_a_strangers_is_not(version):
    newer = open_rows([*ROWS, make_row(2, START + HOUR, "RS256")], algorithm="RS256", now=START + HOUR)
    text = version.mint(TOKEN, newer.keys[0])
    assert open_(text) == UnknownKey(newer.keys[0].kid)
    foreign = open_rows([make_row(1, START, "RS256", keys_of(FOREIGN))], algorithm="RS256", secrets=[keys_of(FOREIGN)])
    assert refuse(version.mint(TOKEN, foreign.keys[0])) == "unknown_key"


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"v{version.number}")
def test_a_key_that_is_retired_verifies_nothing(version):
    assert refuse(version.mint(TOKEN, KEY), now=START + 8 * DAY) == "unknown_key"


def test_a_token_lives_through_the_whole_of_its_last_instant():
    check_unexpired(TOKEN, TOKEN.expires_at)
    with pytest.raises(TryRefreshToken):
        check_unexpired(TOKEN, TOKEN.expires_at + 1)


@pytest.mark.parametrize(("handle", "tenant"), [("uuid", "public"), ("uuid_t1", "t1"), ("", "public"), ("_", "public")])
def test_a_handle_names_its_tenant(handle, tenant):
    assert tenant_of(handle) == tenant


# Static keys


def make_static(sequence=2):
    return mint_key_row(
        private_key("RS256", sequence),
        secret=keys_of(),
        app_id="public",
        algorithm="RS256",
        sequence=sequence,
        now=START,
        nonce=b"n" * 12,
        is_static=True,
    )


def test_a_static_key_signs_nothing_unless_it_is_asked_for_and_never_falls_due_or_retires():
    ring = open_rows([make_static(2), *ROWS], algorithm="RS256")
    static = ring.static_key
    assert static.kid.startswith("s-")
    assert ring.signing_key(START) is ring.newest_dynamic is ring.keys[1]
    far = START + 1000 * DAY
    assert ring.find(static.header, far) is static
    assert [key["kid"] for key in ring.jwks(START)["keys"]] == [KEY.kid, static.kid]
    assert [key["kid"] for key in ring.jwks(far)["keys"]] == [static.kid]
    assert ring.next_retirement(START) == START + ring.schedule.lifetime
    alone = open_rows([make_static(2)], algorithm="RS256")
    assert alone.is_due(START)
    assert alone.signing_key(START) is None


def test_a_static_keys_id_is_genuine_for_ever_and_no_rotating_keys_is_taken_for_one():
    schedule, kid = Schedule(7 * DAY, HOUR), make_static().kid
    assert is_genuine_kid(kid, SECRETS, schedule, START + 10_000 * DAY)
    assert not is_genuine_kid("d" + kid[1:], SECRETS, schedule, START)
    assert not is_genuine_kid("s" + KEY.kid[1:], SECRETS, schedule, START)


# Of a session's line


def test_a_token_is_of_the_line_by_its_hashes_or_by_its_age():
    line, previous, other = (hash_token(name) for name in ("line", "previous", "other"))
    row = make_session(line=hash_again(line), previous=hash_again(previous), refreshed_at=START + 1500)
    for hash1, parent, created_at, expected in (
        (line, None, START, True),
        (previous, None, START, True),
        (other, line, START, True),
        (other, previous, START, True),
        (other, None, START + 1000, True),
        (other, None, START + 999, False),
        (other, other, START, False),
    ):
        assert is_of_line(row, hash1, parent, created_at) is expected
