"""Revoke, list, look up, update, merge and regenerate: what they ask of the store."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tallystick import flows
from tallystick.errors import BadInput, GeneralError, Unauthorised
from tallystick.testing import START
from tests.unit.flows.test_create_and_verify import begin, with_key
from tests.unit.workshop import HOUR, decode, deploy, drive


@pytest.fixture
def d(clock):
    return with_key(deploy(clock))


# Revoke and list


def test_revoke_answers_in_the_order_given_each_once_and_only_what_was_there(d):
    driven = drive(flows.revoke(d, ["c", "a", "b", "a"]), ["a", "c"])
    assert driven.asked == [("delete_sessions", ("public", ["c", "a", "b"], d.cause("revoked", START)))]
    assert driven.result == ["c", "a"]


@pytest.mark.parametrize("handles", [[], [""], ["x" * 256, "a\0", "\ud800"]])
def test_what_can_be_no_handle_is_not_asked_for(d, handles):
    driven = drive(flows.revoke(d, handles))
    assert (driven.asked, driven.result) == ([], [])


@pytest.mark.parametrize("handles", [None, "abc", [None], 5])
def test_what_is_no_list_of_handles_is_refused(d, handles):
    driven = drive(flows.revoke(d, handles))
    assert isinstance(driven.error, BadInput)
    assert driven.asked == []


@pytest.mark.parametrize("tenant", [None, "t1"])
def test_a_users_sessions_are_revoked_and_listed_in_one_tenant_or_all(d, tenant):
    driven = drive(flows.revoke_user(d, "u", tenant), ["a"])
    assert driven.asked == [("delete_sessions_of_user", ("public", "u", tenant, d.cause("revoked", START)))]
    assert driven.result == ["a"]
    driven = drive(flows.list_user(d, "u", tenant), ["a", "b"])
    assert driven.asked == [("list_handles_of_user", ("public", "u", tenant, START))]
    assert driven.result == ["a", "b"]


@pytest.mark.parametrize(("user", "tenant", "reason"), [("", None, "bad_user_id"), ("u", "T", "bad_tenant_id")])
def test_a_bad_user_or_tenant_is_refused_unasked(d, user, tenant, reason):
    for flow in (flows.revoke_user, flows.list_user):
        driven = drive(flow(d, user, tenant))
        assert (driven.error.reason, driven.asked) == (reason, [])


# Look up and update


def test_information_is_that_of_the_row(d):
    row, _ = begin(d, "user-1", {"a": 1}, {"b": 2}, tenant_id="t1")
    driven = drive(flows.load(d, row.handle), replace(row, absolute_expires_at=START + 7))
    assert driven.asked == [("load_session", ("public", row.handle))]
    found = driven.result
    assert (found.session_handle, found.user_id, found.tenant_id) == (row.handle, "user-1", "t1")
    assert (found.expiry, found.time_created) == (START + 7, START)
    assert (found.jwt_payload, found.session_data) == ({"a": 1}, {"b": 2})


def by_handle(d, handle):
    return {
        "load": (flows.load(d, handle), None),
        "update_payload": (flows.update_payload(d, handle, {}), False),
        "merge_payload": (flows.merge_payload(d, handle, {"a": 1}), False),
    }


@pytest.mark.parametrize("name", ["load", "update_payload", "merge_payload"])
def test_a_session_that_is_missing_or_over_is_no_session(d, name):
    row, _ = begin(d)
    for there in (None, replace(row, expires_at=START), replace(row, absolute_expires_at=START)):
        flow, answer = by_handle(d, row.handle)[name]
        driven = drive(flow, there)
        assert (driven.methods, driven.result) == (["load_session"], answer)


@pytest.mark.parametrize("handle", ["", "x" * 256, "a\0b", "\ud800"])
def test_what_can_be_no_handle_is_no_session_and_not_asked_for(d, handle):
    for flow, answer in (*by_handle(d, handle).values(), (flows.update_data(d, handle, {}), False)):
        driven = drive(flow)
        assert (driven.asked, driven.result) == ([], answer)


@pytest.mark.parametrize("handle", [None, 5, b"h", ["h"]])
def test_a_handle_that_is_no_text_is_refused(d, handle):
    for flow, _ in (*by_handle(d, handle).values(), (flows.update_data(d, handle, {}), False)):
        driven = drive(flow)
        assert (driven.error.reason, driven.asked) == ("bad_handle", [])


@pytest.mark.parametrize("answer", [True, False])
def test_data_is_replaced_in_one_step(d, answer):
    driven = drive(flows.update_data(d, "h", {"a": [1, "马"]}), answer)
    assert driven.asked == [("update_session_data", ("public", "h", '{"a":[1,"马"]}', START))]
    assert driven.result is answer


@pytest.mark.parametrize("answer", [True, False])
def test_a_payload_is_replaced_after_its_size_was_checked_against_the_row(d, answer):
    row, _ = begin(d)
    driven = drive(flows.update_payload(d, row.handle, {"a": 1}), row, answer)
    assert driven.asked == [
        ("load_session", ("public", row.handle)),
        ("update_jwt_payload", ("public", row.handle, '{"a":1}', START, None, d.cause("changed", START, '{"a":1}'))),
    ]
    assert driven.result is answer
    driven = drive(flows.update_payload(d, row.handle, {"a": "x" * 3000}), row)
    assert (driven.error.reason, driven.methods) == ("too_large", ["load_session"])


def test_a_merge_is_a_compare_and_swap_on_the_payload_it_was_made_from(d):
    row, _ = begin(d, "u", {"a": 1, "b": 2})
    driven = drive(flows.merge_payload(d, row.handle, {"b": None, "c": 3}), row, True)
    assert driven.asked[1] == (
        "update_jwt_payload",
        ("public", row.handle, '{"a":1,"c":3}', START, '{"a":1,"b":2}', d.cause("changed", START, '{"a":1,"c":3}')),
    )
    assert driven.result is True


def test_a_lost_merge_is_made_anew_from_what_is_there_then(d):
    row, _ = begin(d, "u", {"a": 1})
    other = replace(row, jwt_payload='{"a":1,"other":1}')
    driven = drive(flows.merge_payload(d, row.handle, {"mine": 1}), row, False, other, True)
    assert driven.asked[3][1][2:5] == ('{"a":1,"other":1,"mine":1}', START, other.jwt_payload)


def test_a_merge_that_changes_nothing_writes_nothing_but_that_older_tokens_do_not_hold(d):
    row, _ = begin(d, "u", {"a": 1})
    driven = drive(flows.merge_payload(d, row.handle, {"a": 1, "z": None}, tells=False), row)
    assert (driven.methods, driven.result) == (["load_session"], True)
    driven = drive(flows.merge_payload(d, row.handle, {"a": 1, "z": None}), row, True)
    assert (driven.methods, driven.result) == (["load_session", "update_jwt_payload"], True)
    (*_, payload, _, expected, cause) = driven.asked[-1][1]
    assert (payload, expected, cause.kind) == (row.jwt_payload, row.jwt_payload, "changed")


def test_a_merge_for_a_row_that_vanishes_is_false(d):
    row, _ = begin(d)
    assert drive(flows.merge_payload(d, row.handle, {"a": 1}), row, False, None).result is False


def test_a_merge_that_is_lost_each_time_ends_as_contended(d):
    row, _ = begin(d)
    driven = drive(flows.merge_payload(d, row.handle, {"a": 1}), *[row, False] * flows.ATTEMPTS)
    assert isinstance(driven.error, GeneralError)
    assert driven.error.reason == "contended"


def test_a_merge_is_measured_whole(d):
    row, _ = begin(d, "u", {"a": "x" * 1500})
    driven = drive(flows.merge_payload(d, row.handle, {"b": "y" * 1500}), row)
    assert (driven.error.reason, driven.methods) == ("too_large", ["load_session"])


# Regenerate


def test_regenerate_changes_the_payload_and_keeps_expiry_and_mark(d, clock):
    row, created = begin(d)
    child = drive(flows.refresh(d, created.refresh_token.token, None), row).result
    clock.advance(timedelta(minutes=5))
    driven = drive(flows.regenerate(d, child.access_token.token, {"role": "x"}), row, True)
    assert driven.asked == [
        ("load_session", ("public", row.handle)),
        (
            "update_jwt_payload",
            ("public", row.handle, '{"role":"x"}', clock.now, None, d.cause("changed", clock.now, '{"role":"x"}')),
        ),
    ]
    before, after = (decode(t.access_token.token.split(".")[1]) for t in (child, driven.result))
    assert after == {**before, "iat": clock.now // 1000, "role": "x"}
    assert driven.result.access_token.expiry == child.access_token.expiry


def test_regenerate_without_a_payload_takes_the_stored_one_and_writes_nothing(d):
    row, created = begin(d)
    driven = drive(flows.regenerate(d, created.access_token.token, None), replace(row, jwt_payload='{"a":1}'))
    assert driven.methods == ["load_session"]
    assert driven.result.session.jwt_payload == {"a": 1}


def test_regenerate_of_an_expired_token_keeps_the_payload_and_gives_no_token(d, clock):
    row, created = begin(d)
    clock.advance(timedelta(milliseconds=HOUR))
    assert drive(flows.regenerate(d, created.access_token.token, {"a": 1}), row, True).result.access_token is not None
    clock.advance(timedelta(milliseconds=1))
    driven = drive(flows.regenerate(d, created.access_token.token, {"a": 1}), row, True)
    assert driven.methods == ["load_session", "update_jwt_payload"]
    assert driven.result.access_token is None
    assert driven.result.front_token is None
    assert driven.result.session.jwt_payload == {"a": 1}


def test_regenerate_for_a_session_that_is_missing_over_or_vanishes_is_unauthorised(d):
    row, created = begin(d)
    for answers in ([None], [replace(row, expires_at=START)], [row, False]):
        driven = drive(flows.regenerate(d, created.access_token.token, {"a": 1}), *answers)
        assert isinstance(driven.error, Unauthorised)


def test_regenerate_checks_the_payload_before_anything_is_asked(d):
    _, created = begin(d)
    driven = drive(flows.regenerate(d, created.access_token.token, {"exp": 1}))
    assert (driven.error.reason, driven.asked) == ("reserved_claim", [])
    row, created = begin(d)
    driven = drive(flows.regenerate(d, created.access_token.token, {"a": "x" * 3000}), row)
    assert (driven.error.reason, driven.methods) == ("too_large", ["load_session"])
