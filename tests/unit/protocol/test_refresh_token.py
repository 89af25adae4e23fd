"""Refresh tokens: what they carry, and that nobody else can make or change one."""

import hashlib
import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import Unauthorised
from tallystick.protocol.encoding import decode_base64url, encode_base64url, hash_again, hash_token
from tallystick.protocol.refresh_token import MAX_REFRESH_TOKEN, mint_refresh_token, open_envelope
from tests.unit.workshop import FOREIGN, FORMER, decode_bytes, flip_each_byte, keys_of

NONCE, OTHER_NONCE = b"n" * 16, b"o" * 16
PARENT = hash_token("parent")


def mint(**changes):
    given_ = {
        "keys": keys_of(),
        "nonce": NONCE,
        "handle": "5f2b1c9e-0000-4000-8000-000000000001",
        "generation": 3,
        "token_id": b"i" * 16,
        "parent_hash1": PARENT,
        "has_anti_csrf": True,
    }
    return mint_refresh_token(**{**given_, **changes})


TOKEN = mint()


def open_whole(text, secrets=None, nonce=NONCE):
    return open_envelope(text, secrets or [keys_of()]).open(nonce)


def refuse(text, secrets=None, nonce=NONCE):
    with pytest.raises(Unauthorised) as refused:
        open_whole(text, secrets, nonce)
    assert refused.value.reason == "bad_token"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"generation": 0, "parent_hash1": None},
        {"has_anti_csrf": False},
        {"has_static_key": True},
        {"generation": 2**40},
        {"handle": "é"},
    ],
)
def test_what_is_minted_opens_to_the_same(changes):
    token = mint(**changes)
    assert open_whole(token.text) == token


def test_the_token_is_three_macs_and_parts_of_known_form():
    body, envelope, tag, suffix = TOKEN.text.split(".")
    raw = decode_bytes(body)
    assert msgspec.msgpack.decode(raw) == [TOKEN.handle, 3, b"i" * 16, bytes.fromhex(PARENT), True, False]
    assert decode_bytes(envelope) == hmac.digest(keys_of().envelope, raw, "sha256")[:16]
    of_session = hmac.digest(keys_of().refresh, NONCE, "sha256")
    assert decode_bytes(tag) == hmac.digest(of_session, raw, "sha256")
    assert suffix == "T1"


def test_hash1_and_hash2_are_as_the_interface_has_them():
    assert TOKEN.hash1 == hashlib.sha256(TOKEN.text.encode()).hexdigest()
    assert hash_again(TOKEN.hash1) == hashlib.sha256(TOKEN.hash1.encode()).digest()
    assert hash_token("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_two_tokens_that_differ_in_their_random_id_alone_are_two():
    assert mint(token_id=b"j" * 16).hash1 != TOKEN.hash1


def test_a_flipped_bit_in_any_byte_is_refused():
    for flipped in flip_each_byte(TOKEN.text):
        refuse(flipped)


def test_a_token_cut_short_or_made_longer_anywhere_is_refused():
    for i in range(len(TOKEN.text)):
        refuse(TOKEN.text[:i])
        refuse(TOKEN.text[:i] + "A" + TOKEN.text[i:])


def test_a_wrong_nonce_passes_the_envelope_and_is_refused_by_the_tag():
    envelope = open_envelope(TOKEN.text, [keys_of()])
    assert envelope.token.handle == TOKEN.handle
    with pytest.raises(Unauthorised) as refused:
        envelope.open(OTHER_NONCE)
    assert refused.value.reason == "bad_token"


def test_who_has_the_database_but_not_the_secret_cannot_make_one():
    refuse(mint(keys=keys_of(FOREIGN)).text)


def test_another_apps_token_is_refused_though_the_secret_is_the_same():
    refuse(mint(keys=keys_of(app_id="other")).text)


def test_a_token_made_with_the_former_secret_opens_while_that_is_given():
    token = mint(keys=keys_of(FORMER))
    assert open_whole(token.text, [keys_of(), keys_of(FORMER)]) == token
    assert open_envelope(token.text, [keys_of(), keys_of(FORMER)]).keys == keys_of(FORMER)
    refuse(token.text)


def test_the_envelope_of_one_secret_and_the_tag_of_another_are_refused():
    body, envelope, _, suffix = TOKEN.text.split(".")
    _, _, tag, _ = mint(keys=keys_of(FORMER)).text.split(".")
    refuse(".".join((body, envelope, tag, suffix)), [keys_of(), keys_of(FORMER)])


@pytest.mark.parametrize("suffix", ["", "t1", "T2", "T1 ", "V2", "T1.", "T1.T1", "Т1"])  # noqa: RUF001 - Cyrillic
def test_another_suffix_is_refused(suffix):
    refuse(f"{TOKEN.text.rpartition('.')[0]}.{suffix}")


@pytest.mark.parametrize("odd", ["=", "==", " ", "\n", "\0", "+", "/", "%3D", "é", "\ud800"])
def test_no_other_text_stands_for_a_token(odd):
    for at in (0, 7, TOKEN.text.index("."), len(TOKEN.text) - 3, len(TOKEN.text)):
        refuse(TOKEN.text[:at] + odd + TOKEN.text[at:])


def test_left_over_bits_and_truncated_macs_are_refused():
    body, envelope, tag, _ = TOKEN.text.split(".")
    for other in (tag[:-1] + "_", tag[:-2], tag[:22], "", encode_base64url(decode_bytes(tag) + b"\0")):
        if other != tag:
            refuse(f"{body}.{envelope}.{other}.T1")
    for other in (envelope[:-1] + "_", envelope[:-2], ""):
        if other != envelope:
            refuse(f"{body}.{other}.{tag}.T1")


def seal(body: bytes) -> str:
    """Any body, with right MACs: what only a bug of ours, or a thief of the secret, could make."""
    keys = keys_of()
    of_session = hmac.digest(keys.refresh, NONCE, "sha256")
    macs = hmac.digest(keys.envelope, body, "sha256")[:16], hmac.digest(of_session, body, "sha256")
    return ".".join((*map(encode_base64url, (body, *macs)), "T1"))


GOOD = ["h", 1, b"i" * 16, b"p" * 32, False, False]


def test_the_body_that_the_next_are_made_from_is_good():
    assert open_whole(seal(msgspec.msgpack.encode(GOOD))).handle == "h"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x91" * 900,
        msgspec.msgpack.encode(None),
        msgspec.msgpack.encode({}),
        msgspec.msgpack.encode([]),
        msgspec.msgpack.encode(GOOD[:5]),
        msgspec.msgpack.encode([*GOOD, 1]),
        msgspec.msgpack.encode(GOOD) + b"\0",
        msgspec.msgpack.encode([b"h", *GOOD[1:]]),
        msgspec.msgpack.encode(["h", -1, *GOOD[2:]]),
        msgspec.msgpack.encode(["h", 1.0, *GOOD[2:]]),
        msgspec.msgpack.encode(["h", True, *GOOD[2:]]),
        msgspec.msgpack.encode([*GOOD[:3], b"p" * 31, False, False]),
        msgspec.msgpack.encode([*GOOD[:3], b"", False, False]),
        msgspec.msgpack.encode([*GOOD[:4], 1, False]),
        msgspec.msgpack.encode([*GOOD[:5], None]),
        msgspec.msgpack.encode(GOOD).replace(b"\xa1h", b"\xa1\xff"),
    ],
)
def test_a_body_of_another_shape_is_refused_even_with_right_macs(body):
    refuse(seal(body))


