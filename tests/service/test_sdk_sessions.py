"""The life of a session, told by every SDK: today's two and the two of 2020, against one running service."""

import base64
import contextlib
import json
import time
from collections.abc import Callable

import pytest

from tests.service.operating import Service
from tests.service.sdks import ALL, CLASSIC, NODE_1, NODE_2, Held, Kind, Refused, Sdk, refused

every_sdk = pytest.mark.parametrize("kind", ALL, ids=str)
PATIENCE_SECONDS = 20


def data_of(sdk: Sdk, handle: str) -> object:
    return sdk.call("information", handle=handle)["data"] if sdk.kind.is_newest else sdk.call("data", handle=handle)


def count(revoked: int | list[str]) -> int:
    """The first SDK is told how many sessions have ended; all later ones are told which."""
    return revoked if isinstance(revoked, int) else len(revoked)


@every_sdk
def test_a_created_session_verifies_with_all_that_was_put_into_it(sdk: Sdk):
    payload = {"plan": "basic", "limits": {"seats": 3, "ratio": 0.5, "none": None, "on": True}, "name": "łukasz 馬"}
    held = sdk.create("ada", payload, {"cart": [1, {"two": None}]})
    seen = sdk.verify(held)
    assert (seen.user, seen.handle) == ("ada", held.handle)
    assert {name: seen.payload[name] for name in payload} == payload
    assert seen.access == held.access, "a first token is not replaced"
    assert data_of(sdk, held.handle) == {"cart": [1, {"two": None}]}


@every_sdk
def test_the_first_use_after_a_refresh_replaces_the_access_token_once(sdk: Sdk):
    held = sdk.create(payload={"plan": "basic"})
    refreshed = sdk.refresh(held)
    assert refreshed.access != held.access
    assert refreshed.refresh != held.refresh
    used = sdk.verify(refreshed)
    assert used.access != refreshed.access
    assert used.payload["plan"] == "basic"
    assert sdk.verify(used).access == used.access


@every_sdk
def test_a_session_goes_on_through_many_refreshes_used_or_not(sdk: Sdk):
    held = sdk.create()
    for is_used in (True, True, False, False, True):
        held = sdk.refresh(held)
        held = sdk.verify(held) if is_used else held
    assert sdk.verify(held).handle == held.handle


@every_sdk
def test_a_lost_answer_to_a_refresh_costs_nothing(sdk: Sdk):
    held = sdk.create()
    sdk.refresh(held)
    again = sdk.verify(sdk.refresh(held))
    assert sdk.verify(sdk.refresh(again)).handle == held.handle


@every_sdk
def test_a_refresh_token_whose_child_was_used_is_theft(sdk: Sdk):
    stolen = sdk.create("victim")
    sdk.verify(sdk.refresh(stolen))
    with refused("TOKEN_THEFT_DETECTED") as caught:
        sdk.refresh(stolen)
    assert caught.value.evidence == {"handle": stolen.handle, "user": "victim"}


@every_sdk
def test_a_refresh_token_from_long_ago_is_theft_and_ends_the_session_at_once(sdk: Sdk):
    stolen = sdk.create("victim")
    held = sdk.verify(sdk.refresh(sdk.verify(sdk.refresh(stolen))))
    with refused("TOKEN_THEFT_DETECTED"):
        sdk.refresh(stolen)
    with refused("UNAUTHORISED"):
        sdk.refresh(held)
    assert sdk.call("revoke", handle=held.handle) is False, "as the SDKs' own handler does"


@every_sdk
def test_one_session_is_revoked_and_the_others_stay(sdk: Sdk):
    ended, kept = sdk.create("eve"), sdk.create("eve")
    assert sdk.call("revoke", handle=ended.handle) is True
    assert sdk.call("revoke", handle=ended.handle) is False
    with refused("UNAUTHORISED"):
        sdk.refresh(ended)
    assert sdk.refresh(kept).handle == kept.handle


@every_sdk
def test_all_sessions_of_one_user_are_listed_and_revoked(sdk: Sdk):
    user = f"crowd {sdk.kind}"
    handles = {sdk.create(user).handle for _ in range(3)}
    other = sdk.create("somebody else")
    assert set(sdk.call("handles", user=user)) == handles
    assert count(sdk.call("revoke_all", user=user)) == 3
    assert sdk.call("handles", user=user) == []
    assert count(sdk.call("revoke_all", user=user)) == 0
    assert sdk.refresh(other).user == "somebody else"


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not NODE_1], ids=str)
def test_of_several_handles_those_that_existed_are_told(sdk: Sdk):
    handles = [sdk.create().handle for _ in range(2)]
    assert set(sdk.call("revoke_many", handles=[*handles, "unknown"])) == set(handles)


