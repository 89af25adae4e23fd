"""How signing keys are looked for, made and agreed on."""

from datetime import timedelta

import pytest

from tallystick import flows, key_flows
from tallystick.calls import Work
from tallystick.errors import GeneralError, TryRefreshToken
from tallystick.testing import START
from tests.unit.flows.test_create_and_verify import begin, create, verify, with_key
from tests.unit.workshop import DAY, FOREIGN, Keysmith, decode, deploy, drive, keys_of, make_row


def kids(jwks):
    return [key["kid"] for key in jwks["keys"]]


def test_the_first_key_is_looked_for_made_inserted_and_read_back(clock):
    rows, smith = [], Keysmith()
    driven = drive(
        flows.jwks(deploy(clock, keysmith=smith)),
        lambda app_id: list(rows),
        lambda row: not rows.append(row),
        lambda app_id: list(rows),
    )
    assert driven.methods == ["load_keys", "insert_key", "load_keys"]
    assert kids(driven.result) == [rows[0].kid]
    assert (rows[0].sequence, rows[0].created_at, rows[0].algorithm) == (1, START, "EdDSA")
    assert smith.made == ["EdDSA"]


def test_who_loses_the_insert_uses_the_winners_key(clock):
    winner = make_row()
    driven = drive(flows.jwks(deploy(clock)), [], False, [winner])
    assert driven.methods == ["load_keys", "insert_key", "load_keys"]
    assert kids(driven.result) == [winner.kid]


def test_a_key_that_another_process_made_meanwhile_is_used_and_none_is_made(clock):
    smith = Keysmith()
    driven = drive(flows.jwks(deploy(clock, keysmith=smith)), [make_row()])
    assert (driven.methods, smith.made) == (["load_keys"], [])


def test_a_next_key_has_the_next_sequence_whoever_made_the_last(clock):
    clock.advance(timedelta(days=7))
    old, unreadable = make_row(1), make_row(5, START + 1, secret=keys_of(FOREIGN))
    driven = drive(flows.jwks(deploy(clock)), [unreadable, old], True, [make_row(6, clock.now), unreadable, old])
    assert driven.asked[1][1][0].sequence == 6


def test_a_key_that_never_appears_ends_as_contended(clock):
    driven = drive(flows.jwks(deploy(clock)), *[[], False] * key_flows.ATTEMPTS)
    assert isinstance(driven.error, GeneralError)
    assert driven.error.reason == "contended"


def test_while_no_key_is_due_the_store_is_not_asked(clock):
    d = with_key(deploy(clock))
    clock.advance(timedelta(days=7) - timedelta(minutes=1))
    assert drive(flows.jwks(d)).asked == []
    clock.advance(timedelta(milliseconds=1))
    assert drive(flows.jwks(d), [make_row(), make_row(2, clock.now)]).methods == ["load_keys"]


def test_while_one_caller_makes_the_next_key_the_others_go_on_with_the_last(clock):
    d = with_key(deploy(clock))
    clock.advance(timedelta(days=7) - timedelta(seconds=30))
    renewing = flows.jwks(d)
    assert next(renewing).method == "load_keys"
    assert isinstance(renewing.send([make_row()]), Work)
    assert drive(create(d, "u"), None).methods == ["insert_session"]
    renewing.close()
    # It was given up, so the next one takes over.
    assert drive(flows.jwks(d), [make_row(), make_row(2, clock.now)]).methods == ["load_keys"]


def test_without_any_usable_key_each_caller_looks_for_itself(clock):
    d = deploy(clock)
    first = flows.jwks(d)
    assert next(first).method == "load_keys"
    assert drive(flows.jwks(d), [make_row()]).methods == ["load_keys"]
    first.close()


def test_a_store_that_fails_while_a_key_is_made_is_general_and_the_next_caller_tries_again(clock):
    d = deploy(clock)
    broken = GeneralError("down", reason="store_failed")
    assert drive(flows.jwks(d), [], broken).error is broken
    assert drive(flows.jwks(d), [make_row()]).result is not None


