"""What create and verify ask of the store, in which order, and that the usual verify asks nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tallystick import flows
from tallystick.calls import run
from tallystick.errors import BadInput, GeneralError, TryRefreshToken, Unauthorised
from tallystick.protocol.encoding import hash_again, hash_token
from tallystick.storage.memory import MemoryStore
from tallystick.testing import START
from tallystick.types import OMITTED
from tests.unit.workshop import (
    DAY,
    FOREIGN,
    HOUR,
    decode,
    deploy,
    drive,
    encode,
    keys_of,
    make_row,
    make_view_with_news_after_the_search,
    sign,
)


@pytest.fixture
def d(clock):
    """A deployment that has a signing key already."""
    return with_key(deploy(clock))


def with_key(d, row=None):
    drive(flows.jwks(d), [row or make_row()])
    return d


def create(d, *args, **options):
    options = {"tenant_id": "public", "enable_anti_csrf": False, **options}
    return flows.create(d, *args, *[None] * (3 - len(args)), **options)


def verify(d, text, anti_csrf=None, id_refresh=OMITTED, **options):
    options = {"do_anti_csrf_check": True, "check_database": False, **options}
    return flows.verify(d, text, anti_csrf, id_refresh, **options)


def begin(d, *args, **options):
    """A new session: its row, and what its client got."""
    driven = drive(create(d, *(args or ["user-1"]), **options), None)
    [(_, (row,))] = driven.asked
    return row, driven.result


def refresh_once(d, row, created):
    return drive(flows.refresh(d, created.refresh_token.token, None), row).result


# Create


def test_create_inserts_one_row_and_asks_nothing_else(d):
    driven = drive(create(d, "user-1", {"role": "x"}, {"cart": [1]}), None)
    [(method, (row,))] = driven.asked
    created = driven.result
    assert method == "insert_session"
    assert (row.app_id, row.tenant_id, row.user_id, row.generation) == ("public", "public", "user-1", 0)
    assert (row.jwt_payload, row.session_data) == ('{"role":"x"}', '{"cart":[1]}')
    assert row.line == hash_again(hash_token(created.refresh_token.token))
    assert (row.previous, row.used_at) == (None, None)
    assert (row.created_at, row.expires_at, row.absolute_expires_at) == (START, START + 100 * DAY, START + 365 * DAY)
    assert row.handle == created.session.handle


def test_the_first_create_of_all_makes_a_signing_key_before_the_row(clock):
    d = deploy(clock)
    rows = []
    driven = drive(
        create(d, "user-1"),
        lambda app_id: list(rows),
        lambda row: not rows.append(row),
        lambda app_id: list(rows),
        None,
    )
    assert driven.methods == ["load_keys", "insert_key", "load_keys", "insert_session"]


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("",), "bad_user_id"),
        (("u", {"sub": 1}), "reserved_claim"),
        (("u", []), "not_an_object"),
        (("u", None, {"a": b""}), "not_json"),
        (("u", {"a": "x" * 5000}), "too_large"),
        (("u", None, {"a": "x" * 70_000}), "too_large"),
    ],
)
def test_create_refuses_bad_input_before_the_store_is_asked_even_for_a_key(clock, args, reason):
    driven = drive(create(deploy(clock), *args))
    assert isinstance(driven.error, BadInput)
    assert (driven.error.reason, driven.asked) == (reason, [])


def test_create_says_so_when_the_store_already_has_the_handle(d):
    store = MemoryStore()
    run(create(d, "u"), store)
    twin = with_key(deploy(d.clock))  # the same dice, so the same handle
    with pytest.raises(GeneralError) as broken:
        run(create(twin, "u"), store)
    assert broken.value.reason == "store_failed"
    assert isinstance(broken.value.__cause__, KeyError)


# Verify: the usual one


def test_the_usual_verify_makes_no_store_call(d):
    _, created = begin(d, "user-1", {"role": "x"})
    driven = drive(verify(d, created.access_token.token))
    assert driven.asked == []
    assert driven.result.session == created.session
    assert driven.result.access_token is None


def garbage(d):
    _, created = begin(d)
    text = created.access_token.token
    header, claims, signature = text.split(".")
    ring = d.keys.ring
    foreign = with_key(deploy(d.clock, secret=FOREIGN), make_row(secret=keys_of(FOREIGN)))
    other_app = with_key(deploy(d.clock, app_id="other"), make_row(secret=keys_of(app_id="other"), app_id="other"))
    return {
        "text": "garbage",
        "dots": "a.b.c",
        "bytes": text.encode(),
        "megabyte": "A" * 1_000_000,
        "wrong signature": f"{header}.{claims}.{'A' * len(signature)}",
        "foreign key id": begin(foreign)[1].access_token.token,
        "another app's": begin(other_app)[1].access_token.token,
        "none": f"{encode({**decode(header), 'alg': 'none'})}.{claims}.",
        "made-up key id": f"{encode({**decode(header), 'kid': f'd-{START}-2-AAAAAAAAAAAAAAAA'})}.{claims}.{signature}",
        "jku": sign({**decode(header), "jku": "http://x"}, claims, ring.keys[0].signer),
        "refresh token": created.refresh_token.token,
        "front token": created.front_token,
        "id refresh token": created.id_refresh_token.token,
    }


@pytest.mark.parametrize("kind", garbage(with_key(deploy(lambda: START))))
@pytest.mark.parametrize("check_database", [False, True])
def test_what_is_not_ours_is_refused_without_a_store_call(d, kind, check_database):
    text = garbage(d)[kind]
    for flow in (verify(d, text, check_database=check_database), flows.regenerate(d, text, None)):
        driven = drive(flow)
        assert isinstance(driven.error, TryRefreshToken)
        assert driven.asked == []


OF_ANOTHER_KEY = {"foreign key id", "another app's", "made-up key id"}


@pytest.mark.parametrize(
    "kind",
    [kind for kind in garbage(with_key(deploy(lambda: START))) if kind not in {"wrong signature", *OF_ANOTHER_KEY}],
)
def test_what_is_not_ours_is_refused_without_a_store_call_by_a_process_that_has_no_keys_yet(clock, kind):
    text = garbage(with_key(deploy(clock)))[kind]
    driven = drive(verify(deploy(clock), text))
    assert isinstance(driven.error, TryRefreshToken)
    assert driven.asked == []


def judge(d, text, *answers):
    """What a process says of an access token or a refresh token, and what it asks."""
    flow = flows.refresh(d, text, None) if text.endswith(".T1") else verify(d, text)
    driven = drive(flow, *answers)
    return driven.error.reason, driven.methods


def not_ours(clock):
    texts = garbage(with_key(deploy(clock)))
    _, created = begin(with_key(deploy(clock, secret=FOREIGN), make_row(secret=keys_of(FOREIGN))))
    return [*((texts[kind], "unknown_key") for kind in OF_ANOTHER_KEY), (created.refresh_token.token, "bad_token")]


def test_a_process_that_has_no_keys_yet_makes_sure_that_it_is_not_its_secret_that_is_wrong(clock):
    for text, reason in not_ours(clock):
        d = deploy(clock)
        assert judge(d, text, [make_row()]) == (reason, ["load_keys"])
        assert judge(d, text) == (reason, []), "once"


def test_where_nobody_has_made_a_key_or_all_have_retired_it_looks_again(clock):
    for text, reason in not_ours(clock):
        d = deploy(clock)
        for answer in ([], [make_row()]):
            assert judge(d, text, answer) == (reason, ["load_keys"])
        assert judge(d, text) == (reason, [])
        clock.advance(timedelta(days=30))
        assert judge(d, text, [make_row()])[1] == ["load_keys"]
        clock.advance(timedelta(days=-30))


def test_who_has_been_given_the_wrong_secret_signs_nobody_out(clock):
    for text, _ in not_ours(clock):
        d = deploy(clock)
        for _ in range(2):
            assert judge(d, text, [make_row(secret=keys_of(FOREIGN))]) == ("wrong_secret", ["load_keys"])


@pytest.mark.parametrize("missing", [None, ""])
def test_a_missing_access_token_is_told_from_a_bad_one(d, missing):
    driven = drive(verify(d, missing))
    assert isinstance(driven.error, TryRefreshToken)
    assert (driven.error.reason, driven.asked) == ("missing_token", [])


@pytest.mark.parametrize("id_refresh", [None, ""])
def test_without_an_id_refresh_token_there_is_no_session_whatever_the_access_token(d, id_refresh):
    _, created = begin(d)
    for text in (created.access_token.token, None, "garbage"):
        driven = drive(verify(d, text, id_refresh=id_refresh))
        assert isinstance(driven.error, Unauthorised)
        assert driven.error.reason == "no_id_refresh_token"


@pytest.mark.parametrize("id_refresh", [OMITTED, "anything"])
def test_an_id_refresh_token_that_is_there_or_omitted_is_not_looked_at(d, id_refresh):
    _, created = begin(d)
    assert drive(verify(d, created.access_token.token, id_refresh=id_refresh)).result is not None


# Verify: first use


def test_the_first_use_is_loaded_marked_and_replaced(d, clock):
    row, created = begin(d)
    child = refresh_once(d, row, created)
    clock.advance(timedelta(seconds=5))
    driven = drive(verify(d, child.access_token.token), row, True)
    assert driven.asked == [
        ("load_session", ("public", row.handle)),
        ("mark_used", ("public", row.handle, row.line, START + 5000, START + 5000 + 100 * DAY)),
    ]
    claims = decode(driven.result.access_token.token.split(".")[1])
    assert claims["parentRefreshTokenHash1"] is None
    assert claims["refreshTokenHash1"] == hash_token(child.refresh_token.token)
    assert driven.result.access_token.expiry == START + 5000 + HOUR
    assert drive(verify(d, driven.result.access_token.token)).asked == []


def test_a_token_used_before_is_replaced_again_and_nothing_is_written(d):
    row, created = begin(d)
    child = refresh_once(d, row, created)
    driven = drive(verify(d, child.access_token.token), replace(row, used_at=START))
    assert driven.methods == ["load_session"]
    assert driven.result.access_token is not None


def test_a_lost_mark_is_judged_anew_on_the_row_as_it_is_then(d):
    row, created = begin(d)
    child = refresh_once(d, row, created)
    driven = drive(verify(d, child.access_token.token), row, False, replace(row, used_at=START))
    assert driven.methods == ["load_session", "mark_used", "load_session"]
    assert driven.result.access_token is not None


def test_a_row_that_vanishes_between_reading_and_marking_is_no_session(d):
    row, created = begin(d)
    child = refresh_once(d, row, created)
    driven = drive(verify(d, child.access_token.token), row, False, None)
    assert isinstance(driven.error, Unauthorised)
    assert driven.error.reason == "no_session"


def test_a_mark_that_is_lost_each_time_ends_as_contended_and_never_as_a_sign_out(d):
    row, created = begin(d)
    child = refresh_once(d, row, created)
    driven = drive(verify(d, child.access_token.token), *[row, False] * flows.ATTEMPTS)
    assert isinstance(driven.error, GeneralError)
    assert driven.error.reason == "contended"
    assert driven.methods == ["load_session", "mark_used"] * flows.ATTEMPTS


@pytest.mark.parametrize("over", [None, {"expires_at": START}, {"absolute_expires_at": START}])
def test_the_first_use_of_a_session_that_is_over_is_unauthorised(d, over):
    row, created = begin(d)
    child = refresh_once(d, row, created)
    driven = drive(verify(d, child.access_token.token), None if over is None else replace(row, **over))
    assert isinstance(driven.error, Unauthorised)


def test_a_sibling_that_lost_is_accepted_without_a_replacement(d):
    row, created = begin(d)
    child = refresh_once(d, row, created)
    line = hash_again(hash_token("the other child"))
    driven = drive(verify(d, child.access_token.token), replace(row, generation=1, line=line, previous=row.line))
    assert driven.methods == ["load_session"]
    assert driven.result.access_token is None


def test_the_stored_payload_is_in_the_replacement(d):
    row, created = begin(d, "user-1", {"role": "old"})
    child = refresh_once(d, row, created)
    driven = drive(verify(d, child.access_token.token), replace(row, jwt_payload='{"role":"new"}'), True)
    assert driven.result.session.jwt_payload == {"role": "new"}
    assert decode(driven.result.access_token.token.split(".")[1])["role"] == "new"


def test_a_replacement_never_outlives_the_sessions_absolute_end(d):
    row, created = begin(d)
    row = replace(row, absolute_expires_at=START + 90_500)
    child = refresh_once(d, row, created)
    driven = drive(verify(d, child.access_token.token), row, True)
    assert driven.asked[1][1][-1] == START + 90_500
    assert driven.result.access_token.expiry == START + 90_000


# Verify: with the database


def test_with_the_database_one_row_is_loaded_and_the_same_payload_changes_nothing(d):
    row, created = begin(d, "user-1", {"a": 1.0, "b": "马"})
    driven = drive(verify(d, created.access_token.token, check_database=True), row)
    assert driven.asked == [("load_session", ("public", row.handle))]
    assert driven.result.access_token is None


def test_with_the_database_another_payload_replaces_the_token(d):
    row, created = begin(d)
    driven = drive(verify(d, created.access_token.token, check_database=True), replace(row, jwt_payload='{"a":1}'))
    assert driven.result.session.jwt_payload == {"a": 1}
    assert decode(driven.result.access_token.token.split(".")[1])["a"] == 1


def test_with_the_database_a_revoked_session_is_unauthorised(d):
    _, created = begin(d)
    driven = drive(verify(d, created.access_token.token, check_database=True), None)
    assert isinstance(driven.error, Unauthorised)


def test_anti_csrf_is_checked_before_the_store_is_asked(d):
    _, created = begin(d, enable_anti_csrf=True)
    driven = drive(verify(d, created.access_token.token, "wrong", check_database=True))
    assert isinstance(driven.error, TryRefreshToken)
    assert (driven.error.reason, driven.asked) == ("anti_csrf_failed", [])


def test_a_store_that_holds_no_json_is_broken_and_signs_nobody_out(d):
    row, created = begin(d)
    child = refresh_once(d, row, created)
    driven = drive(verify(d, child.access_token.token), replace(row, jwt_payload="{"), True)
    assert isinstance(driven.error, GeneralError)
    assert driven.error.reason == "corrupt_row"


def test_a_view_that_was_old_when_it_was_searched_does_not_count_though_it_is_new_a_moment_later(d):
    row, created = begin(d)
    handle, token = created.session.handle, created.access_token.token

    def late():
        return replace(d, view=make_view_with_news_after_the_search(handle, START))

    assert flows.verify_alone(d, token, None, OMITTED, True).session == created.session
    assert flows.verify_alone(late(), token, None, OMITTED, True) is None
    assert drive(verify(late(), token), row).methods == ["load_session"]
    assert drive(verify(late(), token, on_feed_silence="refuse")).error.reason == "feed_silent"
