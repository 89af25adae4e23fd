"""What is different with a core: keys, themes of the interface that it has no words for, and errors."""

import asyncio
import json
import logging
from datetime import timedelta

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key

from tallystick import (
    AntiCsrf,
    AsyncSessions,
    BadInput,
    BooleanClaim,
    GeneralError,
    SessionInformation,
    Sessions,
    TokenTheftDetected,
    TryRefreshToken,
    Unauthorised,
)
from tallystick.core_deployment import LONGEST_FRESH, LONGEST_STALE
from tallystick.testing import START
from tests.remote.cores import wait_for
from tests.unit.test_facades import refresh, refuse, use
from tests.unit.workshop import DAY, HOUR, private_key

FACADES = pytest.mark.parametrize("facade", [Sessions, AsyncSessions])


# What the interface has other words for


def test_information_is_what_the_core_knows(facades):
    sessions = facades.make()
    handle = sessions.create_new_session("u", {"a": None}, {"b": 2}).session.handle
    assert sessions.get_session_information(handle) == SessionInformation(
        handle, "u", "public", START + 100 * DAY, START, {"a": None}, {"b": 2}, None, None, None
    )


def test_anti_csrf_is_checked_here_and_kept_by_each_refresh(facades):
    sessions = facades.make(anti_csrf=AntiCsrf.VIA_TOKEN)
    created = sessions.create_new_session("u", enable_anti_csrf=True)
    for wrong in (None, "", "wrong", created.access_token.token):
        assert refuse(TryRefreshToken, use, sessions, created, anti_csrf_token=wrong).reason == "anti_csrf_failed"
    assert use(sessions, created, anti_csrf_token=created.anti_csrf_token).has_anti_csrf is True
    for wrong in (None, "", "wrong"):
        refuse(Unauthorised, refresh, sessions, created, wrong)
    refreshed = refresh(sessions, created, created.anti_csrf_token)
    assert refreshed.anti_csrf_token not in (None, created.anti_csrf_token)
    found = use(sessions, refreshed, anti_csrf_token=refreshed.anti_csrf_token)
    assert (found.has_anti_csrf, found.access_token is not None) == (True, True)
    without = refresh(sessions, refreshed, enable_anti_csrf=False)
    assert without.anti_csrf_token is None


def test_anti_csrf_that_a_refresh_would_lose_or_not_check_is_refused(facades):
    sessions = facades.make()
    error = refuse(BadInput, sessions.create_new_session, "u", enable_anti_csrf=True)
    assert (error.reason, "VIA_TOKEN" in error.message) == ("bad_anti_csrf", True)
    created = sessions.create_new_session("u")
    assert refuse(BadInput, refresh, sessions, created, "x", enable_anti_csrf=False).reason == "bad_anti_csrf"


def test_what_is_no_refresh_token_is_refused_by_us_or_by_the_core(facades):
    sessions = facades.make()
    created = sessions.create_new_session("u")
    for thing in (None, "", 5, b"x", "x\n", "é", "x" * 9000):
        assert refuse(Unauthorised, sessions.refresh_session, thing).reason == "bad_token"
    for thing in ("x", created.access_token.token, created.id_refresh_token.token):
        assert refuse(Unauthorised, sessions.refresh_session, thing).reason == "no_session"
    assert sessions.get_session_information(created.session.handle) is not None


@pytest.mark.parametrize("grace", [0, 10])
def test_a_theft_ends_the_session_and_is_told(facades, clock, grace):
    told = []
    sessions = facades.make(grace=timedelta(seconds=grace), on_token_theft=told.append)
    created = sessions.create_new_session("u")
    refreshed = refresh(sessions, created)
    use(sessions, refreshed)
    clock.advance(timedelta(seconds=grace))
    if grace:
        refresh(sessions, created)
        clock.advance(timedelta(milliseconds=1))
    error = refuse(TokenTheftDetected, refresh, sessions, created)
    assert (error.session_handle, error.user_id, error.reason) == (created.session.handle, "u", "reuse")
    wait_for(lambda: bool(told))
    (event,) = told
    assert (event.session_handle, event.user_id, event.tenant_id, event.kind) == (
        created.session.handle,
        "u",
        "public",
        "reuse",
    )
    assert (event.presented_generation, event.line_generation, event.detected_at) == (None, None, clock.now)
    assert sessions.get_session_information(created.session.handle) is None
    refuse(Unauthorised, refresh, sessions, refreshed)


