"""Access tokens that are good: their form, their life, and that others can verify them."""

import re
from datetime import UTC, datetime

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import TryRefreshToken
from tallystick.protocol.access_token import (
    RESERVED_CLAIMS,
    AccessToken,
    UnknownKey,
    mint_access_token,
    open_access_token,
    open_expired_access_token,
    parse_access_token,
)
from tallystick.testing import START
from tests.unit.workshop import DAY, HOUR, decode, keys_of, make_row, open_rows

ALGORITHMS = ["RS256", "ES256", "EdDSA"]

TOKEN = AccessToken(
    handle="5f2b1c9e-0000-4000-8000-000000000001_t1",
    user_id="user-1",
    tenant_id="t1",
    created_at=START,
    expires_at=START + HOUR,
    refresh_hash1="a" * 64,
    parent_hash1="b" * 64,
    anti_csrf_token="c" * 24,
    jwt_payload={"role": "admin", "name": "łukasz 馬 / 马", "nested": {"a": [1, 2.5, None, True]}},
)
BARE = AccessToken("h", "u", "public", START, START + HOUR, "a" * 64, None, None, {})

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # "Cs": lone surrogates are no text
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
payloads = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(lambda name: name not in RESERVED_CLAIMS),
    json_values,
    max_size=4,
)


@pytest.fixture(params=ALGORITHMS)
def ring(request):
    return open_rows([make_row(algorithm=request.param)], algorithm=request.param)


def reopen(text, ring, now=START):
    return open_access_token(text, ring, [keys_of()], now)


@pytest.mark.parametrize("token", [TOKEN, BARE], ids=["everything", "bare"])
def test_what_is_minted_opens_to_the_same(ring, token):
    text = mint_access_token(token, ring.signing_key(START))
    assert reopen(text, ring) == token
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", text)


def test_the_header_is_version_5_with_the_key_id_and_nothing_else(ring):
    key = ring.signing_key(START)
    header = decode(mint_access_token(TOKEN, key).split(".")[0])
    assert header == {"alg": key.signer.algorithm, "kid": key.kid, "typ": "JWT", "version": "5"}
    assert key.kid.startswith("d-")


def test_the_claims_are_the_nine_of_version_5_in_their_order_and_then_the_apps(ring):
    claims = decode(mint_access_token(TOKEN, ring.signing_key(START)).split(".")[1])
    assert list(claims) == [*RESERVED_CLAIMS, "role", "name", "nested"]
    assert claims == {
        "sub": "user-1",
        "exp": (START + HOUR) // 1000,
        "iat": START // 1000,
        "tId": "t1",
        "rsub": "user-1",
        "sessionHandle": TOKEN.handle,
        "refreshTokenHash1": "a" * 64,
        "parentRefreshTokenHash1": "b" * 64,
        "antiCsrfToken": "c" * 24,
        **TOKEN.jwt_payload,
    }


def test_absent_marks_are_there_as_null(ring):
    claims = decode(mint_access_token(BARE, ring.signing_key(START)).split(".")[1])
    assert claims["parentRefreshTokenHash1"] is None
    assert claims["antiCsrfToken"] is None


def test_a_third_party_verifies_the_token_by_the_published_keys(ring):
    key = ring.signing_key(START)
    text = mint_access_token(TOKEN, key)
    published = jwt.PyJWKSet.from_dict(ring.jwks(START))
    found = published[jwt.get_unverified_header(text)["kid"]]
    claims = jwt.decode(text, found, algorithms=[key.signer.algorithm], options={"verify_exp": False})
    assert claims == TOKEN.claims()
    assert datetime.fromtimestamp(claims["exp"], UTC).year == 2023


def test_a_third_party_refuses_the_token_by_another_key_of_the_same_kind(ring):
    key = ring.signing_key(START)
    other = open_rows([make_row(2, algorithm=key.signer.algorithm)], algorithm=key.signer.algorithm)
    [found] = jwt.PyJWKSet.from_dict(other.jwks(START)).keys
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(mint_access_token(TOKEN, key), found, algorithms=[key.signer.algorithm])


def test_published_keys_hold_no_private_member(ring):
    [published] = ring.jwks(START)["keys"]
    assert set(published) <= {"kty", "kid", "alg", "use", "n", "e", "crv", "x", "y"}
    assert published["use"] == "sig"