@pytest.mark.parametrize(
    "thing", [None, 5, TOKEN.text.encode(), [TOKEN.text], object(), "", ".", "...", "....", "a.b.c.T1"]
)
def test_what_is_no_token_is_refused(thing):
    refuse(thing)


@pytest.mark.parametrize("size", [MAX_REFRESH_TOKEN + 1, 1_000_000])
@pytest.mark.parametrize("filler", ["A", "."])
def test_a_token_of_more_than_its_size_is_refused(size, filler):
    refuse(filler * size)


def test_the_longest_token_that_can_be_minted_is_within_the_size():
    handle = "5f2b1c9e-0000-4000-8000-000000000001_" + "t" * 64
    token = mint(handle=handle, generation=2**63 - 1)
    assert len(token.text) <= MAX_REFRESH_TOKEN
    assert open_whole(token.text) == token


def test_representations_show_neither_token_nor_hash_nor_tag():
    envelope = open_envelope(TOKEN.text, [keys_of()])
    for shown in (repr(TOKEN), repr(envelope)):
        for part in (*TOKEN.text.split(".")[:3], PARENT, TOKEN.hash1, "nnnnnnnn", "\\x"):
            assert part not in shown


@given(st.text(max_size=300) | st.binary(max_size=300) | st.none() | st.floats())
def test_anything_at_all_is_refused(thing):
    refuse(thing)


@given(st.binary(max_size=200), st.binary(max_size=20), st.binary(max_size=40))
def test_any_four_parts_are_refused(body, envelope, tag):
    refuse(".".join((*map(encode_base64url, (body, envelope, tag)), "T1")))


# Encoding


@given(st.binary(max_size=70))
def test_bytes_have_one_text_and_it_comes_back(data):
    text = encode_base64url(data)
    assert decode_base64url(text) == data
    assert "=" not in text


@given(st.text(alphabet="ABab01-_+/= \n.", max_size=12) | st.text(max_size=12))
def test_a_text_that_decodes_is_the_only_one_for_its_bytes(text):
    data = decode_base64url(text)
    assert data is None or encode_base64url(data) == text


@pytest.mark.parametrize(("data", "text"), [(b"", ""), (b"\xfb\xff", "-_8"), (b"f", "Zg"), (b"foobar", "Zm9vYmFy")])
def test_known_answers_of_base64url(data, text):
    assert encode_base64url(data) == text
    assert decode_base64url(text) == data