def test_a_sign_in_ends_the_session_that_the_client_had(facades, clock):
    sessions = facades.make()
    before = sessions.create_new_session("u")
    clock.advance(timedelta(hours=2))  # an expired token names its session as well
    after = sessions.create_new_session("u", replaces=before.access_token.token)
    assert sessions.get_all_session_handles_for_user("u") == [after.session.handle]
    for thing in ("x", after.refresh_token.token, before.access_token.token[:-4] + "AAAA"):
        sessions.create_new_session("v", replaces=thing)
    assert sessions.get_all_session_handles_for_user("u") == [after.session.handle]


def test_what_the_interface_has_no_words_for_is_refused_with_what_to_do(facades):
    sessions = facades.make()
    assert refuse(GeneralError, sessions.get_theft_events).reason == "not_over_cdi"
    assert sessions.purge_expired() == 0


@FACADES
@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("grace", timedelta(0), "refresh_token_rotation_grace_period"),
        ("access_token_validity", timedelta(hours=1), "access_token_validity"),
        ("signing_key_interval", timedelta(hours=1), "access_token_dynamic_signing_key_update_interval"),
        ("max_sessions_per_user", 5, "its interface knows nothing of the kind"),
        ("algorithm", "RS256", "its interface knows nothing of the kind"),
        ("secret", "s" * 40, "the core has its own"),
        ("migrate", True, "the core has its own"),
    ],
)
def test_what_the_core_decides_is_not_for_the_app_to_say(facade, setting, value, said):
    with pytest.raises(GeneralError, match=said) as refused:
        facade("http://core:3567", **{setting: value})
    assert refused.value.reason == "bad_config"


@FACADES
def test_the_classic_interface_goes_without_anti_csrf_only(facade):
    classic = {"browser_interface": "classic", "token_transfer_method": "cookie"}
    facade("http://core:3567", anti_csrf=AntiCsrf.NONE, **classic)
    with pytest.raises(GeneralError, match="classic"):
        facade("http://core:3567", anti_csrf=AntiCsrf.VIA_TOKEN, **classic)


@FACADES
def test_an_api_key_is_a_cores(facade):
    with pytest.raises(GeneralError, match="goes with a URL such as http") as refused:
        facade("memory://", api_key="a-key")
    assert refused.value.reason == "bad_config"


def test_an_unknown_tenant_is_named_when_it_is_asked_for_and_in_a_handle_is_no_session(facades):
    sessions = facades.make()
    for ask in (
        lambda: sessions.create_new_session("u", tenant_id="nowhere"),
        lambda: sessions.get_all_session_handles_for_user("u", tenant_id="nowhere"),
        lambda: sessions.revoke_all_sessions_for_user("u", tenant_id="nowhere"),
    ):
        assert refuse(BadInput, ask).reason == "unknown_tenant"
    handle = sessions.create_new_session("u").session.handle
    gone = f"{handle}_nowhere"
    assert sessions.get_session_information(gone) is None
    assert sessions.update_session_data(gone, {}) is False
    assert sessions.update_jwt_payload(gone, {}) is False
    assert sessions.revoke_session(gone) is False
    assert sessions.revoke_sessions([gone, handle]) == [handle]


def test_a_payload_is_measured_before_it_is_sent(facades):
    sessions = facades.make()
    short, long = (sessions.create_new_session(user).session.handle for user in ("u", "u" * 128))
    payload = {"x": "y" * 2050}
    assert sessions.update_jwt_payload(short, payload) is True
    assert refuse(BadInput, sessions.update_jwt_payload, long, {"x": "y" * 4000}).reason == "too_large"
    assert refuse(BadInput, sessions.merge_into_jwt_payload, long, {"x": "y" * 4000}).reason == "too_large"
    assert sessions.update_jwt_payload("never", payload) is False
    assert sessions.get_jwt_payload(short) == payload


