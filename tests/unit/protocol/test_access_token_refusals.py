"""Access tokens that are refused: RFC 8725, ASVS V9.1, and whatever else may come in as one."""

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import TryRefreshToken
from tallystick.protocol.access_token import (
    MAX_ACCESS_TOKEN,
    RESERVED_CLAIMS,
    UnknownKey,
    mint_access_token,
    open_access_token,
)
from tallystick.testing import START
from tests.unit.protocol.test_access_token import ALGORITHMS, TOKEN
from tests.unit.workshop import (
    FOREIGN,
    decode,
    decode_bytes,
    encode,
    flip_each_byte,
    keys_of,
    make_row,
    open_rows,
    private_key,
    sign,
)

RING = open_rows([make_row(1, START), make_row(2, START + 1)])
KEY = RING.signing_key(START)
TEXT = mint_access_token(TOKEN, KEY)
HEADER, CLAIMS, SIGNATURE = TEXT.split(".")


def refuse(text, ring=RING, secrets=None, now=START):
    """Why ``text`` is refused. A key to look for is no refusal, and fails the test."""
    with pytest.raises(TryRefreshToken) as refused:
        open_access_token(text, ring, secrets or [keys_of()], now)
    return refused.value.reason


def test_the_token_that_all_these_are_made_from_is_good():
    assert open_access_token(TEXT, RING, [keys_of()], START) == TOKEN


