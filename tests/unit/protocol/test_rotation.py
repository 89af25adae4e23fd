"""The table of shared/rotation.md, row by row, with its boundaries."""

from dataclasses import replace

import pytest

from tallystick.config import Retirement
from tallystick.protocol.encoding import hash_again, hash_token
from tallystick.protocol.rotation import (
    VERDICTS,
    Advance,
    Ahead,
    Gone,
    Mark,
    Presented,
    Reissue,
    Reuse,
    Rule,
    Standing,
    judge_refresh,
)
from tallystick.types import LineStep, SessionRow

NOW = 1_800_000_000_000
GRACE = 10_000
VALIDITY = 1_000_000
RULE = Rule(GRACE, VALIDITY)
STRICT = Rule(0, VALIDITY)
AT_REFRESH = Rule(GRACE, VALIDITY, Retirement.AT_REFRESH)

GRANDPARENT, PARENT, LINE, CHILD, COUSIN = (hash_token(name) for name in ("g", "p", "l", "c", "x"))

ROW = SessionRow(
    app_id="public",
    tenant_id="public",
    handle="handle",
    user_id="user",
    generation=2,
    line=hash_again(LINE),
    previous=hash_again(PARENT),
    used_at=None,
    nonce=b"n" * 16,
    jwt_payload="{}",
    session_data="{}",
    created_at=NOW - 1000,
    expires_at=NOW + 500,
    absolute_expires_at=NOW + 5 * VALIDITY,
    refreshed_at=NOW - 1000,
)
USED = replace(ROW, used_at=NOW)

the_line = Presented(2, LINE, PARENT)
a_child = Presented(3, CHILD, LINE)
a_sibling = Presented(2, COUSIN, PARENT)
the_parent = Presented(1, PARENT, GRANDPARENT)
a_distant_ancestor = Presented(0, GRANDPARENT, None)
from_the_future = Presented(4, COUSIN, CHILD)


def test_each_standing_has_one_verdict_and_the_table_is_whole():
    assert set(VERDICTS) == set(Standing)


# NOWHERE


@pytest.mark.parametrize("token", [the_line, a_child, a_sibling, the_parent, a_distant_ancestor, from_the_future])
@pytest.mark.parametrize(
    "row",
    [
        None,
        replace(ROW, expires_at=NOW),
        replace(ROW, expires_at=NOW - 1),
        replace(ROW, absolute_expires_at=NOW),
        replace(ROW, absolute_expires_at=NOW, expires_at=NOW + VALIDITY),
    ],
    ids=["missing", "expired now", "expired before", "absolute end now", "absolute end before the sliding one"],
)
def test_whatever_is_presented_for_a_session_that_is_missing_or_over_is_gone_and_never_theft(row, token):
    assert judge_refresh(row, token, NOW, RULE) == Gone()


@pytest.mark.parametrize("end", ["expires_at", "absolute_expires_at"])
def test_a_session_lives_through_the_millisecond_before_its_end(end):
    row = replace(ROW, **{end: NOW + 1})
    assert judge_refresh(row, the_line, NOW, RULE) == Reissue()
    assert judge_refresh(row, the_line, NOW + 1, RULE) == Gone()


# LINE


def test_the_line_with_no_child_used_is_reissued_and_the_row_does_not_change():
    assert judge_refresh(ROW, the_line, NOW, RULE) == Reissue(None)


@pytest.mark.parametrize("days_later", [0, 1, 99])
def test_the_line_with_no_child_used_is_reissued_however_late_so_a_lost_answer_costs_nothing(days_later):
    later = NOW + days_later * 86_400_000
    row = replace(ROW, expires_at=later + 1, absolute_expires_at=later + 1)
    assert judge_refresh(row, the_line, later, RULE) == Reissue(None)


@pytest.mark.parametrize("passed", [0, 1, GRACE - 1, GRACE])
def test_the_line_is_reissued_within_the_grace_after_a_childs_first_use(passed):
    row = replace(USED, expires_at=NOW + VALIDITY)
    assert judge_refresh(row, the_line, NOW + passed, RULE) == Reissue(None)


def test_a_first_use_by_a_server_whose_clock_is_ahead_does_not_retire_the_line_early():
    assert judge_refresh(replace(ROW, used_at=NOW + 3000), the_line, NOW, RULE) == Reissue(None)


def test_the_first_token_of_a_session_has_no_parent_and_is_reissued():
    row = replace(ROW, generation=0, previous=None)
    assert judge_refresh(row, Presented(0, LINE, None), NOW, RULE) == Reissue(None)


# LINE_RETIRED


@pytest.mark.parametrize("passed", [GRACE + 1, GRACE + 60_000])
def test_the_line_after_its_grace_is_theft(passed):
    row = replace(USED, expires_at=NOW + VALIDITY)
    assert judge_refresh(row, the_line, NOW + passed, RULE) == Reuse(Standing.LINE_RETIRED)


