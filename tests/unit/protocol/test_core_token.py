"""Access tokens of a core, made by another library with keys and headers of every form."""

import json
from base64 import b64encode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import load_der_private_key

from tallystick.errors import TryRefreshToken
from tallystick.protocol.access_token import AccessToken, UnknownKey, parse_access_token
from tallystick.protocol.core_token import NO_KEYS, open_core_token, open_expired_core_token, read_jwks
from tallystick.protocol.signing import load_signer, load_verifier
from tallystick.testing import START
from tests.unit.workshop import encode, private_key, sign

SECOND = START // 1000
V3 = {
    "sub": "u",
    "exp": SECOND + 3600,
    "iat": SECOND,
    "sessionHandle": "h_t2",
    "refreshTokenHash1": "f" * 64,
    "parentRefreshTokenHash1": None,
    "antiCsrfToken": "c",
}
CLAIMS = {"3": V3, "4": {**V3, "tId": "t1"}, "5": {**V3, "tId": "t1", "rsub": "r"}}
KIDS = ["d-1699990000000", "s-5f2b1c9e-0000-4000-8000-000000000001", "d-1-1-AAAAAAAAAAAAAAAA", "any thing"]


def key(algorithm="RS256", number=0):
    return load_der_private_key(private_key(algorithm, number), None)


def make(claims, version="5", kid=KIDS[0], algorithm="RS256", **header):
    return jwt.encode(claims, key(algorithm), algorithm, headers={"kid": kid, "version": version, **header})


def jwk(algorithm="RS256", kid=KIDS[0], number=0, **members):
    public = load_signer(algorithm, private_key(algorithm, number)).public_members()
    return {**public, "kid": kid, "alg": algorithm, "use": "sig", **members}


def publish(*jwks):
    return read_jwks(json.dumps({"keys": jwks or [jwk()]}).encode())


def refuse(text, keys, now=START):
    with pytest.raises(TryRefreshToken) as refused:
        open_core_token(text, keys, now)
    return refused.value.reason


@pytest.mark.parametrize(("version", "tenant"), [("3", "t2"), ("4", "t1"), ("5", "t1")])
@pytest.mark.parametrize("kid", KIDS)
def test_tokens_of_versions_3_to_5_are_read_whatever_the_form_of_the_keys_id(version, tenant, kid):
    claims = {**CLAIMS[version], "role": "admin"}
    opened = open_core_token(make(claims, version, kid), publish(jwk(kid=kid)), START)
    end = START // 1000 * 1000
    assert opened == AccessToken("h_t2", "u", tenant, end, end + 3_600_000, "f" * 64, None, "c", {"role": "admin"})


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_key_of_each_algorithm_verifies(algorithm):
    assert isinstance(
        open_core_token(make(CLAIMS["5"], algorithm=algorithm), publish(jwk(algorithm)), START), AccessToken
    )


def test_claims_that_an_older_version_has_not_are_the_apps_own():
    opened = open_core_token(make({**V3, "tId": 5, "rsub": []}, "3"), publish(), START)
    assert opened.jwt_payload == {"tId": 5, "rsub": []}


def test_a_token_is_good_through_its_last_second():
    text, keys = make(CLAIMS["5"]), publish()
    end = CLAIMS["5"]["exp"] * 1000
    assert isinstance(open_core_token(text, keys, end), AccessToken)
    assert refuse(text, keys, end + 1) == "expired"
    assert isinstance(open_expired_core_token(text, keys), AccessToken)


def test_a_key_that_is_not_published_is_unknown():
    assert open_core_token(make(CLAIMS["5"], kid="d-2"), publish(), START) == UnknownKey("d-2")
    assert open_core_token(make(CLAIMS["5"]), NO_KEYS, START) == UnknownKey(KIDS[0])


def test_a_signature_by_another_key_is_refused():
    assert refuse(make(CLAIMS["5"]), publish(jwk(number=1))) == "bad_signature"


