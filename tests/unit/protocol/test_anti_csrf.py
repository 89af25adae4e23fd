import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import TryRefreshToken, Unauthorised
from tallystick.protocol.anti_csrf import check_anti_csrf, check_anti_csrf_at_refresh, mint_anti_csrf_token
from tests.unit.workshop import FOREIGN, decode_bytes, keys_of

KEY = keys_of().anti_csrf
TOKEN = mint_anti_csrf_token(KEY, "refresh.token")
WRONG = [
    "",
    " ",
    TOKEN[:-1],
    TOKEN + " ",
    TOKEN.swapcase(),
    "é",
    "\ud800",
    "A" * 24,
    "x" * 1_000_000,
    TOKEN.encode(),
    5,
    True,
    [TOKEN],
    object(),
]


def test_the_token_is_derived_from_the_refresh_token_so_that_a_refresh_can_check_it():
    assert decode_bytes(TOKEN) == hmac.digest(KEY, b"refresh.token", "sha256")[:18]
    assert len(TOKEN) == 24
    assert mint_anti_csrf_token(KEY, "another.token") != TOKEN
    assert mint_anti_csrf_token(keys_of(FOREIGN).anti_csrf, "refresh.token") != TOKEN


def test_the_right_token_passes():
    check_anti_csrf(TOKEN, TOKEN)
    check_anti_csrf_at_refresh(TOKEN, TOKEN)


@pytest.mark.parametrize("presented", [*WRONG, None], ids=lambda value: repr(value)[:20])
def test_at_verification_a_missing_or_wrong_token_means_refresh_and_never_sign_out(presented):
    with pytest.raises(TryRefreshToken) as refused:
        check_anti_csrf(TOKEN, presented)
    assert refused.value.reason == "anti_csrf_failed"
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("presented", WRONG, ids=lambda value: repr(value)[:20])
def test_at_refresh_an_empty_or_wrong_token_is_refused(presented):
    with pytest.raises(Unauthorised) as refused:
        check_anti_csrf_at_refresh(TOKEN, presented)
    assert refused.value.reason == "anti_csrf_failed"


def test_at_refresh_none_means_that_the_caller_does_not_check():
    check_anti_csrf_at_refresh(TOKEN, None)


@pytest.mark.parametrize("presented", [*WRONG, None, TOKEN], ids=lambda value: repr(value)[:20])
def test_a_session_created_without_is_not_checked(presented):
    check_anti_csrf(None, presented)
    check_anti_csrf_at_refresh(None, presented)


@given(st.text() | st.binary() | st.none() | st.integers())
def test_nothing_else_passes(presented):
    with pytest.raises(TryRefreshToken):
        check_anti_csrf(TOKEN, presented)