@every_sdk
def test_session_data_is_replaced_and_that_of_no_session_is_refused(sdk: Sdk):
    held = sdk.create(data={"cart": [1]})
    sdk.call("set_data", handle=held.handle, data={"seen": {"at": None}})
    assert data_of(sdk, held.handle) == {"seen": {"at": None}}
    if sdk.kind.is_newest:
        assert sdk.call("set_data", handle="unknown", data={}) is False
        assert sdk.call("information", handle="unknown") is None
    else:
        with refused("UNAUTHORISED"):
            sdk.call("set_data", handle="unknown", data={})
        with refused("UNAUTHORISED"):
            sdk.call("data", handle="unknown")


@every_sdk
def test_a_request_without_the_right_anti_csrf_token_is_refused_where_it_matters(sdk: Sdk):
    held = sdk.create()
    assert held.anti_csrf
    for wrong in ({"anti_csrf": "another"}, {"anti_csrf": ""}):
        with refused("TRY_REFRESH_TOKEN"):
            sdk.verify(held, do_anti_csrf_check=True, **wrong)
    assert sdk.verify(held, do_anti_csrf_check=False, anti_csrf="another").handle == held.handle
    assert sdk.verify(held, do_anti_csrf_check=True).handle == held.handle


@every_sdk
def test_the_first_use_is_refused_by_the_core_with_a_wrong_anti_csrf_token(sdk: Sdk):
    refreshed = sdk.refresh(sdk.create())
    with refused("TRY_REFRESH_TOKEN"):
        sdk.verify(refreshed, do_anti_csrf_check=True, anti_csrf="another")
    assert sdk.verify(refreshed, do_anti_csrf_check=True).access != refreshed.access


@every_sdk
def test_a_forged_access_token_is_refused(sdk: Sdk):
    held = sdk.create("ada")
    header, body, signature = held.access.split(".")
    claims = json.loads(base64.b64decode(body + "=" * (-len(body) % 4)))
    claims["sub" if "sub" in claims else "userId"] = "root"
    forged = base64.b64encode(json.dumps(claims).encode()).decode()
    forged = forged if "userId" in claims else forged.rstrip("=")
    with refused("TRY_REFRESH_TOKEN"):
        sdk.verify(held, access=f"{header}.{forged}.{signature}")


@every_sdk
@pytest.mark.parametrize("broken", ["", "x", "a.b.c", "💥", "x" * 5000])
def test_a_broken_refresh_token_is_unauthorised(sdk: Sdk, broken: str):
    with refused("UNAUTHORISED"):
        sdk.call("refresh", refresh=broken)


@every_sdk
def test_an_expired_access_token_asks_for_a_refresh_and_the_session_goes_on(
    kind: Kind, brief_core: Service, start_sdk: Callable[..., Sdk]
):
    sdk = start_sdk(kind, brief_core.url)
    held = sdk.create()
    wait_until_expired(sdk, held)
    assert refresh_and_use(sdk, held).handle == held.handle


def refresh_and_use(sdk: Sdk, held: Held) -> Held:
    """On a slow machine a token of one second may have expired again."""
    for _ in range(10):
        held = sdk.refresh(held)
        with contextlib.suppress(Refused):
            return sdk.verify(held)
    return sdk.verify(held)


def wait_until_expired(sdk: Sdk, held: Held) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    with refused("TRY_REFRESH_TOKEN"):
        while time.monotonic() < deadline:
            sdk.verify(held)
            time.sleep(0.05)


@pytest.mark.parametrize("kind", CLASSIC, ids=str)
def test_the_core_tells_the_sdks_of_2020_how_to_make_cookies(sdk: Sdk, strict_core: Service):
    held = sdk.refresh(sdk.create())
    assert held.cookies is not None
    access, refresh, id_refresh = (held.cookies[name] for name in ("access", "refresh", "id_refresh"))
    assert (access["cookiePath"], refresh["cookiePath"]) == ("/", "/api/refresh")
    assert (access["cookieSecure"], access["domain"]) == (False, "localhost")
    assert refresh["expiry"] == id_refresh["expiry"] > access["expiry"]
    assert refresh["createdTime"] <= time.time() * 1000 + 1000


@pytest.mark.parametrize("kind", [NODE_1], ids=str)
def test_the_first_sdk_refuses_by_itself_without_the_id_refresh_token(sdk: Sdk):
    held = sdk.create()
    with refused("UNAUTHORISED"):
        sdk.call("verify", access=held.access, anti_csrf=held.anti_csrf)


@pytest.mark.parametrize("kind", [NODE_2], ids=str)
def test_a_changed_jwt_payload_shows_after_the_next_refresh(sdk: Sdk):
    held = sdk.create(payload={"plan": "basic"})
    sdk.call("set_payload", handle=held.handle, payload={"plan": "pro", "none": None})
    assert sdk.call("payload", handle=held.handle) == {"plan": "pro", "none": None}
    assert sdk.verify(held).payload == {"plan": "basic"}
    assert sdk.verify(sdk.refresh(held)).payload == {"plan": "pro", "none": None}
    with refused("UNAUTHORISED"):
        sdk.call("payload", handle="unknown")
