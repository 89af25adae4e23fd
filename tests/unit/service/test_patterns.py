"""Which regular expressions are taken for addresses."""

import re

import pytest

from tallystick.service.patterns import check_pattern

ADDRESSES = ("127.0.0.1", "203.0.113.199", "::1", "2001:db8:1234:5678:9abc:def0:1234:5678")
OCTET = r"(25[0-5]|2[0-4]\d|1?\d?\d)"


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        (r"127\.\d+\.\d+\.\d+|::1|0:0:0:0:0:0:0:1", 2),
        (r"10\..*|192\.168\..*|127\..*", 1),
        (rf"({OCTET}\.){{3}}{OCTET}", 2),
        (r"(?i)([0-9A-F]{1,4}:){7}[0-9A-F]{1,4}", 1),
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