def test_the_key_decides_the_algorithm_and_never_the_token():
    public = load_signer("RS256", private_key("RS256", 0)).public_members()["n"]
    confused = jwt.encode(CLAIMS["5"], public, "HS256", headers={"kid": KIDS[0], "version": "5"})
    assert refuse(confused, publish()) == "bad_signature"
    header = {"alg": "none", "kid": KIDS[0], "typ": "JWT", "version": "5"}
    assert refuse(f"{encode(header)}.{encode(CLAIMS['5'])}.", publish()) == "bad_signature"
    assert refuse(make(CLAIMS["5"], algorithm="ES256"), publish()) == "bad_signature"


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "RS256", "kid": KIDS[0], "typ": "JWT"},  # a plain JWT that the core has signed for the app
        {"alg": "RS256", "kid": KIDS[0], "typ": "JWT", "version": "2"},
        {"alg": "RS256", "kid": KIDS[0], "typ": "JWT", "version": "6"},
        {"alg": "RS256", "kid": KIDS[0], "typ": "JWT", "version": 5},
        {"alg": "RS256", "kid": KIDS[0], "typ": "JWE", "version": "5"},
        {"alg": "RS256", "kid": KIDS[0], "typ": "JWT", "version": "5", "crit": ["b64"]},
        {"alg": "RS256", "kid": KIDS[0], "typ": "JWT", "version": "5", "jku": "http://thief.example"},
        {"alg": "RS256", "kid": None, "typ": "JWT", "version": "5"},
        [],
        b"\xff",
    ],
)
def test_a_header_of_any_other_form_is_refused_though_rightly_signed(header):
    signer = load_signer("RS256", private_key("RS256", 0))
    text = sign(header, CLAIMS["5"], signer)
    assert refuse(text, publish()) == "malformed"
    assert parse_access_token(text) is None


@pytest.mark.parametrize("version", CLAIMS)
def test_a_token_without_one_of_its_claims_or_with_one_of_another_type_is_refused(version):
    keys = publish()
    for name in CLAIMS[version]:
        for claims in ({n: v for n, v in CLAIMS[version].items() if n != name}, {**CLAIMS[version], name: ["x"]}):
            header = {"alg": "RS256", "kid": KIDS[0], "typ": "JWT", "version": version}
            text = sign(header, claims, load_signer("RS256", private_key("RS256", 0)))
            assert refuse(text, keys) == "malformed"
            assert parse_access_token(text) is None


def test_tokens_of_versions_1_and_2_and_other_texts_are_malformed():
    oldest = b64encode(b'{"alg":"RS256","typ":"JWT","version":"2"}').decode()
    for text in (f"{oldest}.e30=.AAAA", "", "x", "a.b", "a.b.c.d", "é.b.c", None, 5, b"a.b.c", "a" * 5000):
        assert refuse(text, publish()) == "malformed"


@pytest.mark.parametrize("version", CLAIMS)
def test_a_cores_token_is_told_from_other_bearer_tokens_and_keeps_its_claims_order(version):
    claims = dict(reversed({**CLAIMS[version], "role": 1}.items()))
    parsed = parse_access_token(make(claims, version))
    assert list(parsed.items()) == list(claims.items())


# Keys


def test_only_keys_that_can_verify_are_kept():
    good = jwk(kid="good")
    others = [
        {"kty": "oct", "kid": "a", "k": "c2VjcmV0"},
        jwk(kid="b", use="enc"),
        jwk(kid="c", alg="RS512"),
        jwk("EdDSA", kid="d", alg="ES256"),
        {**jwk("EdDSA", kid="e"), "x": "AA"},
        {**jwk("ES256", kid="f"), "x": "AQ"},
        {**jwk("ES256", kid="g"), "crv": "P-384"},
        {**jwk(kid="h"), "n": 5},
        {**jwk(kid="i"), "n": "not base64"},
        {**jwk(kid="j"), "e": "AA"},
        {name: value for name, value in jwk().items() if name != "kid"},
        {**jwk(), "kid": 5},
    ]
    assert list(publish(*others, good).verifiers) == ["good"]


def test_a_short_rsa_key_is_none_and_a_very_long_one_neither():
    numbers = generate_private_key(65537, 1024).public_key().public_numbers()  # noqa: S505 - that is the point
    short = {"kty": "RSA", "kid": "x", "e": "AQAB", "n": encode(numbers.n.to_bytes(128, "big"))}
    long = {**short, "n": encode(((1 << 9000) + 1).to_bytes(1126, "big"))}
    assert load_verifier(short) is None
    assert load_verifier(long) is None


def test_algorithm_and_use_may_be_left_out_of_a_key():
    bare = {name: value for name, value in jwk().items() if name not in ("alg", "use")}
    assert isinstance(open_core_token(make(CLAIMS["5"]), publish(bare), START), AccessToken)


def test_of_two_keys_with_one_id_the_first_counts():
    assert refuse(make(CLAIMS["5"]), publish(jwk(number=1), jwk())) == "bad_signature"


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[1]}', b"\xff", b"<html>", b"[" * 100_000]
)
def test_what_is_no_jwk_set_is_none(raw):
    assert read_jwks(raw) is None
