"""The public behaviour, through both facades."""

import re
from datetime import timedelta

import jwt
import pytest

from tallystick import (
    BadInput,
    CookieTokenInfo,
    CreatedSession,
    FoundSession,
    GeneralError,
    RegeneratedToken,
    Retirement,
    SessionInfo,
    SessionInformation,
    TokenInfo,
    TokenTheftDetected,
    TryRefreshToken,
    Unauthorised,
    is_error_from_auth,
)
from tallystick.storage.memory import MemoryStore
from tallystick.testing import START
from tests.unit.workshop import DAY, FOREIGN, FORMER, HOUR, SECRET, decode

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def use(sessions, created, **options):
    return sessions.get_session(created.access_token.token, **options)


def refresh(sessions, created, *args, **options):
    return sessions.refresh_session(created.refresh_token.token, *args, **options)


def refuse(kind, method, *args, **options):
    with pytest.raises(kind) as refused:
        method(*args, **options)
    assert type(refused.value) is kind
    assert is_error_from_auth(refused.value)
    return refused.value


# Create


def test_create_gives_all_that_a_client_needs(sessions):
    created = sessions.create_new_session("user-1", {"role": "admin"}, {"cart": [1]})
    assert isinstance(created, CreatedSession)
    assert created.session == SessionInfo(created.session.handle, "user-1", {"role": "admin"}, "public")
    assert re.fullmatch(UUID, created.session.handle)
    access, refresh_, id_refresh = created.access_token, created.refresh_token, created.id_refresh_token
    assert access == CookieTokenInfo(access.token, START + HOUR, START, "/", True, None)
    assert refresh_ == CookieTokenInfo(refresh_.token, START + 100 * DAY, START, "/auth/session/refresh", True, None)
    assert id_refresh == TokenInfo(id_refresh.token, START + 100 * DAY, START)
    assert created.anti_csrf_token is None
    assert created.front_token
    assert sessions.get_session_data(created.session.handle) == {"cart": [1]}


def test_create_has_empty_payload_and_data_and_the_public_tenant_by_default(sessions):
    created = sessions.create_new_session("user-1")
    found = sessions.get_session_information(created.session.handle)
    assert (found.jwt_payload, found.session_data, found.tenant_id) == ({}, {}, "public")


def test_create_puts_a_tenant_into_session_handle_and_token(sessions):
    created = sessions.create_new_session("user-1", tenant_id="t1")
    assert created.session.tenant_id == "t1"
    assert re.fullmatch(UUID + "_t1", created.session.handle)
    assert use(sessions, created).session == created.session


def test_create_takes_cookie_attributes_from_the_configuration(facades):
    sessions = facades.make(
        api_domain="http://localhost:3000",
        cookie_domain=".example.com",
        access_token_path="/app",
        refresh_token_path="/r",
        refresh_token_validity=timedelta(days=1),
        access_token_validity=timedelta(seconds=90),
    )
    created = sessions.create_new_session("u")
    access, refresh_ = created.access_token, created.refresh_token
    assert (access.cookie_path, access.cookie_secure, access.domain) == ("/app", False, ".example.com")
    assert (refresh_.cookie_path, refresh_.cookie_secure, refresh_.domain) == ("/r", False, ".example.com")
    assert (access.expiry, refresh_.expiry) == (START + 90_000, START + DAY)


def test_two_sign_ins_never_share_a_token_and_only_keywords_name_tenant_and_anti_csrf(sessions):
    one, other = sessions.create_new_session("u"), sessions.create_new_session("u")
    for name in ("access_token", "refresh_token", "id_refresh_token"):
        assert getattr(one, name).token != getattr(other, name).token
    with pytest.raises(TypeError):
        sessions.create_new_session("u", {}, {}, "t1")


def test_create_refuses_what_a_session_cannot_hold(sessions):
    for args, reason in (
        (("",), "bad_user_id"),
        ((5,), "bad_user_id"),
        (("u", {"sub": "x"}), "reserved_claim"),
        (("u", {"a": "x" * 4000}), "too_large"),
        (("u", None, {"a": {1}}), "not_json"),
        (("u", "text"), "not_an_object"),
    ):
        error = refuse(BadInput, sessions.create_new_session, *args)
        assert (error.reason, error.err_type, error.http_status) == (reason, 1000, 400)
        assert isinstance(error, ValueError)
    assert sessions.get_all_session_handles_for_user("u") == []


