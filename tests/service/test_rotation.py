"""Refreshes as clients of each version see them: the timelines of spec/cdi.md, appendix B, over our rotation."""

from datetime import timedelta

import pytest

from tests.service.cores import NEWEST, Core, claims_of


def refresh_token(answer):
    return answer["refreshToken"]["token"]


def access_token(answer):
    return answer["accessToken"]["token"]


async def test_the_timeline_up_to_5_5(core):
    r0 = refresh_token(created := await core.create())
    handle = created["session"]["handle"]
    first, sibling = await core.refresh(r0), await core.refresh(r0)
    assert claims_of(access_token(first))["parentRefreshTokenHash1"] is not None
    before = (await core.get("/recipe/session", sessionHandle=handle))["expiry"]
    core.clock.advance(timedelta(minutes=1))
    used = await core.verify(access_token(first))
    assert claims_of(access_token(used))["parentRefreshTokenHash1"] is None
    assert (await core.get("/recipe/session", sessionHandle=handle))["expiry"] == before + 60_000
    assert "accessToken" in await core.verify(access_token(first))
    # A child of the line is replaced for as long as it is one: here the Java core has a sibling go on as it is.
    assert (await core.verify(access_token(sibling)))["status"] == "OK"
    second = await core.refresh(refresh_token(first))
    assert second["status"] == "OK"
    third = await core.refresh(refresh_token(second))
    assert third["status"] == "OK"
    assert (await core.refresh(refresh_token(sibling)))["status"] == "TOKEN_THEFT_DETECTED"


async def test_with_a_grace_of_0_a_parent_is_theft_once_a_child_was_used(core):
    created = await core.create()
    child = await core.refresh(refresh_token(created))
    assert (await core.refresh(refresh_token(created)))["status"] == "OK"
    await core.verify(access_token(child))
    assert (await core.refresh(refresh_token(created)))["status"] == "TOKEN_THEFT_DETECTED"


async def test_by_default_a_parent_is_good_for_a_grace_after_a_child_was_used():
    core = Core()
    created = await core.create()
    await core.verify(access_token(await core.refresh(refresh_token(created))))
    core.clock.advance(timedelta(seconds=30))
    assert (await core.refresh(refresh_token(created)))["status"] == "OK"
    core.clock.advance(timedelta(milliseconds=1))
    assert (await core.refresh(refresh_token(created)))["status"] == "TOKEN_THEFT_DETECTED"


async def test_a_theft_ends_the_session_in_every_version(core):
    created = await core.create()
    child = await core.refresh(refresh_token(created))
    await core.verify(access_token(child))
    await core.refresh(refresh_token(created))
    assert (await core.refresh(refresh_token(child)))["status"] == "UNAUTHORISED"
    assert (await core.get("/recipe/session", sessionHandle=created["session"]["handle"]))["status"] == "UNAUTHORISED"


async def test_the_timeline_of_5_6():
    core = Core()
    created = await core.create(NEWEST)
    first = await core.refresh(refresh_token(created), NEWEST)
    assert claims_of(access_token(first))["parentRefreshTokenHash1"] is None
    core.clock.advance(timedelta(seconds=5))
    second = await core.refresh(refresh_token(created), NEWEST)
    assert second["status"] == "OK"
    # Both are good until one is refreshed; the Java core has the first one displaced already.
    assert (await core.verify(access_token(first), NEWEST, checkDatabase=True))["status"] == "OK"
    core.clock.advance(timedelta(seconds=1))
    assert (await core.refresh(refresh_token(second), NEWEST))["status"] == "OK"
    displaced = await core.verify(access_token(first), NEWEST, checkDatabase=True)
    assert displaced["status"] == "UNAUTHORISED"
    assert (await core.verify(access_token(second), NEWEST, checkDatabase=True))["status"] == "OK"
    theft = await core.refresh(refresh_token(first), NEWEST)
    assert (theft["status"], theft["recentTokenReuseSubtype"]) == ("TOKEN_THEFT_DETECTED", "ORPHANED_BRANCH")