@pytest.mark.parametrize(
    ("algorithm", "size"), [("RS256", 256), ("ES256", 64), ("EdDSA", 64)], ids=["RS256", "ES256", "EdDSA"]
)
def test_each_signature_has_its_algorithms_length(algorithm, size):
    ring = open_rows([make_row(algorithm=algorithm)], algorithm=algorithm)
    signature = mint_access_token(TOKEN, ring.signing_key(START)).split(".")[2]
    assert len(signature) == -(-size * 4 // 3)


# Its life


def test_a_token_lives_through_the_very_instant_of_its_expiry_and_not_a_millisecond_longer(ring):
    text = mint_access_token(TOKEN, ring.signing_key(START))
    assert reopen(text, ring, TOKEN.expires_at - 1) == TOKEN
    assert reopen(text, ring, TOKEN.expires_at) == TOKEN
    with pytest.raises(TryRefreshToken) as refused:
        reopen(text, ring, TOKEN.expires_at + 1)
    assert refused.value.reason == "expired"


def test_an_expired_token_still_opens_where_its_expiry_is_not_asked(ring):
    text = mint_access_token(TOKEN, ring.signing_key(START))
    assert open_expired_access_token(text, ring, [keys_of()], TOKEN.expires_at + DAY) == TOKEN


def test_a_token_of_a_server_whose_clock_is_ahead_is_good(ring):
    text = mint_access_token(TOKEN, ring.signing_key(START))
    assert reopen(text, ring, START - 60_000) == TOKEN


def test_the_last_token_that_a_key_signs_outlives_neither_the_key_nor_its_publication(ring):
    key = ring.keys[0]
    last_signature = START + ring.schedule.interval - 1
    assert ring.signing_key(last_signature) is key
    text = mint_access_token(TOKEN, key)
    expiry = last_signature + ring.schedule.token_validity
    assert isinstance(open_expired_access_token(text, ring, [keys_of()], expiry), AccessToken)
    assert ring.jwks(expiry)["keys"] != []


def test_a_token_whose_key_has_retired_is_refused_without_asking_for_the_key(ring):
    text = mint_access_token(TOKEN, ring.signing_key(START))
    retired = START + ring.schedule.lifetime
    assert isinstance(open_expired_access_token(text, ring, [keys_of()], retired), AccessToken)
    for there in (ring, open_rows([])):
        with pytest.raises(TryRefreshToken) as refused:
            open_expired_access_token(text, there, [keys_of()], retired + 1)
        assert refused.value.reason == "unknown_key"


def test_a_genuine_key_that_is_not_in_the_ring_is_named_so_that_it_can_be_looked_for(ring):
    key = ring.signing_key(START)
    assert reopen(mint_access_token(TOKEN, key), open_rows([])) == UnknownKey(key.kid)


@given(payloads)
def test_any_payload_comes_back_as_it_went_in_and_in_its_order(payload):
    ring = open_rows([make_row()])
    token = AccessToken("h", "u", "public", START, START + HOUR, "a" * 64, None, None, payload)
    text = mint_access_token(token, ring.signing_key(START))
    if len(text) <= 4000:
        opened = reopen(text, ring)
        assert opened == token
        assert list(opened.jwt_payload) == list(payload)


# Syntax alone


def test_what_looks_like_a_token_of_ours_is_parsed_though_nothing_is_verified(ring):
    text = mint_access_token(TOKEN, ring.signing_key(START))
    assert parse_access_token(text) == TOKEN.claims()
    assert parse_access_token(f"{text[:-8]}AAAAAAAA") == TOKEN.claims()


@pytest.mark.parametrize("text", ["", "a.b.c", "x" * 5000, None, b"bytes", 7, "..", "é.é.é", f"{'W' * 800}.e30.e30"])
def test_what_does_not_look_like_a_token_of_ours_is_none(text):
    assert parse_access_token(text) is None


def test_another_systems_token_is_none():
    assert parse_access_token(jwt.encode({"sub": "u", "exp": 1}, "k" * 32, algorithm="HS256")) is None


def test_the_representation_shows_no_hash_and_no_token():
    for secret in ("a" * 64, "b" * 64, "c" * 24):
        assert secret not in repr(TOKEN)