# Get


def test_get_finds_the_session_and_replaces_nothing(sessions):
    created = sessions.create_new_session("user-1", {"role": "admin"})
    assert use(sessions, created) == FoundSession(created.session, None, None, False)


@pytest.mark.parametrize("missing", [None, ""])
def test_get_without_an_access_token_is_try_refresh_token(sessions, missing):
    error = refuse(TryRefreshToken, sessions.get_session, missing)
    assert (error.err_type, error.http_status, error.client_action) == (3000, 401, "refresh")
    assert error.reason == "missing_token"


@pytest.mark.parametrize("missing", [None, ""])
def test_get_with_no_id_refresh_token_is_unauthorised_and_omitted_it_is_not_looked_at(sessions, missing):
    created = sessions.create_new_session("u")
    error = refuse(Unauthorised, use, sessions, created, id_refresh_token=missing)
    assert (error.err_type, error.http_status, error.client_action) == (2000, 401, "sign_in")
    refuse(Unauthorised, sessions.get_session, created.access_token.token, None, True, missing)
    use(sessions, created)
    use(sessions, created, id_refresh_token="anything")
    use(sessions, created, id_refresh_token=created.id_refresh_token.token)


def test_get_refuses_a_token_after_its_last_second(sessions, clock):
    created = sessions.create_new_session("u")
    clock.advance(timedelta(hours=1))
    use(sessions, created)
    clock.advance(timedelta(milliseconds=1))
    assert refuse(TryRefreshToken, use, sessions, created).reason == "expired"


def test_get_checks_anti_csrf_only_if_the_session_was_created_with_it(sessions):
    plain = sessions.create_new_session("u")
    guarded = sessions.create_new_session("u", enable_anti_csrf=True)
    assert plain.anti_csrf_token is None
    assert use(sessions, plain, anti_csrf_token="whatever").has_anti_csrf is False
    found = use(sessions, guarded, anti_csrf_token=guarded.anti_csrf_token)
    assert found.has_anti_csrf is True
    for wrong in (None, "", "wrong", plain.access_token.token):
        error = refuse(TryRefreshToken, use, sessions, guarded, anti_csrf_token=wrong)
        assert error.reason == "anti_csrf_failed"
        assert use(sessions, guarded, anti_csrf_token=wrong, do_anti_csrf_check=False).session == guarded.session
    assert sessions.get_session(guarded.access_token.token, guarded.anti_csrf_token, True).session == guarded.session


def test_get_accepts_a_revoked_session_until_the_database_is_asked(sessions):
    created = sessions.create_new_session("u")
    assert sessions.revoke_session(created.session.handle) is True
    assert use(sessions, created).session == created.session
    assert refuse(Unauthorised, use, sessions, created, check_database=True).reason == "no_session"


def test_get_with_the_database_brings_a_changed_payload(sessions):
    created = sessions.create_new_session("u", {"a": 1})
    assert use(sessions, created, check_database=True).access_token is None
    sessions.update_jwt_payload(created.session.handle, {"a": 2})
    assert use(sessions, created).session.jwt_payload == {"a": 1}
    found = use(sessions, created, check_database=True)
    assert found.session.jwt_payload == {"a": 2}
    assert sessions.get_session(found.access_token.token).session.jwt_payload == {"a": 2}
    assert found.front_token


def test_get_refuses_every_other_token(sessions):
    created = sessions.create_new_session("u", enable_anti_csrf=True)
    for other in (created.refresh_token.token, created.id_refresh_token.token, created.front_token, "x", b"x", 5):
        assert refuse(TryRefreshToken, sessions.get_session, other).err_type == 3000


# Refresh and replacement


def test_refresh_gives_new_tokens_for_the_same_session(sessions, clock):
    created = sessions.create_new_session("u", {"a": 1}, tenant_id="t1")
    clock.advance(timedelta(hours=2))
    refreshed = refresh(sessions, created)
    assert isinstance(refreshed, CreatedSession)
    assert refreshed.session == created.session
    assert refreshed.refresh_token.expiry == clock.now + 100 * DAY
    assert refreshed.access_token.expiry == clock.now + HOUR
    for name in ("access_token", "refresh_token", "id_refresh_token"):
        assert getattr(refreshed, name).token != getattr(created, name).token