# The header


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "HS256", "hs256", "eddsa", "RS256", "ES256"])
@pytest.mark.parametrize("signature", ["", SIGNATURE], ids=["unsigned", "signed"])
@pytest.mark.parametrize("ring", [RING, open_rows([])], ids=["key known", "key not loaded"])
def test_another_algorithm_in_the_header_is_refused_with_and_without_a_signature(alg, signature, ring):
    text = f"{encode({**decode(HEADER), 'alg': alg})}.{CLAIMS}.{signature}"
    if ring is not RING and alg in ("RS256", "ES256"):
        # Such a key could be another process's; once the store was asked, its real header is known.
        assert isinstance(open_access_token(text, ring, [keys_of()], START), UnknownKey)
    else:
        assert refuse(text, ring) in ("malformed", "unknown_key")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "form",
    [
        (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        (Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "jwk",
    ],
    ids=["PEM", "DER", "JWK"],
)
def test_a_mac_keyed_with_the_public_key_is_refused(algorithm, form):
    ring = open_rows([make_row(algorithm=algorithm)], algorithm=algorithm)
    kid = ring.keys[0].kid
    if form == "jwk":
        public = json.dumps(ring.jwks(START)["keys"][0]).encode()
    else:
        public = load_der_private_key(private_key(algorithm, 1), None).public_key().public_bytes(*form)
    body = f"{encode({'alg': 'HS256', 'kid': kid, 'typ': 'JWT', 'version': '5'})}.{CLAIMS}"
    assert refuse(f"{body}.{encode(hmac.digest(public, body.encode(), 'sha256'))}", ring) == "malformed"
    ours = f"{ring.keys[0].header}.{CLAIMS}"
    assert refuse(f"{ours}.{encode(hmac.digest(public, ours.encode(), 'sha256'))}", ring) == "bad_signature"


def test_another_algorithm_with_a_real_signature_of_a_real_key_of_ours_is_refused():
    ring = open_rows([make_row(1), make_row(2, algorithm="RS256")])
    by_algorithm = {key.signer.algorithm: key for key in ring.keys}
    for lie, truth in (("EdDSA", "RS256"), ("RS256", "EdDSA")):
        header = {**decode(by_algorithm[lie].header), "alg": truth}
        assert refuse(sign(header, CLAIMS, by_algorithm[truth].signer), ring) == "unknown_key"
        assert refuse(sign(by_algorithm[lie].header, CLAIMS, by_algorithm[truth].signer), ring) == "bad_signature"


def test_a_key_id_swapped_for_that_of_another_key_of_ours_is_refused():
    first, second = RING.keys
    assert refuse(sign(first.header, CLAIMS, second.signer)) == "bad_signature"
    assert refuse(f"{first.header if KEY is second else second.header}.{CLAIMS}.{SIGNATURE}") == "bad_signature"


@pytest.mark.parametrize(
    "kid",
    [
        "",
        "d-",
        "../../../../etc/passwd",
        "/dev/null",
        "x' UNION SELECT 'key' --",
        "d-1-1-' OR 1=1 --    ",
        "\0",
        "é",
        "http://keys.example/jwks",
        "K" * 2500,
        KEY.kid + "x",
        KEY.kid[:-1],
        KEY.kid.upper(),
        KEY.kid.replace("d-", "s-"),
        KEY.kid.replace("d-", "d-0"),
        KEY.kid.replace("-2-", "-02-"),
        " " + KEY.kid,
        KEY.kid + "\n",
        "d-" + "9" * 400 + "-1-AAAAAAAAAAAAAAAA",
        f"d-{START}-1-AAAAAAAAAAAAAAAA",
        None,
        5,
        [],
        {},
    ],
)
@pytest.mark.parametrize("ring", [RING, open_rows([])], ids=["key known", "key not loaded"])
def test_a_key_id_that_is_not_ours_to_the_letter_is_refused_and_never_looked_for(kid, ring):
    assert refuse(sign({**decode(HEADER), "kid": kid}, CLAIMS, KEY.signer), ring) in ("malformed", "unknown_key")


def test_a_key_id_of_a_foreign_deployment_is_never_looked_for():
    foreign = open_rows([make_row(secret=keys_of(FOREIGN))], secrets=[keys_of(FOREIGN)])
    assert refuse(mint_access_token(TOKEN, foreign.keys[0])) == "unknown_key"


def test_a_key_id_of_another_app_is_never_looked_for_though_it_shares_the_secret():
    other = open_rows([make_row(secret=keys_of(app_id="other"))], secrets=[keys_of(app_id="other")])
    assert refuse(mint_access_token(TOKEN, other.keys[0])) == "unknown_key"


@pytest.mark.parametrize(
    "extra",
    [
        {"jku": "https://keys.example/jwks"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"x5u": "https://keys.example/cert"},
        {"x5c": ["MIIB"]},
        {"zip": "DEF"},
        {"crit": ["exp"]},
        {"cty": "JWT"},
        {"b64": False},
        {"": ""},
    ],
    ids=lambda extra: next(iter(extra)) or "empty name",
)
@pytest.mark.parametrize("ring", [RING, open_rows([])], ids=["key known", "key not loaded"])
def test_a_header_with_anything_more_in_it_is_refused_though_it_is_rightly_signed(extra, ring):
    assert refuse(sign({**decode(HEADER), **extra}, CLAIMS, KEY.signer), ring) == "malformed"
    assert refuse(sign({**extra, **decode(HEADER)}, CLAIMS, KEY.signer), ring) == "malformed"


@pytest.mark.parametrize("missing", ["alg", "kid", "typ", "version"])
def test_a_header_with_anything_less_in_it_is_refused(missing):
    header = decode(HEADER)
    del header[missing]
    assert refuse(sign(header, CLAIMS, KEY.signer)) == "malformed"


@pytest.mark.parametrize("typ", ["at+jwt", "jwt", "dpop+jwt", "JWT ", "", None, 5])
@pytest.mark.parametrize("ring", [RING, open_rows([])], ids=["key known", "key not loaded"])
def test_another_type_is_refused(typ, ring):
    assert refuse(sign({**decode(HEADER), "typ": typ}, CLAIMS, KEY.signer), ring) == "malformed"


@pytest.mark.parametrize("version", ["1", "2", "3", "4", "6", "", "05", 5, None])
def test_another_version_is_refused(version):
    assert refuse(sign({**decode(HEADER), "version": version}, CLAIMS, KEY.signer)) == "malformed"


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(decode(HEADER)).encode(),
        json.dumps(decode(HEADER), indent=1).encode(),
        json.dumps(dict(reversed(decode(HEADER).items())), separators=(",", ":")).encode(),
        decode_bytes(HEADER) + b" ",
        decode_bytes(HEADER).replace(b"JWT", rb"\u004aWT"),
        decode_bytes(HEADER)[:-1] + b',"alg":"EdDSA"}',
        b"\xef\xbb\xbf" + decode_bytes(HEADER),
    ],
    ids=["spaces", "lines", "order", "blank at the end", "escapes", "a key twice", "byte order mark"],
)
@pytest.mark.parametrize("ring", [RING, open_rows([])], ids=["key known", "key not loaded"])
def test_the_same_header_in_other_words_is_refused_and_its_key_is_not_looked_for(raw, ring):
    assert refuse(sign(raw, CLAIMS, KEY.signer), ring) == "malformed"


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b'"x"', b"\xff\xfe", b"{", b"[" * 2000, b'{"kid":' * 300])
def test_a_header_that_is_no_json_object_is_refused(raw):
    assert refuse(sign(raw, CLAIMS, KEY.signer)) == "malformed"


