"""Which regular expressions are taken for addresses."""

import re

import pytest

from tallystick.service.patterns import check_pattern

ADDRESSES = ("127.0.0.1", "203.0.113.199", "::1", "2001:db8:1234:5678:9abc:def0:1234:5678")
OCTET = r"(25[0-5]|2[0-4]\d|1?\d?\d)"
TERSE_OCTET = r"(25[0-5]|(2[0-4]|1?\d)?\d)"
HEX = "[0-9a-fA-F]{1,4}"
IPV6 = "|".join(
    [
        f"({HEX}:){{7}}{HEX}",
        f"({HEX}:){{1,7}}:",
        *(f"({HEX}:){{1,{left}}}(:{HEX}){{1,{7 - left}}}" for left in range(6, 0, -1)),
        f":((:{HEX}){{1,7}}|:)",
        r"fe80:(:[0-9a-fA-F]{0,4}){0,4}%[0-9a-zA-Z]{1,}",
        rf"::(ffff(:0{{1,4}})?:)?({TERSE_OCTET}\.){{3}}{TERSE_OCTET}",
        rf"({HEX}:){{1,4}}:({TERSE_OCTET}\.){{3}}{TERSE_OCTET}",
    ]
)
"""As it is found on many pages, with all abbreviations."""


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        (r"127\.\d+\.\d+\.\d+|::1|0:0:0:0:0:0:0:1", 2),
        (r"10\..*|192\.168\..*|127\..*", 1),
        (rf"({OCTET}\.){{3}}{OCTET}", 2),
        (r"(?i)([0-9A-F]{1,4}:){7}[0-9A-F]{1,4}", 1),
        (IPV6, 2),
        (r"\d+\.\d+\.\d+\.\d+", 2),
        (r"(?!127\.).*", 3),
        (r".*", 4),
        ("|".join(f"10\\.0\\.{number}\\.\\d+" for number in range(60)), 0),
    ],
)
def test_what_people_write_for_addresses_is_taken(pattern, matched):
    check_pattern(pattern)
    assert sum(re.fullmatch(pattern, address) is not None for address in ADDRESSES) == matched


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(.*)*x",
        "(a|a)*x",
        "(.|.){30}x",
        "(?:.|..){22}y",
        "(?:.|..){22}.{45}",  # it never gets to its end, and finds that out in as many ways
        r"(?:\d?){22}y",
        "(?:(?:.|..){11}|y){2}",
        "(?:(?:(?:.|..){4}){4}){2}y",
        "(?:.?){40}x",
        "(?=(.+)+x).*",
        "(.*,)*x|127",
        ".*.*.*.*.*x",
        "(){4000000000}",
        "(((((){40}){40}){40}){40}){40}",
        "a{99999999999999999999}",
        "(" * 600 + ")" * 600,
        "a" * 1001,
        "(",
    ],
)
def test_what_could_keep_a_worker_busy_is_refused_and_so_is_what_is_none(pattern):
    with pytest.raises(ValueError, match=r"ways|long|not a regular"):
        check_pattern(pattern)
