"""A cap on a user's sessions, and the session that a sign-in takes the place of."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tallystick import Sessions, TooManySessions
from tallystick.testing import START
from tests.unit.flows.test_create_and_verify import begin, create, with_key
from tests.unit.workshop import HOUR, SECRET, deploy, drive


def handles(sessions, user="ada"):
    return sessions.get_all_session_handles_for_user(user)


def sign_in(sessions, clock, user="ada", **options):
    clock.advance(timedelta(seconds=1))
    return sessions.create_new_session(user, **options)


# What is asked of the store


def test_without_a_cap_a_session_is_inserted_and_then_the_one_it_replaces_deleted(clock):
    d = with_key(deploy(clock))
    old, given = begin(d)
    driven = drive(create(d, "user-1", replaces=given.access_token.token), None, [old.handle])
    assert driven.methods == ["insert_session", "delete_sessions"]
    assert driven.asked[1][1] == ("public", [old.handle], d.cause("sign_in", START))


@pytest.mark.parametrize(("policy", "evicts"), [("evict_oldest", True), ("reject", False)])
def test_with_a_cap_it_is_one_step(clock, policy, evicts):
    d = with_key(deploy(clock, max_sessions_per_user=3, session_limit_policy=policy))
    old, given = begin(with_key(deploy(clock, seed=2)))
    driven = drive(create(d, "user-1", replaces=given.access_token.token), ["evicted"])
    [(method, (row, *rest))] = driven.asked
    assert (method, rest) == ("insert_session_within", [3, evicts, old.handle, d.cause("sign_in", START)])
    assert row.handle == driven.result.session.handle
    driven = drive(create(d, "user-1"), [])
    assert driven.asked[0][1][1:] == (3, evicts, None, d.cause("sign_in", START))


def test_a_store_that_says_no_is_too_many_sessions(clock):
    d = with_key(deploy(clock, max_sessions_per_user=1, session_limit_policy="reject"))
    driven = drive(create(d, "user-1"), None)
    assert isinstance(driven.error, TooManySessions)
    assert (driven.error.limit, driven.error.reason, driven.error.http_status) == (1, "too_many_sessions", 409)
    assert str(driven.error) == "this user has 1 session already"


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", 5])
def test_what_is_no_token_of_ours_replaces_nothing_and_bars_no_sign_in(clock, token):
    d = with_key(deploy(clock))
    driven = drive(create(d, "user-1", replaces=token), None)
    assert driven.methods == ["insert_session"]
    assert driven.error is None


def test_a_token_with_a_wrong_signature_ends_no_session(clock):
    d = with_key(deploy(clock))
    _, given = begin(d)
    signed, _, signature = given.access_token.token.rpartition(".")
    forged = f"{signed}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    assert drive(create(d, "user-1", replaces=forged), None).methods == ["insert_session"]


# Through the facades


def test_the_oldest_session_makes_room_for_a_new_one(facades):
    sessions = facades.make(max_sessions_per_user=2)
    made = [sign_in(sessions, facades.clock).session.handle for _ in range(5)]
    assert handles(sessions) == made[-2:]
    sign_in(sessions, facades.clock, "bob")
    assert handles(sessions) == made[-2:]


def test_or_the_new_one_is_refused_until_another_has_ended(facades):
    sessions = facades.make(max_sessions_per_user=2, session_limit_policy="reject")
    made = [sign_in(sessions, facades.clock) for _ in range(2)]
    with pytest.raises(TooManySessions) as refused:
        sign_in(sessions, facades.clock)
    assert refused.value.limit == 2
    assert handles(sessions) == [one.session.handle for one in made]
    sessions.revoke_session(made[0].session.handle)
    sign_in(sessions, facades.clock)
    facades.clock.advance(timedelta(days=101))
    sign_in(sessions, facades.clock)
    assert len(handles(sessions)) == 1, "those that have expired take no room"


def test_signing_in_again_on_one_device_takes_its_own_place(facades):
    for policy in ("reject", "evict_oldest"):
        sessions = facades.make(max_sessions_per_user=2, session_limit_policy=policy)
        phone, laptop = (sign_in(sessions, facades.clock) for _ in range(2))
        again = sign_in(sessions, facades.clock, replaces=laptop.access_token.token)
        assert handles(sessions) == [phone.session.handle, again.session.handle]


def test_the_session_that_was_there_before_a_sign_in_ends_whoever_s_it_was(facades):
    sessions = facades.make()
    planted = sessions.create_new_session("mallory")
    sessions.create_new_session("ada", replaces=planted.access_token.token)
    assert handles(sessions, "mallory") == []
    assert len(handles(sessions)) == 1


def test_an_expired_access_token_still_says_which_session_ends(facades):
    sessions = facades.make()
    old = sessions.create_new_session("ada")
    facades.clock.advance(timedelta(milliseconds=HOUR + 1))
    new = sessions.create_new_session("ada", replaces=old.access_token.token)
    assert handles(sessions) == [new.session.handle]


@pytest.mark.parametrize("policy", ["evict_oldest", "reject"])
def test_sixteen_sign_ins_at_once_through_the_facade_leave_exactly_the_cap(tmp_path, policy):
    def attempt(_number):
        try:
            return sessions.create_new_session("ada").session.handle
        except TooManySessions:
            return None

    with (
        Sessions(
            f"sqlite:///{tmp_path}/sessions.db",
            secret=SECRET,
            algorithm="EdDSA",
            max_sessions_per_user=3,
            session_limit_policy=policy,
        ) as sessions,
        ThreadPoolExecutor(16) as threads,
    ):
        made = [handle for handle in threads.map(attempt, range(16)) if handle]
        assert len(handles(sessions)) == 3
        assert len(made) == (3 if policy == "reject" else 16)