async def test_in_5_6_the_grace_runs_from_the_first_refresh():
    core = Core()
    created = await core.create(NEWEST)
    await core.refresh(refresh_token(created), NEWEST)
    core.clock.advance(timedelta(seconds=31))
    theft = await core.refresh(refresh_token(created), NEWEST)
    assert (theft["status"], theft["recentTokenReuseSubtype"]) == ("TOKEN_THEFT_DETECTED", "RECENT_PREV")


@pytest.mark.parametrize("cdi", [NEWEST, "5.5"])
async def test_recent_reuse_may_be_told_as_unauthorised_to_5_6_alone(cdi):
    core = Core(recent_token_reuse_behaviour="UNAUTHORISED", refresh_token_rotation_grace_period=0)
    created = await core.create(cdi)
    child = await core.refresh(refresh_token(created), cdi)
    await core.verify(access_token(child), "5.5")
    answer = await core.refresh(refresh_token(created), cdi)
    assert answer["status"] == ("UNAUTHORISED" if cdi == NEWEST else "TOKEN_THEFT_DETECTED")
    assert answer.get("recentTokenReuseSubtype") == ("RECENT_PREV" if cdi == NEWEST else None)
    assert (await core.refresh(refresh_token(child), cdi))["status"] == "UNAUTHORISED", "it has ended all the same"


async def test_a_session_moves_between_clients_of_5_4_and_5_6():
    core = Core()
    tokens = refresh_token(await core.create("5.4"))
    for cdi in (NEWEST, "5.4", "5.4", NEWEST, NEWEST):
        answer = await core.refresh(tokens, cdi)
        assert answer["status"] == "OK"
        assert (await core.verify(access_token(answer), cdi, checkDatabase=True))["status"] == "OK"
        tokens = refresh_token(answer)


async def test_a_verification_of_5_6_writes_nothing_and_tells_of_another_payload(core):
    created = await core.create()
    child = await core.refresh(refresh_token(created))
    for _ in range(2):
        found = await core.verify(access_token(child), NEWEST, checkDatabase=True)
        assert found.keys() == {"status", "session", "payloadUpdateAvailable"}
        assert found["payloadUpdateAvailable"] is False
    assert (await core.refresh(refresh_token(created)))["status"] == "OK", "the child was never marked as used"
    body = {"sessionHandle": created["session"]["handle"], "userDataInJWT": {"role": "admin"}}
    await core.put("/recipe/jwt/data", body)
    found = await core.verify(access_token(child), NEWEST, checkDatabase=True)
    assert found["payloadUpdateAvailable"] is True
    assert found["session"]["userDataInJWT"] == {}
    assert "payloadUpdateAvailable" not in await core.verify(access_token(child), NEWEST)


async def test_a_verification_with_a_database_check_brings_the_new_payload_up_to_5_5(core):
    created = await core.create(userDataInJWT={"a": None, "n": 1, "f": 1.0})
    token = access_token(created)
    assert "accessToken" not in await core.verify(token, checkDatabase=True)
    body = {"sessionHandle": created["session"]["handle"], "userDataInJWT": {"a": None, "b": 2}}
    await core.put("/recipe/jwt/data", body)
    assert "accessToken" not in await core.verify(token)
    found = await core.verify(token, checkDatabase=True)
    assert found["session"]["userDataInJWT"] == {"a": None, "b": 2}
    assert "accessToken" not in await core.verify(access_token(found), checkDatabase=True)


async def test_a_verification_of_a_usual_token_asks_no_store(core):
    token = access_token(await core.create())
    for name in ("load_session", "mark_used", "load_keys"):
        setattr(core.store, name, None)
    assert (await core.verify(token))["status"] == "OK"
    assert (await core.verify(token, NEWEST))["status"] == "OK"


# Anti-CSRF