def test_the_first_use_after_a_refresh_gives_a_replacement_and_the_second_does_not(sessions):
    refreshed = refresh(sessions, sessions.create_new_session("u"))
    found = use(sessions, refreshed)
    assert isinstance(found.access_token, CookieTokenInfo)
    assert found.front_token
    assert sessions.get_session(found.access_token.token).access_token is None
    assert use(sessions, refreshed).access_token is not None  # the response was lost: once more


def test_two_tabs_refresh_at_once_and_both_stay_signed_in(sessions, clock):
    created = sessions.create_new_session("u")
    one, other = refresh(sessions, created), refresh(sessions, created)
    use(sessions, one)
    use(sessions, other)
    clock.advance(timedelta(hours=2))
    assert use(sessions, refresh(sessions, other)).session == created.session


def test_a_lost_answer_costs_nothing_however_late_it_is_noticed(sessions, clock):
    created = sessions.create_new_session("u")
    refresh(sessions, created)
    clock.advance(timedelta(days=99))
    assert use(sessions, refresh(sessions, created)).session == created.session


def test_a_thief_in_step_with_his_victim_is_found_out_at_the_next_refresh(sessions, clock):
    created = sessions.create_new_session("user-1")
    victim, thief = refresh(sessions, created), refresh(sessions, created)
    use(sessions, victim)
    use(sessions, thief)
    refresh(sessions, thief)
    error = refuse(TokenTheftDetected, refresh, sessions, victim)
    assert (error.err_type, error.http_status, error.client_action) == (4000, 401, "sign_in")
    assert (error.session_handle, error.user_id) == (created.session.handle, "user-1")
    assert sessions.get_session_information(created.session.handle) is None
    for anybody in (victim, thief, created):
        refuse(Unauthorised, refresh, sessions, anybody)


@pytest.mark.parametrize(("seconds", "is_theft"), [(10, False), (10.001, True)])
def test_the_parent_retires_after_the_grace(sessions, clock, seconds, is_theft):
    created = sessions.create_new_session("u")
    use(sessions, refresh(sessions, created))
    clock.advance(timedelta(seconds=seconds))
    if is_theft:
        assert refuse(TokenTheftDetected, refresh, sessions, created).reason == "retired"
    else:
        refresh(sessions, created)


def test_without_a_grace_the_parent_retires_at_once(facades):
    sessions = facades.make(grace=timedelta(0))
    created = sessions.create_new_session("u")
    use(sessions, refresh(sessions, created))
    assert refuse(TokenTheftDetected, refresh, sessions, created).reason == "retired"


def test_at_refresh_the_parent_retires_though_nobody_sees_the_first_use(facades, clock):
    sessions = facades.make(retirement=Retirement.AT_REFRESH)
    created = sessions.create_new_session("u")
    assert use(sessions, refresh(sessions, created)).access_token is None
    clock.advance(timedelta(seconds=10.001))
    refuse(TokenTheftDetected, refresh, sessions, created)


def test_refresh_refuses_what_is_no_refresh_token(sessions):
    created = sessions.create_new_session("u")
    for thing in (None, "", "x", created.access_token.token, created.id_refresh_token.token, 5, b"x"):
        assert refuse(Unauthorised, sessions.refresh_session, thing).reason == "bad_token"
    assert sessions.get_session_information(created.session.handle) is not None


def test_refresh_checks_a_given_anti_csrf_token_only(sessions):
    created = sessions.create_new_session("u", enable_anti_csrf=True)
    assert refresh(sessions, created, created.anti_csrf_token).anti_csrf_token
    assert refresh(sessions, created).anti_csrf_token
    assert refuse(Unauthorised, refresh, sessions, created, "wrong").reason == "anti_csrf_failed"
    assert refresh(sessions, created, enable_anti_csrf=False).anti_csrf_token is None