# Signature and encoding


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_flipped_bit_in_any_byte_of_a_token_is_refused(algorithm):
    ring = open_rows([make_row(algorithm=algorithm)], algorithm=algorithm)
    text = mint_access_token(TOKEN, ring.keys[0])
    for flipped in flip_each_byte(text):
        assert refuse(flipped, ring) in ("malformed", "unknown_key", "bad_signature")


def test_a_token_cut_short_or_made_longer_anywhere_is_refused():
    for i in range(len(TEXT)):
        assert refuse(TEXT[:i]) in ("malformed", "unknown_key", "bad_signature")
        assert refuse(TEXT[:i] + "A" + TEXT[i:]) in ("malformed", "unknown_key", "bad_signature")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("signature", ["", "AA", encode(bytes(64)), encode(bytes(256)), encode(b"\xff" * 64)])
def test_an_empty_a_zero_or_a_misshapen_signature_is_refused(algorithm, signature):
    ring = open_rows([make_row(algorithm=algorithm)], algorithm=algorithm)
    assert refuse(f"{ring.keys[0].header}.{CLAIMS}.{signature}", ring) == "bad_signature"


def test_an_ecdsa_signature_in_der_is_refused():
    ring = open_rows([make_row(algorithm="ES256")], algorithm="ES256")
    header, claims, signature = mint_access_token(TOKEN, ring.keys[0]).split(".")
    raw = decode_bytes(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    assert refuse(f"{header}.{claims}.{encode(der)}", ring) == "bad_signature"


def test_an_ecdsa_signature_with_a_zero_put_before_either_number_is_refused():
    ring = open_rows([make_row(algorithm="ES256")], algorithm="ES256")
    header, claims, signature = mint_access_token(TOKEN, ring.keys[0]).split(".")
    raw = decode_bytes(signature)
    for longer in (raw[:32] + b"\0" + raw[32:], b"\0" + raw, raw + b"\0"):
        assert refuse(f"{header}.{claims}.{encode(longer)}", ring) == "bad_signature"


def test_left_over_bits_at_the_end_of_any_part_are_refused():
    # A 64-byte signature leaves 4 bits over in its last character: 15 other texts stand for the same bytes.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [SIGNATURE[:-1] + c for c in alphabet if c != SIGNATURE[-1]]
    same_bytes = [other for other in others if decode_bytes(other) == decode_bytes(SIGNATURE)]
    assert len(same_bytes) == 15
    for other in same_bytes:
        assert refuse(f"{HEADER}.{CLAIMS}.{other}") == "bad_signature"


@pytest.mark.parametrize("odd", ["=", "==", " ", "\n", "\t", "\r\n", "\0", "%", "!", "\x7f"])
def test_padding_white_space_and_foreign_characters_are_refused_wherever_they_stand(odd):
    for at in (0, 5, len(HEADER), len(HEADER) + 1, len(HEADER) + 9, len(TEXT) - 9, len(TEXT)):
        assert refuse(TEXT[:at] + odd + TEXT[at:]) in ("malformed", "bad_signature", "unknown_key")


def test_the_standard_alphabet_is_refused():
    for number in range(2, 60):
        ring = open_rows([make_row(number)])
        text = mint_access_token(TOKEN, ring.keys[0])
        standard = text.replace("-", "+").replace("_", "/")
        if standard != text:
            assert refuse(standard, ring) in ("malformed", "bad_signature", "unknown_key")
            break
    else:
        pytest.fail("no token had a character of the URL alphabet in it")


@pytest.mark.parametrize("text", ["", ".", "..", "...", TEXT + ".", "." + TEXT, f"{HEADER}.{CLAIMS}", TEXT + ".e30"])
def test_another_number_of_parts_is_refused(text):
    assert refuse(text) == "malformed"


@pytest.mark.parametrize(
    "thing", [None, 5, 5.5, TEXT.encode(), bytearray(TEXT.encode()), [TEXT], {"a": TEXT}, object()]
)
def test_what_is_no_text_is_refused(thing):
    assert refuse(thing) == "malformed"


@pytest.mark.parametrize("odd", ["é", "\ud800", "ſ", "．", "\u200b"])  # noqa: RUF001 - look-alikes are the point
def test_what_is_not_ascii_is_refused(odd):
    assert refuse(TEXT + odd) == "malformed"
    assert refuse(odd + TEXT[1:]) == "malformed"


@pytest.mark.parametrize("text", ["A" * 1_000_000, "." * 1_000_000, f"{HEADER}.{'A' * 1_000_000}.{SIGNATURE}"])
def test_a_token_of_a_megabyte_is_refused(text):
    assert refuse(text) == "malformed"


def test_a_token_that_no_cookie_could_carry_is_refused_though_it_is_rightly_signed():
    claims = {**decode(CLAIMS), "filler": "x" * 3000}
    text = sign(HEADER, claims, KEY.signer)
    assert len(text) > MAX_ACCESS_TOKEN
    assert refuse(text) == "malformed"


# Claims, rightly signed by a real key


@pytest.mark.parametrize("missing", RESERVED_CLAIMS)
def test_a_missing_claim_is_refused_each_of_them(missing):
    claims = decode(CLAIMS)
    del claims[missing]
    assert refuse(sign(HEADER, claims, KEY.signer)) == "malformed"


@pytest.mark.parametrize("name", RESERVED_CLAIMS)
@pytest.mark.parametrize("value", [True, 1.5, [], {}, ["x"], "number", None], ids=repr)
def test_a_claim_of_another_type_is_refused(name, value):
    if value == "number":
        value = "1700000000" if name in ("exp", "iat") else 1_700_000_000
    if value is None and name in ("parentRefreshTokenHash1", "antiCsrfToken"):
        return  # these may be null
    assert refuse(sign(HEADER, {**decode(CLAIMS), name: value}, KEY.signer)) == "malformed"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"\xff",
        decode_bytes(CLAIMS) + b"x",
        decode_bytes(CLAIMS)[:-1],
        decode_bytes(CLAIMS)[:-1] + b',"x":"\xff\xfe"}',
        decode_bytes(CLAIMS)[:-1] + b',"x":"\xc0\xaf"}',
        decode_bytes(CLAIMS)[:-1] + b',"x":"\xed\xa0\x80"}',
        decode_bytes(CLAIMS)[:-1] + rb',"x":"\ud800"}',
        decode_bytes(CLAIMS)[:-1] + b',"x":NaN}',
        decode_bytes(CLAIMS)[:-1] + b',"x":1e999}',
        decode_bytes(CLAIMS)[:-1] + b',"x":' + b"9" * 400 + b"}",
        decode_bytes(CLAIMS)[:-1] + b',"x":' + b"[" * 2000,
        decode_bytes(CLAIMS)[:-1] + b',"x":' + b"[" * 1100 + b"]" * 1100 + b"}",
        decode_bytes(CLAIMS).decode().encode("utf-16"),
        hashlib.sha256(b"").digest(),
    ],
    ids=lambda raw: ascii(raw[-24:].decode("latin-1")),
)
def test_claims_that_are_not_a_json_object_in_utf_8_are_refused(raw):
    if b"9" * 400 in raw:
        # A whole number of any length is JSON; it is only as long as a token may be.
        assert open_access_token(sign(HEADER, raw, KEY.signer), RING, [keys_of()], START).handle == TOKEN.handle
    else:
        assert refuse(sign(HEADER, raw, KEY.signer)) == "malformed"


def test_no_claim_is_read_before_the_signature_is_right():
    assert refuse(f"{HEADER}.{encode(b'[' * 2000)}.{SIGNATURE}") == "bad_signature"
    assert refuse(f"{HEADER}.!!!.{SIGNATURE}") == "bad_signature"


def test_claims_in_another_encoding_are_refused_though_rightly_signed():
    assert refuse(sign(HEADER, f"{CLAIMS}=", KEY.signer)) == "malformed"
    assert refuse(sign(HEADER, base64.b64encode(b'{"a":"\xc3\xbf?"}').decode(), KEY.signer)) == "malformed"


# Anything at all


@given(st.text(max_size=200) | st.binary(max_size=200) | st.none() | st.integers() | st.lists(st.text(max_size=5)))
def test_anything_at_all_is_refused(thing):
    assert refuse(thing) in ("malformed", "unknown_key")


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_any_three_parts_are_refused(header, claims, signature):
    assert refuse(".".join(map(encode, (header, claims, signature)))) in ("malformed", "unknown_key")


@given(st.binary(max_size=300))
def test_any_claims_under_a_real_signature_are_refused_or_read_but_never_break_anything(raw):
    assert refuse(sign(HEADER, raw, KEY.signer)) == "malformed"
