"""Whether tokens fit a cookie, and the front token, which is the other cookie."""

import json
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.config import MAX_COOKIE_BYTES
from tallystick.errors import BadInput
from tallystick.protocol.access_token import MAX_ACCESS_TOKEN, AccessToken, mint_access_token
from tallystick.protocol.front_token import make_front_token
from tallystick.protocol.size import check_fits
from tests.unit.protocol.test_access_token import TOKEN
from tests.unit.workshop import make_row, open_rows

# The key with the longest id, whose signature is the longest too.
LONGEST_KEY = open_rows([make_row(9_999_999_999, 10**15 - 1, "RS256")], algorithm="RS256").keys[0]
HANDLE = "5f2b1c9e-0000-4000-8000-000000000001"
LAST_SECOND = 9_999_999_999_000


def largest(user_id, handle, tenant_id, payload):
    """The largest token that a session can ever have."""
    return AccessToken(handle, user_id, tenant_id, LAST_SECOND, LAST_SECOND, "f" * 64, "f" * 64, "c" * 24, payload)


def fits(token):
    access = len("sAccessToken") + len(mint_access_token(token, LONGEST_KEY))
    return access <= MAX_COOKIE_BYTES and len("sFrontToken") + len(make_front_token(token)) <= MAX_COOKIE_BYTES


def passes(*session):
    try:
        check_fits(*session)
    except BadInput:
        return False
    return True


@pytest.mark.parametrize("user_id", ["u", "马" * 128, "🙂" * 128, '"' * 128, "\x01" * 128])
@pytest.mark.parametrize("tenant_id", ["public", "t" * 64])
def test_to_the_very_byte_what_passes_fits_and_what_is_refused_would_not(user_id, tenant_id):
    handle = HANDLE if tenant_id == "public" else f"{HANDLE}_{tenant_id}"
    verdicts = []
    for size in range(3000):
        payload = {"x": "y" * size}
        verdicts.append(passes(user_id, handle, tenant_id, payload))
        if not verdicts[-1]:
            break
    border = len(verdicts) - 1
    for size in (max(border - 1, 0), border):
        session = (user_id, handle, tenant_id, {"x": "y" * size})
        assert passes(*session) is fits(largest(*session))
    assert not verdicts[border]


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), st.integers(0, 9), max_size=3),
    st.integers(0, 2400),
    st.sampled_from(["y", '"', "é", "马", "🙂", "\x01"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=128),
)
def test_what_passes_fits_and_nothing_else_passes(extra, size, character, user_id):
    payload = {**extra, "filler": character * size}
    assert passes(user_id, HANDLE, "public", payload) is fits(largest(user_id, HANDLE, "public", payload))


def test_a_refusal_says_how_large_the_token_would_be_and_what_to_do():
    with pytest.raises(BadInput, match=r"access token would be (\d+) bytes, but only 4084 fit") as refused:
        check_fits("u", HANDLE, "public", {"x": "y" * 5000})
    assert refused.value.reason == "too_large"
    assert "jwt_payload is 5008 bytes as JSON" in str(refused.value)
    assert "session_data" in str(refused.value)


def test_a_refusal_for_the_front_token_alone_says_so():
    sizes = range(1500, 3000)
    refusals = {}
    for size in sizes:
        try:
            check_fits("马" * 128, HANDLE, "public", {"x": "y" * size})
        except BadInput as refused:
            refusals[str(refused).split(" would")[0]] = size
    # Whichever of the two is the larger: both limits are looked at.
    assert set(refusals) <= {"the access token", "the front token"}
    assert refusals


def test_the_limits_are_those_of_a_cookie_with_its_name():
    assert MAX_ACCESS_TOKEN == 4096 - 12


# The front token


def test_the_front_token_decodes_to_exactly_the_claims_in_their_order_non_ascii_too():
    text = make_front_token(TOKEN)
    content = json.loads(b64decode(text, validate=True).decode("utf-8"))
    assert list(content) == ["ate", "uid", "up"]
    assert content == {"ate": TOKEN.expires_at, "uid": TOKEN.user_id, "up": TOKEN.claims()}
    assert list(content["up"]) == list(TOKEN.claims())
    assert content["up"]["name"] == "łukasz 馬 / 马"


def test_the_front_token_is_padded_standard_base64_of_compact_utf_8():
    raw = b64decode(make_front_token(TOKEN), validate=True)
    assert raw.decode("utf-8") == json.dumps(
        {"ate": TOKEN.expires_at, "uid": TOKEN.user_id, "up": TOKEN.claims()},
        separators=(",", ":"),
        ensure_ascii=False,
    )
    assert len(make_front_token(TOKEN)) % 4 == 0