def test_a_session_ends_without_use_and_at_its_absolute_end(facades, clock):
    sessions = facades.make(refresh_token_validity=timedelta(days=2), absolute_lifetime=timedelta(days=5))
    idle, busy = sessions.create_new_session("u"), sessions.create_new_session("u")
    for _ in range(4):
        clock.advance(timedelta(days=1))
        busy = refresh(sessions, busy)
        busy_now = use(sessions, busy)
    assert busy_now.access_token.expiry == clock.now + HOUR
    refuse(Unauthorised, refresh, sessions, idle)
    assert busy.refresh_token.expiry == START + 5 * DAY
    clock.advance(timedelta(days=1, milliseconds=-1))
    last = refresh(sessions, busy)
    clock.advance(timedelta(milliseconds=1))
    refuse(Unauthorised, refresh, sessions, last)
    assert sessions.get_all_session_handles_for_user("u") == []


# Revoke and list


def test_revoke_session_says_whether_there_was_one(sessions):
    created = sessions.create_new_session("u")
    assert sessions.revoke_session(created.session.handle) is True
    assert sessions.revoke_session(created.session.handle) is False
    assert sessions.revoke_session("never") is False
    refuse(Unauthorised, refresh, sessions, created)
    assert refuse(BadInput, sessions.revoke_session, None).reason == "bad_handle"


def test_revoke_sessions_gives_the_handles_that_were_there(sessions):
    one, two, three = (sessions.create_new_session("u").session.handle for _ in range(3))
    assert sessions.revoke_sessions([three, "never", one, three]) == [three, one]
    assert sessions.revoke_sessions([three, one]) == []
    assert sessions.revoke_sessions([]) == []
    assert sessions.get_all_session_handles_for_user("u") == [two]
    refuse(BadInput, sessions.revoke_sessions, two)


def test_all_sessions_of_a_user_are_listed_oldest_first_and_revoked_by_tenant_or_all(sessions, clock):
    handles = []
    for tenant in ("public", "t1", "public"):
        handles.append(sessions.create_new_session("u", tenant_id=tenant).session.handle)
        clock.advance(timedelta(seconds=1))
    other = sessions.create_new_session("v").session.handle
    assert sessions.get_all_session_handles_for_user("u") == handles
    assert sessions.get_all_session_handles_for_user("u", tenant_id="t1") == [handles[1]]
    assert sessions.revoke_all_sessions_for_user("u", tenant_id="t1") == [handles[1]]
    assert sorted(sessions.revoke_all_sessions_for_user("u")) == sorted([handles[0], handles[2]])
    assert sessions.revoke_all_sessions_for_user("u") == []
    assert sessions.get_all_session_handles_for_user("v") == [other]


# Information, data, payload


def test_information_is_what_the_store_knows(sessions, clock):
    created = sessions.create_new_session("u", {"a": 1}, {"b": 2}, tenant_id="t1")
    handle = created.session.handle
    assert sessions.get_session_information(handle) == SessionInformation(
        handle, "u", "t1", START + 100 * DAY, START, {"a": 1}, {"b": 2}, START, None, None
    )
    assert sessions.get_session_data(handle) == {"b": 2}
    assert sessions.get_jwt_payload(handle) == {"a": 1}
    clock.advance(timedelta(days=100))
    for method in (sessions.get_session_information, sessions.get_session_data, sessions.get_jwt_payload):
        assert method(handle) is None
        assert method("never") is None


def test_updates_replace_whole_and_say_whether_there_was_a_session(sessions):
    handle = sessions.create_new_session("u", {"a": 1}, {"b": 2}).session.handle
    assert sessions.update_session_data(handle, {"c": 3}) is True
    assert sessions.update_jwt_payload(handle, {"d": 4}) is True
    assert (sessions.get_session_data(handle), sessions.get_jwt_payload(handle)) == ({"c": 3}, {"d": 4})
    for method in (sessions.update_session_data, sessions.update_jwt_payload, sessions.merge_into_jwt_payload):
        assert method("never", {"x": 1}) is False
    for method in (sessions.update_jwt_payload, sessions.merge_into_jwt_payload):
        assert refuse(BadInput, method, handle, {"exp": 1}).reason == "reserved_claim"
        assert refuse(BadInput, method, handle, {"x": "y" * 4000}).reason == "too_large"
    assert refuse(BadInput, sessions.update_session_data, handle, {"x": "y" * 70_000}).reason == "too_large"
    assert (sessions.get_session_data(handle), sessions.get_jwt_payload(handle)) == ({"c": 3}, {"d": 4})


