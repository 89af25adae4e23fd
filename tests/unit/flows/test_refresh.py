"""What a refresh asks of the store, for each verdict, each lost race, and each token that is not ours."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tallystick import flows
from tallystick.config import Retirement
from tallystick.errors import GeneralError, TokenTheftDetected, Unauthorised
from tallystick.protocol.encoding import hash_again, hash_token
from tallystick.testing import START
from tallystick.types import ClientInfo, TheftEvent
from tests.unit.flows.test_create_and_verify import begin, with_key
from tests.unit.workshop import DAY, FOREIGN, FORMER, SECRET, decode, deploy, drive, flip_each_byte

GRACE = 10_000


@pytest.fixture
def d(clock):
    return with_key(deploy(clock))


def refresh(d, created, *answers, anti_csrf=None, **options):
    return drive(flows.refresh(d, created.refresh_token.token, anti_csrf, **options), *answers)


def line_of(created):
    return hash_again(hash_token(created.refresh_token.token))


def test_the_line_is_reissued_with_one_load_and_nothing_is_written(d):
    row, created = begin(d)
    driven = refresh(d, created, row)
    assert driven.asked == [("load_session", ("public", row.handle))]
    claims = decode(driven.result.access_token.token.split(".")[1])
    assert claims["parentRefreshTokenHash1"] == hash_token(created.refresh_token.token)
    assert claims["refreshTokenHash1"] == hash_token(driven.result.refresh_token.token)


def test_each_reissue_hands_out_another_child(d):
    row, created = begin(d)
    children = {refresh(d, created, row).result.refresh_token.token for _ in range(5)}
    assert len(children) == 5


def test_a_child_advances_the_line_by_one_compare_and_swap(d, clock):
    row, created = begin(d)
    child = refresh(d, created, row).result
    clock.advance(timedelta(minutes=1))
    driven = refresh(d, child, row, True, client=ClientInfo("browser", "192.0.2.1"))
    (load, swap) = driven.asked
    assert load == ("load_session", ("public", row.handle))
    method, (app_id, handle, expected, step) = swap
    assert (method, app_id, handle, expected) == ("advance_line", "public", row.handle, row.line)
    assert (step.generation, step.line, step.previous) == (1, line_of(child), row.line)
    assert (step.used_at, step.expires_at) == (None, START + 60_000 + 100 * DAY)
    assert (step.refreshed_at, step.user_agent, step.address) == (START + 60_000, "browser", "192.0.2.1")
    assert decode(driven.result.access_token.token.split(".")[1])["parentRefreshTokenHash1"] == hash_token(
        child.refresh_token.token
    )


def test_a_lost_advance_to_the_same_child_is_judged_anew_and_reissued(d):
    row, created = begin(d)
    child = refresh(d, created, row).result
    advanced = replace(row, generation=1, line=line_of(child), previous=row.line)
    driven = refresh(d, child, row, False, advanced)
    assert driven.methods == ["load_session", "advance_line", "load_session"]
    assert driven.result is not None


def test_a_lost_advance_to_a_sibling_is_theft(d):
    row, created = begin(d)
    mine, other = refresh(d, created, row).result, refresh(d, created, row).result
    advanced = replace(row, generation=1, line=line_of(other), previous=row.line)
    driven = refresh(d, mine, row, False, advanced, True)
    assert driven.methods == ["load_session", "advance_line", "load_session", "record_theft"]
    assert isinstance(driven.error, TokenTheftDetected)
    assert driven.error.reason == "sibling"


def test_a_row_that_vanishes_between_reading_and_advancing_is_no_session(d):
    row, created = begin(d)
    child = refresh(d, created, row).result
    driven = refresh(d, child, row, False, None)
    assert isinstance(driven.error, Unauthorised)
    assert driven.methods == ["load_session", "advance_line", "load_session"]


def test_an_advance_that_is_lost_each_time_ends_as_contended_and_never_as_a_sign_out(d):
    row, created = begin(d)
    child = refresh(d, created, row).result
    driven = refresh(d, child, *[row, False] * flows.ATTEMPTS)
    assert isinstance(driven.error, GeneralError)
    assert driven.error.reason == "contended"
    assert len(driven.asked) == 2 * flows.ATTEMPTS


# Theft


def stolen(d, kind):
    """A token that shows a theft, and the row that it shows it for."""
    row, created = begin(d)
    child = refresh(d, created, row).result
    sibling = refresh(d, created, row).result
    if kind == "retired":
        return created, replace(row, used_at=START - GRACE - 1)
    advanced = replace(row, generation=1, line=line_of(child), previous=row.line)
    return (sibling if kind == "sibling" else created), advanced


@pytest.mark.parametrize("kind", ["retired", "sibling", "ancestor"])
@pytest.mark.parametrize("is_first", [True, False], ids=["recorded here", "recorded by another"])
def test_theft_ends_the_session_with_one_event_and_says_whose_it_was(d, kind, is_first):
    created, row = stolen(d, kind)
    row = replace(row, user_agent="holder", address="192.0.2.1")
    driven = refresh(d, created, row, is_first, client=ClientInfo("presenter", "192.0.2.2"))
    event = TheftEvent(
        app_id="public",
        tenant_id="public",
        session_handle=row.handle,
        user_id="user-1",
        kind=kind,
        presented_generation=1 if kind == "sibling" else 0,
        line_generation=row.generation,
        detected_at=START,
        presenter_user_agent="presenter",
        presenter_address="192.0.2.2",
        holder_user_agent="holder",
        holder_address="192.0.2.1",
    )
    recorded = ("record_theft", (event, d.cause("theft", START)))
    assert driven.asked == [("load_session", ("public", row.handle)), recorded]
    assert isinstance(driven.error, TokenTheftDetected)
    assert (driven.error.reason, driven.error.session_handle, driven.error.user_id) == (kind, row.handle, "user-1")
    assert driven.error.event == (event if is_first else None)


def test_where_the_session_cannot_be_deleted_theft_is_not_reported_as_done(d):
    created, row = stolen(d, "sibling")
    broken = GeneralError("down", reason="store_failed")
    assert refresh(d, created, row, broken).error is broken


def test_a_token_ahead_of_a_restored_backup_is_refused_and_nothing_is_revoked(d):
    row, created = begin(d)
    child = refresh(d, created, row).result
    grandchild = refresh(d, child, row, True).result
    driven = refresh(d, grandchild, row)
    assert driven.methods == ["load_session"]
    assert isinstance(driven.error, Unauthorised)
    assert driven.error.reason == "ahead"


@pytest.mark.parametrize("over", [None, {"expires_at": START}, {"absolute_expires_at": START}])
def test_a_session_that_is_over_is_unauthorised_and_never_theft(d, over):
    created, row = stolen(d, "sibling")
    driven = refresh(d, created, None if over is None else replace(row, **over))
    assert driven.methods == ["load_session"]
    assert isinstance(driven.error, Unauthorised)
    assert driven.error.reason == "no_session"


# What is not ours


def test_a_flipped_bit_makes_no_store_call_unless_it_is_in_the_tag_and_never_deletes(d):
    row, created = begin(d)
    text = created.refresh_token.token
    tag_begins = text.index(".", text.index(".") + 1)
    for at, flipped in enumerate(flip_each_byte(text)):
        flow = flows.refresh(d, flipped, None)
        # The tag is keyed by the row's nonce, so with a right envelope the row must be read, and no more.
        in_tag = at // 3 > tag_begins and flipped.endswith(".T1") and flipped.count(".") == 3
        try:
            driven = drive(flow)
        except AssertionError:
            assert in_tag
            driven = drive(flows.refresh(d, flipped, None), row)
        assert isinstance(driven.error, Unauthorised)
        assert driven.error.reason == "bad_token"
        assert driven.methods in ([], ["load_session"])


@pytest.mark.parametrize("thing", [None, "", "garbage", b"bytes", 5, "a.b.c.T1", "A" * 1_000_000])
def test_garbage_makes_no_store_call(d, thing):
    driven = drive(flows.refresh(d, thing, None))
    assert isinstance(driven.error, Unauthorised)
    assert driven.asked == []


def test_an_access_token_in_the_place_of_a_refresh_token_makes_no_store_call(d):
    _, created = begin(d)
    assert drive(flows.refresh(d, created.access_token.token, None)).asked == []


@pytest.mark.parametrize("other", [{"secret": FOREIGN}, {"app_id": "other"}, {"secret": FORMER}])
def test_a_foreign_deployments_token_makes_no_store_call(d, clock, other):
    foreign = deploy(clock, **other)
    rows = []
    created = drive(
        flows.create(foreign, "u", None, None, tenant_id="public", enable_anti_csrf=False),
        [],
        lambda row: not rows.append(row),
        lambda _: rows,
        None,
    ).result
    driven = refresh(d, created)
    assert (driven.asked, driven.error.reason) == ([], "bad_token")


def test_the_nonce_of_another_session_does_not_open_the_token(d):
    row, created = begin(d)
    driven = refresh(d, created, replace(row, nonce=b"x" * 16))
    assert isinstance(driven.error, Unauthorised)
    assert driven.error.reason == "bad_token"
    assert driven.methods == ["load_session"]


# AT_REFRESH


def test_at_refresh_the_first_child_marks_the_row_and_its_access_token_carries_no_mark(clock):
    d = with_key(deploy(clock, retirement=Retirement.AT_REFRESH))
    row, created = begin(d)
    driven = refresh(d, created, row, True)
    assert driven.asked[1] == ("mark_used", ("public", row.handle, row.line, START, START + 100 * DAY))
    assert decode(driven.result.access_token.token.split(".")[1])["parentRefreshTokenHash1"] is None


def test_at_refresh_a_lost_mark_is_judged_anew_and_reissued_within_the_grace(clock):
    d = with_key(deploy(clock, retirement=Retirement.AT_REFRESH))
    row, created = begin(d)
    driven = refresh(d, created, row, False, replace(row, used_at=START))
    assert driven.methods == ["load_session", "mark_used", "load_session"]
    assert driven.result is not None


# Anti-CSRF


def test_anti_csrf_is_checked_before_the_store_is_asked(d):
    _, created = begin(d, enable_anti_csrf=True)
    for wrong in ("", "wrong", b"x", 5):
        driven = refresh(d, created, anti_csrf=wrong)
        assert isinstance(driven.error, Unauthorised)
        assert (driven.error.reason, driven.asked) == ("anti_csrf_failed", [])


def test_the_right_anti_csrf_token_or_none_refreshes_and_the_new_one_is_another(d):
    row, created = begin(d, enable_anti_csrf=True)
    for presented in (created.anti_csrf_token, None):
        result = refresh(d, created, row, anti_csrf=presented).result
        assert result.anti_csrf_token not in (None, created.anti_csrf_token)
        assert refresh(d, result, row, True, anti_csrf=result.anti_csrf_token).result is not None


@pytest.mark.parametrize(("before", "option", "after"), [(0, None, 0), (1, None, 1), (0, True, 1), (1, False, 0)])
def test_a_refresh_keeps_or_changes_whether_there_is_an_anti_csrf_token(d, before, option, after):
    row, created = begin(d, enable_anti_csrf=bool(before))
    result = refresh(d, created, row, enable_anti_csrf=option).result
    assert (result.anti_csrf_token is not None) is bool(after)


def test_a_truthy_option_does_not_make_a_token_that_nothing_can_read(d):
    row, created = begin(d)
    child = refresh(d, created, row, enable_anti_csrf="yes").result
    assert refresh(d, child, row, True).result is not None


def test_the_anti_csrf_token_of_the_former_secret_is_right_while_that_is_given(clock):
    row, created = begin(with_key(deploy(clock, secret=SECRET)), enable_anti_csrf=True)
    newer = with_key(deploy(clock, secret=[FORMER, SECRET]))
    assert refresh(newer, created, row, anti_csrf=created.anti_csrf_token).result is not None
    assert refresh(newer, created, anti_csrf="wrong").error.reason == "anti_csrf_failed"


def test_an_ending_is_remembered_for_as_long_as_the_settings_let_tokens_live_whatever_one_request_asks_for(clock):
    d = deploy(clock)
    assert replace(d, access_token_validity=1000).cause("theft", START) == d.cause("theft", START)