@pytest.mark.parametrize("passed", [-5, 0, 1, GRACE])
def test_without_a_grace_the_line_retires_in_the_very_millisecond_of_a_childs_use(passed):
    row = replace(USED, expires_at=NOW + VALIDITY)
    assert judge_refresh(row, the_line, NOW + passed, STRICT) == Reuse(Standing.LINE_RETIRED)


def test_without_a_grace_the_line_is_still_reissued_until_a_child_is_used():
    assert judge_refresh(ROW, the_line, NOW, STRICT) == Reissue(None)


def test_a_grace_of_one_millisecond_ends_after_one_millisecond():
    row, rule = replace(USED, expires_at=NOW + VALIDITY), Rule(1, VALIDITY)
    assert judge_refresh(row, the_line, NOW + 1, rule) == Reissue(None)
    assert judge_refresh(row, the_line, NOW + 2, rule) == Reuse(Standing.LINE_RETIRED)


# CHILD


@pytest.mark.parametrize("row", [ROW, USED, replace(USED, used_at=NOW - GRACE - 1)], ids=["unused", "used", "retired"])
def test_a_child_of_the_line_advances_it_whether_it_was_used_before_or_not(row):
    assert judge_refresh(row, a_child, NOW, RULE) == Advance(
        LineStep(
            generation=3,
            line=hash_again(CHILD),
            previous=hash_again(LINE),
            used_at=None,
            expires_at=NOW + VALIDITY,
            refreshed_at=NOW,
        )
    )


def test_an_advance_never_moves_the_end_past_the_absolute_one():
    row = replace(ROW, absolute_expires_at=NOW + 700)
    verdict = judge_refresh(row, a_child, NOW, RULE)
    assert isinstance(verdict, Advance)
    assert verdict.step.expires_at == NOW + 700


# SIBLING


@pytest.mark.parametrize("row", [ROW, USED], ids=["unused", "used"])
def test_a_sibling_of_the_line_is_theft_at_once(row):
    assert judge_refresh(row, a_sibling, NOW, RULE) == Reuse(Standing.SIBLING)


# ANCESTOR


@pytest.mark.parametrize("row", [ROW, USED], ids=["unused", "used"])
@pytest.mark.parametrize("token", [the_parent, a_distant_ancestor], ids=["parent", "first"])
def test_an_ancestor_of_the_line_is_theft(row, token):
    assert judge_refresh(row, token, NOW, RULE) == Reuse(Standing.ANCESTOR)


def test_a_token_of_the_lines_own_generation_from_another_branch_is_theft():
    assert judge_refresh(ROW, Presented(2, COUSIN, hash_token("y")), NOW, RULE) == Reuse(Standing.ANCESTOR)


def test_a_second_first_token_of_a_session_is_theft():
    row = replace(ROW, generation=0, previous=None)
    assert judge_refresh(row, Presented(0, COUSIN, None), NOW, RULE) == Reuse(Standing.ANCESTOR)


# AHEAD


@pytest.mark.parametrize("generation", [3, 4, 1000])
def test_a_token_newer_than_the_row_is_ahead_and_no_theft(generation):
    assert judge_refresh(ROW, Presented(generation, COUSIN, CHILD), NOW, RULE) == Ahead()


# AT_REFRESH


def test_at_refresh_the_first_child_handed_out_starts_the_grace():
    verdict = judge_refresh(ROW, the_line, NOW, AT_REFRESH)
    assert verdict == Reissue(Mark(used_at=NOW, expires_at=NOW + VALIDITY))


def test_at_refresh_the_grace_is_never_renewed():
    row = replace(ROW, used_at=NOW - GRACE, expires_at=NOW + VALIDITY)
    assert judge_refresh(row, the_line, NOW, AT_REFRESH) == Reissue(None)
    assert judge_refresh(row, the_line, NOW + 1, AT_REFRESH) == Reuse(Standing.LINE_RETIRED)


def test_at_refresh_an_advance_starts_the_grace_of_the_new_line_too():
    verdict = judge_refresh(ROW, a_child, NOW, AT_REFRESH)
    assert isinstance(verdict, Advance)
    assert verdict.step.used_at == NOW


def test_at_refresh_the_mark_stops_at_the_absolute_end():
    row = replace(ROW, absolute_expires_at=NOW + 700)
    assert judge_refresh(row, the_line, NOW, AT_REFRESH) == Reissue(Mark(NOW, NOW + 700))


def test_verdicts_and_tokens_show_no_hash():
    for value in (the_line, judge_refresh(ROW, a_child, NOW, RULE), ROW):
        for secret in (LINE, PARENT, CHILD, repr(hash_again(LINE)), repr(hash_again(CHILD))):
            assert secret not in repr(value)