def test_a_merge_adds_replaces_and_by_null_removes(sessions):
    created = sessions.create_new_session("u", {"keep": 1, "change": 1, "drop": 1})
    handle = created.session.handle
    assert sessions.merge_into_jwt_payload(handle, {"change": 2, "drop": None, "add": None, "new": [1]}) is True
    assert sessions.get_jwt_payload(handle) == {"keep": 1, "change": 2, "new": [1]}
    assert refresh(sessions, created).session.jwt_payload == {"keep": 1, "change": 2, "new": [1]}


# Regenerate


def test_regenerate_puts_another_payload_into_token_and_session_and_keeps_the_expiry(sessions, clock):
    created = sessions.create_new_session("u", {"a": 1})
    clock.advance(timedelta(minutes=30))
    made = sessions.regenerate_access_token(created.access_token.token, {"b": 2})
    assert isinstance(made, RegeneratedToken)
    assert made.session.jwt_payload == {"b": 2}
    assert made.access_token.expiry == created.access_token.expiry
    assert made.front_token
    assert sessions.get_session(made.access_token.token).session.jwt_payload == {"b": 2}
    assert sessions.get_jwt_payload(created.session.handle) == {"b": 2}
    assert sessions.regenerate_access_token(created.access_token.token).session.jwt_payload == {"b": 2}
    assert sessions.regenerate_access_token(created.access_token.token, {}).session.jwt_payload == {}


def test_regenerate_with_an_expired_token_gives_none_and_the_next_refresh_shows_the_payload(sessions, clock):
    created = sessions.create_new_session("u")
    clock.advance(timedelta(hours=1, milliseconds=1))
    made = sessions.regenerate_access_token(created.access_token.token, {"b": 2})
    assert made.access_token is None
    assert refresh(sessions, created).session.jwt_payload == {"b": 2}


def test_regenerate_refuses_bad_tokens_and_revoked_sessions(sessions):
    created = sessions.create_new_session("u")
    for bad in (None, "", "x", created.refresh_token.token, 5):
        refuse(TryRefreshToken, sessions.regenerate_access_token, bad, {})
    sessions.revoke_session(created.session.handle)
    refuse(Unauthorised, sessions.regenerate_access_token, created.access_token.token, {})


# Keys, apps, secrets


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_others_verify_by_the_published_keys(facades, algorithm):
    sessions = facades.make(algorithm=algorithm)
    text = sessions.create_new_session("u", {"role": "x"}).access_token.token
    keys = jwt.PyJWKSet.from_dict(sessions.get_jwks())
    key = keys[jwt.get_unverified_header(text)["kid"]]
    assert jwt.decode(text, key, algorithms=[algorithm], options={"verify_exp": False})["role"] == "x"


def test_two_apps_on_one_store_do_not_see_each_other(facades):
    store = MemoryStore()
    one, other = facades.make(store, app_id="one"), facades.make(store, app_id="other")
    created = one.create_new_session("u")
    handle = created.session.handle
    refuse(TryRefreshToken, use, other, created)
    refuse(Unauthorised, refresh, other, created)
    assert other.get_all_session_handles_for_user("u") == []
    assert other.get_session_information(handle) is None
    assert other.update_session_data(handle, {}) is False
    assert other.revoke_session(handle) is False
    assert other.revoke_all_sessions_for_user("u") == []
    assert not {key["kid"] for key in one.get_jwks()["keys"]} & {key["kid"] for key in other.get_jwks()["keys"]}
    assert one.get_all_session_handles_for_user("u") == [handle]


def test_two_processes_on_one_store_accept_each_others_tokens(facades):
    store = MemoryStore()
    one, other = facades.make(store), facades.make(store)
    created = one.create_new_session("u")
    assert use(other, created).session == created.session
    refreshed = refresh(other, created)
    assert use(one, refreshed).access_token is not None
    assert one.get_jwks() == other.get_jwks()