def test_a_wrong_secret_is_general_and_says_what_to_do(clock):
    driven = drive(create(deploy(clock, secret=FOREIGN), "u"), [make_row()])
    assert isinstance(driven.error, GeneralError)
    assert driven.error.reason == "wrong_secret"
    assert driven.methods == ["load_keys"]


def test_after_a_switch_of_algorithm_the_next_token_is_signed_by_the_new_one(clock):
    d, rows = deploy(clock, algorithm="ES256"), [make_row()]
    driven = drive(
        create(d, "u"),
        lambda app_id: list(rows),
        lambda row: not rows.insert(0, row),
        lambda app_id: list(rows),
        None,
    )
    assert decode(driven.result.access_token.token.split(".")[0])["alg"] == "ES256"


# A genuine key id that is not in the ring


def test_a_genuine_unknown_key_is_looked_for_once_and_found(clock):
    _, created = begin(with_key(deploy(clock), make_row(2, START + 1)))
    d = with_key(deploy(clock))
    driven = drive(verify(d, created.access_token.token), [make_row(1), make_row(2, START + 1)])
    assert driven.methods == ["load_keys"]
    assert driven.result.session == created.session
    assert drive(verify(d, created.access_token.token)).asked == []


def test_a_process_without_any_key_finds_the_key_of_a_genuine_token(clock):
    _, created = begin(with_key(deploy(clock)))
    assert drive(verify(deploy(clock), created.access_token.token), [make_row()]).result is not None


def test_a_genuine_key_that_the_store_does_not_have_is_not_looked_for_again_within_the_cooldown(clock):
    _, created = begin(with_key(deploy(clock), make_row(2, START + 1)))
    d = with_key(deploy(clock))
    for answers in ([[make_row()]], [], []):
        driven = drive(verify(d, created.access_token.token), *answers)
        assert isinstance(driven.error, TryRefreshToken)
        assert driven.error.reason == "unknown_key"
        assert driven.methods == ["load_keys"] * len(answers)
    clock.advance(timedelta(milliseconds=key_flows.MISS_COOLDOWN - 1))
    assert drive(verify(d, created.access_token.token)).asked == []
    clock.advance(timedelta(milliseconds=1))
    assert drive(verify(d, created.access_token.token), [make_row(2, START + 1)]).result is not None


def test_a_clock_that_was_set_back_does_not_prolong_the_cooldown(clock):
    _, created = begin(with_key(deploy(clock), make_row(2, START + 1)))
    d = with_key(deploy(clock))
    drive(verify(d, created.access_token.token), [make_row()])
    clock.advance(timedelta(days=-1))
    assert drive(verify(d, created.access_token.token), [make_row()]).methods == ["load_keys"]


def test_a_store_that_fails_while_a_key_is_looked_for_is_general_and_no_refusal(clock):
    _, created = begin(with_key(deploy(clock)))
    broken = GeneralError("down", reason="store_failed")
    d = deploy(clock)
    assert drive(verify(d, created.access_token.token), broken).error is broken
    assert drive(verify(d, created.access_token.token), [make_row()]).result is not None


@pytest.mark.parametrize("validity", [timedelta(seconds=1), timedelta(hours=1)])
def test_purge_drops_sessions_in_batches_keys_by_their_lifetime_and_old_events(clock, validity):
    d = deploy(clock, access_token_validity=validity, theft_retention=timedelta(days=3))
    batch = flows.PURGE_BATCH
    driven = drive(flows.purge(d), batch, batch, 3, 1, 1, 1)
    ms = validity // timedelta(milliseconds=1)
    assert driven.asked == [
        *[("purge_sessions", ("public", START, batch))] * 3,
        ("purge_keys", ("public", START - 7 * DAY - 2 * ms)),
        ("purge_thefts", ("public", START - 3 * DAY)),
        ("purge_endings", ("public", START)),
    ]
    assert driven.result == 2 * batch + 3
