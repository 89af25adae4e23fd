"""Tokens that are cut out of their header as it stands agree with what a parser makes of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from tallystick import Sessions
from tallystick.config import TransferMethod
from tallystick.transport.cookies import MAX_COOKIE_HEADER, read_cookie
from tallystick.transport.exchange import Exchange
from tallystick.transport.usual import UsualRequests

SECRET = "a secret for the tests alone: it protects nothing"
NAME = "sAccessToken"


def usual(method: TransferMethod = "any") -> UsualRequests:
    return UsualRequests(Sessions("memory://", secret=SECRET, token_transfer_method=method))


USUAL = usual()


@pytest.mark.parametrize(
    "cookies",
    [
        "sAccessToken=a.b.c",
        "theme=dark; sAccessToken=a.b.c",
        "sAccessToken=a.b.c; theme=dark",
        "a=1; b=2; sAccessToken=a.b.c; sRefreshToken=d; e=3",
        "sAccessToken=a.b.c;theme=dark",
    ],
)
def test_a_plain_cookie_is_found_wherever_it_stands(cookies: str):
    assert USUAL.find_token(cookies, None) == ("cookie", "a.b.c")


@pytest.mark.parametrize(
    "cookies",
    [
        "sAccessToken=a.b.c; sAccessToken=d.e.f",
        "sAccessToken=; sAccessToken=d.e.f",
        "sAccessToken = a.b.c",
        "theme=dark;sAccessToken=a.b.c",
        "not_sAccessToken=a.b.c",
        "theme=x sAccessToken=a.b.c",
        "theme=sAccessToken=a.b.c",
        "sIdRefreshToken=x; sAccessToken=a.b.c",
        "sAccessToken=a.b.c; sIdRefreshToken=x",
        "theme=dark; sAccessToken=" + "x" * MAX_COOKIE_HEADER,
        "sAccessToken=",
        "theme=dark",
        "",
    ],
)
def test_whatever_else_a_header_may_be_is_left_to_the_parser(cookies: str):
    assert USUAL.find_token(cookies, None) is None


def test_a_token_in_a_header_goes_before_one_in_a_cookie():
    assert USUAL.find_token("sAccessToken=a.b.c", "Bearer d.e.f") == ("header", "d.e.f")
    assert USUAL.find_token("theme=dark", "Bearer d.e.f") == ("header", "d.e.f")
    assert USUAL.find_token("sAccessToken=a.b.c", "Basic d") == ("cookie", "a.b.c")
    assert USUAL.find_token("sAccessToken=a; sAccessToken=b", "Bearer d.e.f") is None


def test_only_the_methods_of_the_settings_are_usual():
    assert usual("cookie").find_token("sAccessToken=a.b.c", "Bearer d.e.f") is None
    assert usual("cookie").find_token("sAccessToken=a.b.c", None) == ("cookie", "a.b.c")
    assert usual("header").find_token("sAccessToken=a.b.c", None) is None
    assert usual("header").find_token("sAccessToken=a.b.c", "Bearer d.e.f") == ("header", "d.e.f")


PIECES = st.lists(
    st.sampled_from([NAME, "sIdRefreshToken", "x", "=", ";", " ", "; ", "a.b.c", '"', "%2e"]), max_size=12
)


@given(PIECES.map("".join))
def test_what_is_cut_out_is_the_one_token_that_a_parser_finds(cookies: str):
    found = USUAL.find_token(cookies, None)
    if found is None:
        return
    assert not read_cookie(cookies, "sIdRefreshToken")
    # A value that is quoted or coded is no token as it stands, so that the parser has its turn when it is not verified.
    if not {'"', "%", " "} & {*found[1]}:
        assert read_cookie(cookies, NAME) == [found[1]]


class Get:
    """A request that brings a token."""

    method, path, is_https, address = "GET", "/", False, None

    def __init__(self, token: str) -> None:
        self.cookies = f"{NAME}={token}"

    def header(self, name: str) -> str | None:
        return self.cookies if name == "cookie" else None

    def credentials(self) -> tuple[str | None, str | None]:
        return self.cookies, None


def test_nothing_that_is_made_for_a_request_shows_its_token():
    sessions = Sessions("memory://", secret=SECRET, algorithm="EdDSA")
    token = sessions.create_new_session("ada").access_token.token
    exchange = Exchange(Get(token), sessions.config)
    held = UsualRequests(sessions).verify(exchange, None)
    assert held is not None
    assert held.access_token == token
    for value in (exchange, held):
        for shown in (repr(value), str(value), pretty_repr(value)):
            assert not any(part in shown for part in token.split("."))