def test_a_new_secret_with_the_former_beside_it_signs_nobody_out(facades, clock):
    store = MemoryStore()
    before = facades.make(store, secret=FORMER).create_new_session("u", enable_anti_csrf=True)
    both = facades.make(store, secret=[SECRET, FORMER])
    assert use(both, before, anti_csrf_token=before.anti_csrf_token).session == before.session
    after = refresh(both, before, before.anti_csrf_token)
    clock.advance(timedelta(days=8))
    after = refresh(both, after)  # signed by a key that the new secret sealed
    new = facades.make(store, secret=SECRET)
    assert use(new, after, anti_csrf_token=after.anti_csrf_token).session == before.session
    assert refresh(new, after, after.anti_csrf_token).session == before.session


def test_a_wrong_secret_is_an_error_and_never_a_sign_out(facades):
    store = MemoryStore()
    created = facades.make(store).create_new_session("u")
    wrong = facades.make(store, secret=FOREIGN)
    assert refuse(GeneralError, wrong.create_new_session, "u").reason == "wrong_secret"
    for _ in range(2):
        assert refuse(GeneralError, use, wrong, created).reason == "wrong_secret"
        assert refuse(GeneralError, refresh, wrong, created).reason == "wrong_secret"
    assert use(facades.make(store), created).session == created.session


def test_over_a_fortnight_keys_rotate_and_honest_clients_never_notice(facades, clock):
    store = MemoryStore()
    servers = [facades.make(store) for _ in range(2)]
    clients = [servers[0].create_new_session(f"user-{i}") for i in range(3)]
    tokens = [client.access_token.token for client in clients]
    kids, published = set(), set()
    for turn in range(14 * 24 * 2 - 1):
        clock.advance(timedelta(minutes=30))
        server = servers[turn % 2]
        for i, client in enumerate(clients):
            try:
                found = server.get_session(tokens[i])
            except TryRefreshToken:
                clients[i] = refresh(server, client)
                found = servers[(turn + 1) % 2].get_session(clients[i].access_token.token)
            tokens[i] = found.access_token.token if found.access_token else tokens[i]
            kids.add(decode(tokens[i].split(".")[0])["kid"])
        published |= {key["kid"] for key in server.get_jwks()["keys"]}
        assert len(server.get_jwks()["keys"]) <= 2
    assert len(kids) == 2
    assert kids <= published
    servers[0].purge_expired()
    assert len(store.load_keys("public")) < 3


def test_purge_deletes_what_is_over_and_says_how_many(sessions, clock):
    for _ in range(3):
        sessions.create_new_session("u")
    clock.advance(timedelta(days=50))
    alive = sessions.create_new_session("u")
    assert sessions.purge_expired() == 0
    clock.advance(timedelta(days=50))
    assert sessions.purge_expired() == 3
    assert sessions.purge_expired() == 0
    assert sessions.get_all_session_handles_for_user("u") == [alive.session.handle]


def test_a_broken_store_is_general_with_its_cause_and_never_a_sign_out(facades):
    class Broken(MemoryStore):
        is_broken = False

        def load_session(self, *args):
            if self.is_broken:
                raise ConnectionError("no route to host")
            return super().load_session(*args)

    store = Broken()
    sessions = facades.make(store)
    created = sessions.create_new_session("u")
    store.is_broken = True
    for method in (refresh, lambda s, c: use(s, c, check_database=True)):
        error = refuse(GeneralError, method, sessions, created)
        assert (error.err_type, error.reason, error.http_status) == (1000, "store_failed", 503)
        assert isinstance(error.__cause__, ConnectionError)
    assert use(sessions, created).session == created.session
    store.is_broken = False
    assert refresh(sessions, created).session == created.session


def test_a_store_that_cannot_be_opened_is_general_too(facades):
    class Closed(MemoryStore):
        def open(self):
            raise ConnectionError("no route to host")

    error = refuse(GeneralError, facades.make(Closed()).open)
    assert (error.reason, type(error.__cause__)) == ("store_failed", ConnectionError)


def test_opening_makes_a_key_and_closing_is_allowed_twice(sessions):
    assert sessions.open()
    assert sessions.get_jwks()["keys"]
    sessions.close()
    sessions.close()
    assert sessions.config.algorithm == "EdDSA"
    assert repr(sessions).endswith("Store)")