def test_a_token_of_another_is_not_regenerated_though_the_core_would(facades):
    sessions = facades.make()
    created = sessions.create_new_session("u")
    forged = jwt.encode(
        jwt.decode(created.access_token.token, options={"verify_signature": False}),
        load_der_private_key(private_key("RS256", 99), None),
        "RS256",
        headers={**jwt.get_unverified_header(created.access_token.token)},
    )
    refuse(TryRefreshToken, sessions.regenerate_access_token, forged, {"role": "admin"})
    assert sessions.get_jwt_payload(created.session.handle) == {}


# Tokens of other clients of the core


@pytest.mark.parametrize(("version", "number"), [("2.21", "3"), ("3.0", "4"), ("4.0", "5"), ("5.5", "5")])
@pytest.mark.parametrize("is_dynamic", [True, False])
def test_a_session_that_an_sdk_of_another_version_made_is_ours_too(facades, version, number, is_dynamic):
    sessions = facades.make()
    body = {
        "userId": "u",
        "userDataInJWT": {"a": 1},
        "userDataInDatabase": {},
        "enableAntiCsrf": False,
        "useDynamicSigningKey": is_dynamic,
    }
    made = httpx.post(f"{facades.url}/recipe/session", json=body, headers={"cdi-version": version}, timeout=20).json()
    token = made["accessToken"]["token"]
    header = jwt.get_unverified_header(token)
    assert (header["version"], header["kid"][:2]) == (number, "d-" if is_dynamic else "s-")
    found = sessions.get_session(token)
    assert (found.session.user_id, found.session.tenant_id, found.session.jwt_payload) == ("u", "public", {"a": 1})
    regenerated = sessions.regenerate_access_token(token, {"a": 2})
    assert regenerated.front_token
    assert sessions.get_session(regenerated.access_token.token).session.jwt_payload == {"a": 2}
    assert sessions.refresh_session(made["refreshToken"]["token"]).session.jwt_payload == {"a": 2}


# Keys


def make_stranger(sessions, number):
    """A token that is right but for its key, which nobody has published."""
    token = sessions.create_new_session("u").access_token.token
    claims = jwt.decode(token, options={"verify_signature": False})
    header = {"kid": f"d-{number}", "version": "5"}
    return jwt.encode(claims, load_der_private_key(private_key("EdDSA"), None), "EdDSA", headers=header)


def test_the_usual_request_asks_nobody(facades, board):
    sessions = facades.make()
    token = sessions.create_new_session("u").access_token.token
    sessions.get_session(token)
    asked = board.asked.total()
    for _ in range(5):
        sessions.get_session(token)
    assert board.asked.total() == asked


def test_strangers_key_ids_make_us_look_once_a_second_at_the_most(facades, board, clock):
    sessions = facades.make()
    sessions.open()
    strangers = [make_stranger(sessions, number) for number in range(6)]
    before = board.count_keys(facades.url)
    for expected in (before, before + 1, before + 2):
        for stranger in strangers:
            assert refuse(TryRefreshToken, sessions.get_session, stranger).reason == "unknown_key"
        assert board.count_keys(facades.url) == expected
        clock.advance(timedelta(seconds=1))


def test_a_key_that_is_new_is_found_when_it_is_first_met(facades, clock):
    sessions, url = facades.make(), facades.url
    other = facades.make(url)
    created = sessions.create_new_session("u")
    use(other, created)
    clock.advance(timedelta(days=8))
    refreshed = refresh(sessions, created)
    assert (
        jwt.get_unverified_header(refreshed.access_token.token)["kid"]
        != (jwt.get_unverified_header(created.access_token.token)["kid"])
    )
    found = use(other, refreshed)
    assert other.get_session(found.access_token.token).session.user_id == "u"
    assert {key["kid"] for key in other.get_jwks()["keys"]} == {key["kid"] for key in sessions.get_jwks()["keys"]}


def test_keys_are_read_again_while_the_old_ones_serve(facades, board, clock):
    sessions = facades.make(access_token_validity=timedelta(days=3))
    token = sessions.create_new_session("u").access_token.token
    sessions.get_session(token)
    before = board.count_keys(facades.url)
    clock.advance(timedelta(milliseconds=LONGEST_FRESH))
    assert sessions.get_session(token).session.user_id == "u"

    def are_read() -> bool:
        sessions.get_session(token)
        if facades.kind == "async":
            sessions.get_jwt_payload("nobody")  # lets the event loop run
        return board.count_keys(facades.url) == before + 1

    wait_for(are_read)


