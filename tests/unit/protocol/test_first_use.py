"""First use of an access token, and the check against the database (shared/rotation.md)."""

from dataclasses import replace

import pytest

from tallystick.config import Retirement
from tallystick.protocol.encoding import hash_again, hash_token
from tallystick.protocol.rotation import (
    Accept,
    Ended,
    Mark,
    Replace,
    Rule,
    judge_database_check,
    judge_first_use,
)
from tests.unit.protocol.test_rotation import CHILD, COUSIN, LINE, NOW, PARENT, ROW, RULE, USED, VALIDITY

OVER = [
    None,
    replace(ROW, expires_at=NOW),
    replace(ROW, absolute_expires_at=NOW),
    replace(USED, expires_at=NOW - 1),
]


@pytest.mark.parametrize("row", OVER, ids=["missing", "expired", "absolute end", "used and expired"])
def test_a_session_that_is_missing_or_over_is_ended(row):
    assert judge_first_use(row, CHILD, LINE, NOW, RULE) == Ended()


def test_the_first_use_of_a_child_is_marked_slides_the_end_and_replaces_the_token():
    assert judge_first_use(ROW, CHILD, LINE, NOW, RULE) == Replace(Mark(NOW, NOW + VALIDITY))


def test_the_mark_never_moves_the_end_past_the_absolute_one():
    row = replace(ROW, absolute_expires_at=NOW + 700)
    assert judge_first_use(row, CHILD, LINE, NOW, RULE) == Replace(Mark(NOW, NOW + 700))


@pytest.mark.parametrize("used_at", [NOW - 1_000_000, NOW, NOW + 5, 0])
def test_a_child_that_was_used_already_is_replaced_and_nothing_is_written(used_at):
    assert judge_first_use(replace(ROW, used_at=used_at), CHILD, LINE, NOW, RULE) == Replace(None)


def test_a_sibling_child_used_second_is_replaced_too_as_siblings_are_all_good():
    assert judge_first_use(USED, COUSIN, LINE, NOW, RULE) == Replace(None)


def test_a_child_that_has_become_the_line_meanwhile_is_replaced_and_nothing_is_written():
    assert judge_first_use(ROW, LINE, PARENT, NOW, RULE) == Replace(None)


def test_a_sibling_that_lost_to_the_line_is_accepted_as_it_is():
    assert judge_first_use(ROW, COUSIN, PARENT, NOW, RULE) == Accept()


@pytest.mark.parametrize("row", [ROW, USED, replace(ROW, previous=None)])
def test_a_token_older_than_both_hashes_is_accepted_as_it_is(row):
    assert judge_first_use(row, COUSIN, hash_token("long ago"), NOW, RULE) == Accept()


def test_the_policy_makes_no_difference_to_a_token_that_carries_a_mark():
    rule = Rule(RULE.grace, VALIDITY, Retirement.AT_REFRESH)
    assert judge_first_use(ROW, CHILD, LINE, NOW, rule) == Replace(Mark(NOW, NOW + VALIDITY))


# The check against the database


@pytest.mark.parametrize("row", OVER, ids=["missing", "expired", "absolute end", "used and expired"])
def test_the_database_ends_what_is_missing_or_over(row):
    assert judge_database_check(row, "{}", NOW) == Ended()


def test_the_same_payload_in_the_database_leaves_the_token_as_it_is():
    assert judge_database_check(ROW, "{}", NOW) == Accept()
    assert judge_database_check(replace(ROW, expires_at=NOW + 1), "{}", NOW) == Accept()


def test_another_payload_in_the_database_replaces_the_token_and_writes_nothing():
    assert judge_database_check(replace(ROW, jwt_payload='{"role":"x"}'), "{}", NOW) == Replace(None)


def test_a_hash_is_compared_by_its_double_and_never_by_itself():
    row = replace(ROW, line=bytes.fromhex(LINE))
    assert judge_first_use(row, LINE, LINE, NOW, RULE) == Accept()
    assert hash_again(LINE) != bytes.fromhex(LINE)
