"""One text for each sequence of bytes, and no other: what hashes and caches of tokens rely on."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.protocol.encoding import decode_base64url, encode_base64url

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def assert_is_canonical(text):
    decoded = decode_base64url(text)
    assert decoded is None or encode_base64url(decoded) == text


@given(st.binary(max_size=100))
def test_all_bytes_come_back(data):
    assert decode_base64url(encode_base64url(data)) == data


@pytest.mark.parametrize("length", [0, 1, 2])
def test_of_all_short_texts_only_the_canonical_ones_decode(length):
    for letters in product(map(chr, range(256)), repeat=length):
        assert_is_canonical("".join(letters))


def test_of_all_texts_of_three_letters_of_the_alphabet_one_in_four_is_canonical():
    good = [text for text in map("".join, product(ALPHABET, repeat=3)) if decode_base64url(text) is not None]
    assert len(good) == 64**3 // 4
    assert all(encode_base64url(decode_base64url(text)) == text for text in good[::97])


@pytest.mark.parametrize("length", [4, 5, 6, 7, 8, 342])
def test_a_letter_of_no_alphabet_is_refused_wherever_it_stands(length):
    text = encode_base64url(bytes(range(256)) * 2)[:length]
    for place in {0, 1, 2, 3, length - 1}:
        for number in (*range(0x180), 0x20AC, 0xD800, 0x1F600):
            if chr(number) not in ALPHABET:
                assert decode_base64url(text[:place] + chr(number) + text[place + 1 :]) is None


@given(st.text(st.sampled_from([*ALPHABET, *'+/= \n\\"\0\x7fé']), max_size=40))
def test_any_text_is_canonical_or_refused(text):
    assert_is_canonical(text)