async def test_an_anti_csrf_token_is_asked_for_at_verify_where_both_say_so(core):
    created = await core.create(enableAntiCsrf=True)
    bare = await core.create()
    right = created["antiCsrfToken"]
    table = [
        (created, {"enableAntiCsrf": True, "doAntiCsrfCheck": True, "antiCsrfToken": right}, "OK"),
        (created, {"enableAntiCsrf": True, "doAntiCsrfCheck": True, "antiCsrfToken": "wrong"}, "TRY_REFRESH_TOKEN"),
        (created, {"enableAntiCsrf": True, "doAntiCsrfCheck": True}, "TRY_REFRESH_TOKEN"),
        (created, {"enableAntiCsrf": True, "doAntiCsrfCheck": False}, "OK"),
        (created, {"enableAntiCsrf": False, "doAntiCsrfCheck": True}, "OK"),
        (bare, {"enableAntiCsrf": True, "doAntiCsrfCheck": True}, "TRY_REFRESH_TOKEN"),
        (bare, {"enableAntiCsrf": True, "doAntiCsrfCheck": True, "antiCsrfToken": ""}, "TRY_REFRESH_TOKEN"),
    ]
    for session, fields, status in table:
        for cdi in ("5.4", NEWEST):
            assert (await core.verify(access_token(session), cdi, **fields))["status"] == status, fields


async def test_an_anti_csrf_token_is_asked_for_at_refresh_where_the_session_has_one(core):
    created = await core.create(enableAntiCsrf=True)
    token, right = refresh_token(created), created["antiCsrfToken"]
    for fields in ({}, {"antiCsrfToken": "wrong"}, {"antiCsrfToken": ""}):
        assert (await core.refresh(token, enableAntiCsrf=True, **fields))["status"] == "UNAUTHORISED"
    refreshed = await core.refresh(token, enableAntiCsrf=True, antiCsrfToken=right)
    assert refreshed["antiCsrfToken"] not in (None, right)
    without = await core.refresh(token)
    assert (without["status"], "antiCsrfToken" in without) == ("OK", False)
    on_again = await core.refresh(refresh_token(without), enableAntiCsrf=True)
    assert on_again["status"] == "OK"
    assert on_again["antiCsrfToken"]


# Regenerate


async def test_a_payload_is_changed_at_once_with_the_tokens_own_expiry(core):
    created = await core.create(userDataInJWT={"a": 1})
    core.clock.advance(timedelta(minutes=10))
    body = {"accessToken": access_token(created), "userDataInJWT": {"b": None}}
    changed = await core.post("/recipe/session/regenerate", body)
    assert changed["session"]["userDataInJWT"] == {"b": None}
    assert changed["accessToken"]["expiry"] == created["accessToken"]["expiry"]
    kept = await core.post("/recipe/session/regenerate", {"accessToken": access_token(created)})
    assert kept["session"]["userDataInJWT"] == {"b": None}


async def test_an_expired_token_changes_the_payload_and_is_not_replaced(core):
    created = await core.create()
    core.clock.advance(timedelta(hours=2))
    body = {"accessToken": access_token(created), "userDataInJWT": {"b": 1}}
    changed = await core.post("/recipe/session/regenerate", body)
    assert (changed["status"], "accessToken" in changed) == ("OK", False)
    assert (await core.refresh(refresh_token(created)))["session"]["userDataInJWT"] == {"b": 1}


async def test_regenerate_refuses_what_is_no_token_of_ours_or_has_no_session(core):
    created = await core.create()
    for bad in ("x", "", "a.b.c", access_token(created)[:-8] + "AAAAAAAA"):
        assert (await core.ask("POST", "/recipe/session/regenerate", {"accessToken": bad})).status_code == 400
    await core.remove(created["session"]["handle"])
    gone = await core.post("/recipe/session/regenerate", {"accessToken": access_token(created)})
    assert gone["status"] == "UNAUTHORISED"