def test_keys_that_cannot_be_read_again_serve_for_a_day_and_then_nobody_is_signed_out(facades, board, clock, caplog):
    sessions = facades.make(access_token_validity=timedelta(days=3))
    token = sessions.create_new_session("u").access_token.token
    sessions.get_session(token)
    board.broken.add(facades.url)
    clock.advance(timedelta(hours=2))
    for _ in range(3):
        assert sessions.get_session(token).session.user_id == "u"

    def is_logged() -> bool:
        refuse(GeneralError, sessions.get_jwt_payload, "nobody")
        return "reading the core's public keys failed" in caplog.text

    with caplog.at_level(logging.WARNING, "tallystick"):
        wait_for(is_logged)
    clock.advance(timedelta(milliseconds=LONGEST_STALE))
    error = refuse(GeneralError, sessions.get_session, token)
    assert (error.reason, error.http_status) == ("store_failed", 503)
    board.broken.remove(facades.url)
    assert sessions.get_session(token).session.user_id == "u"


def test_a_key_that_is_withdrawn_verifies_nothing_any_more(facades, scripted, clock):
    core = facades.make()
    token = core.create_new_session("u").access_token.token
    keys = core.get_jwks()
    scripted.answer(200, json.dumps(keys).encode(), cache_control="max-age=60, must-revalidate")
    scripted.answer(200, b'{"keys":[]}')
    sessions = facades.make(scripted.url)
    for _ in range(2):
        assert sessions.get_session(token).session.user_id == "u"
    clock.advance(timedelta(seconds=60))

    def is_refused() -> bool:
        try:
            sessions.get_session(token)
        except TryRefreshToken as error:
            return error.reason == "unknown_key"
        with pytest.raises(GeneralError):
            sessions.get_session_information("h")  # lets the event loop run; there is no core behind it
        return False

    wait_for(is_refused)


# Event loops


def test_one_facade_serves_event_loops_one_after_another_and_keeps_nothing_of_them(board, clock):
    sessions = AsyncSessions(board.add(clock), clock=clock)

    async def sign_in_and_count() -> int:
        await sessions.create_new_session("u")
        return len(await sessions.get_all_session_handles_for_user("u"))

    assert [asyncio.run(sign_in_and_count()) for _ in range(3)] == [1, 2, 3]
    assert not sessions._store._lines
    assert not sessions._store._closers


# What answers otherwise


def test_what_is_sent_names_version_and_key_and_no_more(facades, scripted):
    scripted.answer(200, b'{"status":"UNAUTHORISED","message":"x"}')
    sessions = facades.make(f"{scripted.url}/base", api_key="a-key-of-the-core", app_id="shop")
    assert sessions.get_session_information("h ä&") is None
    ((method, path, headers, body),) = scripted.heard
    assert (method, path, body) == ("GET", "/base/appid-shop/recipe/session?sessionHandle=h+%C3%A4%26", b"")
    assert {name.lower(): value for name, value in headers.items()} == {
        "host": scripted.url.removeprefix("http://"),
        "cdi-version": "5.4",
        "api-key": "a-key-of-the-core",
        "accept": "application/json",
        "user-agent": "tallystick",
    }
    assert "a-key-of-the-core" not in repr(sessions)


def test_the_api_key_comes_from_the_environment_where_none_is_passed(facades, scripted, monkeypatch):
    monkeypatch.setenv("TALLYSTICK_API_KEY", "from-the-environment")
    scripted.answer(200, b'{"status":"UNAUTHORISED","message":"x"}')
    facades.make(scripted.url).get_session_information("h")
    assert scripted.heard[0][2]["api-key"] == "from-the-environment"
    for bad in ("with\nbreak", 5):
        with pytest.raises(GeneralError) as refused:
            facades.make(scripted.url, api_key=bad)
        assert (refused.value.reason, "break" in refused.value.message) == ("bad_config", False)


@pytest.mark.parametrize(
    ("status", "body", "reason", "http_status"),
    [
        (400, b"cdi-version 5.4 not supported\n", "unsupported_core", 500),
        (400, b"AppId or tenantId not found => (x)\n", "unknown_tenant", 400),
        (400, b"Field name 'userId' is invalid in JSON input\n", "core_refused", 500),
        (401, b"Invalid API key\n", "bad_api_key", 500),
        (403, b"\n", "core_refused", 500),
        (404, b"Not found\n", "no_core", 500),
        (302, b"", "no_core", 500),
        (200, b"Hello\n", "no_core", 500),
        (200, b"[]", "no_core", 500),
        (200, b"{}", "no_core", 500),
        (200, b"\xff", "no_core", 500),
        (200, b"[" * 100_000, "no_core", 500),
        (200, b'{"status":"OK"}', "no_core", 500),
        (200, b'{"status":"OK","session":{"handle":5}}', "no_core", 500),
        (500, b"java.lang.Exception: secret", "store_failed", 503),
        (503, b"busy", "store_failed", 503),
        (429, b"", "store_failed", 503),
    ],
)
def test_whatever_else_answers_is_general_and_says_what_to_do(facades, scripted, status, body, reason, http_status):
    sessions = facades.make(scripted.url, core_timeout=timedelta(milliseconds=400))
    scripted.answer(status, body)
    for ask in (lambda: sessions.create_new_session("u"), lambda: sessions.refresh_session("some-token")):
        error = refuse(BadInput if reason == "unknown_tenant" else GeneralError, ask)
        assert (error.reason, error.http_status) == (reason, http_status)
        assert "some-token" not in error.message
        assert "secret" not in error.message


def test_an_answer_of_429_is_tried_again(facades, scripted):
    scripted.answer(429, retry_after="0")
    scripted.answer(429)
    scripted.answer(200, b'{"status":"OK","sessionHandles":["h"]}')
    assert facades.make(scripted.url).get_all_session_handles_for_user("u") == ["h"]
    assert len(scripted.heard) == 3


def test_an_answer_that_has_no_end_is_given_up(facades, scripted):
    scripted.answer(200, b" " * (16 * 1024 * 1024 + 1))
    sessions = facades.make(scripted.url, core_timeout=timedelta(seconds=20))
    assert refuse(GeneralError, sessions.get_session_information, "h").reason == "store_failed"


def test_a_slow_host_is_given_up_for_another_but_a_creation_is_not_sent_twice(facades, scripted):
    good = facades.make()
    handle = good.create_new_session("u").session.handle
    scripted.delay = 2.0
    scripted.answer(200, b'{"status":"OK"}')
    settings = {"core_timeout": timedelta(seconds=1)}
    hosts = f"{scripted.url},{facades.url}"
    assert [facades.make(hosts, **settings).get_session_information(handle).user_id for _ in range(2)] == ["u"] * 2
    both = facades.make(hosts, **settings)
    heard = len(scripted.heard)
    assert [both.get_session_information(handle).user_id for _ in range(4)] == ["u"] * 4
    assert len(scripted.heard) == heard + 1, "a host that did not answer is asked last for a while"
    error = refuse(GeneralError, facades.make(scripted.url, **settings).create_new_session, "v")
    assert (error.reason, "is not known" in error.message) == ("store_failed", True)
    assert [method for method, *_ in scripted.heard].count("POST") == 1
    assert good.get_all_session_handles_for_user("v") == []


def test_claims_are_fetched_stored_and_shown(facades):
    verified = BooleanClaim("ok", lambda *_: True)
    sessions = facades.make(claim_validators=[verified.validators.is_true()])
    created = sessions.create_new_session("u")
    found = use(sessions, created)
    assert found.session.jwt_payload["ok"]["v"] is True
    assert found.access_token is not None
    assert sessions.get_claim_value(created.session.handle, verified) is True


def test_tokens_have_the_cores_times(facades, clock):
    sessions = facades.make(access_token_validity=timedelta(minutes=5), refresh_token_validity=timedelta(days=1))
    created = sessions.create_new_session("u")
    assert created.access_token.expiry == START + HOUR // 12
    assert created.refresh_token.expiry == START + DAY
