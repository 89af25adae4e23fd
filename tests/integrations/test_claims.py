"""Claims over HTTP: the global validators on each framework, a route's own, and what a request's session can do."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from tallystick import (
    AsyncSessions,
    BooleanClaim,
    InvalidClaims,
    PrimitiveArrayClaim,
    PrimitiveClaim,
    Sessions,
    Unauthorised,
    fresh_within,
)
from tallystick.integrations import fastapi, wsgi
from tallystick.integrations.starlette import Session, SessionMiddleware, create_new_session, get_session
from tallystick.testing import START, FakeClock
from tallystick.transport.dialogue import Question
from tallystick.transport.exchange import Exchange
from tallystick.transport.session import hand_over_created
from tallystick.transport.usual import UsualRequests
from tests.integrations.asgi import AsgiClient
from tests.integrations.browser import Browser
from tests.integrations.conftest import Serve
from tests.integrations.plan import SECRET

PLAN = PrimitiveClaim("plan", lambda user, _tenant, _payload: "pro" if user == "ada" else None)
ROLES = PrimitiveArrayClaim("roles", lambda user, _tenant, _payload: ["admin"] if user == "ada" else ["user"])
VERIFIED = BooleanClaim("verified", lambda _user, _tenant, _payload: False)
PRO = PLAN.validators.has_value("pro")
ADMIN = ROLES.validators.includes("admin")


# Global validators


@pytest.mark.parametrize("mode", ["cookie", "header"])
def test_a_claim_is_fetched_at_the_first_request_and_the_client_s_token_carries_it(serve: Serve, mode: Any):
    browser = serve(claim_validators=[PRO]).browser(mode)
    browser.sign_in("ada")
    first = browser.get("/me")
    assert (first.status, first.json["payload"]) == (200, {"plan": {"v": "pro", "t": START}})
    assert first.front_token["up"]["plan"] == {"v": "pro", "t": START}
    again = browser.get("/me")
    assert (again.json, again.is_silent) == (first.json, True)


def test_a_session_whose_claims_do_not_do_is_403_with_the_errors_and_nothing_is_cleared(serve: Serve):
    browser = serve(claim_validators=[PRO, VERIFIED.validators.is_true()]).browser()
    browser.sign_in("bob")
    reply = browser.get("/me")
    assert reply.status == 403
    assert reply.json == {
        "message": "invalid claim",
        "claimValidationErrors": [
            {
                "id": "plan",
                "reason": {"message": "value does not exist", "expectedValue": "pro", "actualValue": None},
            },
            {"id": "verified", "reason": {"message": "wrong value", "expectedValue": True, "actualValue": False}},
        ],
    }
    assert reply.front_token["up"]["verified"] == {"v": False, "t": START}, "what was fetched reaches the client"
    assert browser.is_signed_in
    assert browser.get("/me").is_silent


@pytest.mark.parametrize("mode", ["cookie", "header"])
def test_the_first_use_after_a_refresh_replaces_the_token_of_a_403_too(serve: Serve, mode: Any):
    browser = serve(claim_validators=[PRO]).browser(mode)
    browser.sign_in("bob")
    browser.refresh()
    reply = browser.get("/me")
    assert (reply.status, reply.front_token["up"]["parentRefreshTokenHash1"]) == (403, None)
    assert (set(reply.cookies) == {"sAccessToken"}) is (mode == "cookie")
    assert browser.get("/me").is_silent


def test_claims_bar_neither_the_refresh_nor_the_sign_out_nor_those_without_a_session(serve: Serve):
    browser = serve(claim_validators=[PRO]).browser()
    assert browser.get("/optional").json == {"user": None}
    browser.sign_in("bob")
    assert browser.get("/optional").status == 403
    assert browser.refresh().status == 200
    assert browser.sign_out().json == {"status": "OK"}
    assert not browser.is_signed_in


def test_an_app_s_own_handler_still_hands_over_what_was_fetched(serve: Serve):
    browser = serve({"has_own_handler": True}, claim_validators=[VERIFIED.validators.is_true()]).browser()
    browser.sign_in("ada")
    reply = browser.get("/me")
    assert (reply.status, reply.json) == (401, {"message": "mine"})
    assert reply.front_token["up"]["verified"]["v"] is False


# A route's own validators, and the session of a request


class Strict:
    """A validator that refuses by itself."""

    id, claim = "strict", None

    def should_refetch(self, _payload: Any, _now: int) -> bool:
        return False

    def validate(self, _payload: Any, _now: int) -> None:
        raise InvalidClaims


async def login(request: Request) -> Response:
    await create_new_session(request, request.path_params["user"], {"auth_time": START // 1000})
    return JSONResponse({})


async def admin(request: Request) -> Response:
    session = await get_session(request, override_global_claim_validators=lambda own, _: [*own, ADMIN])
    return JSONResponse(session.get_jwt_payload())


async def open_to_all(request: Request) -> Response:
    session = await get_session(request, override_global_claim_validators=lambda _own, _session: [])
    return JSONResponse({"plan": session.get_claim_value(PLAN)})


async def ask_by_hand(request: Request, method: str, *args: object) -> Any:
    """As an app that holds the sessions itself."""
    return await request.scope["tallystick"].open(request.scope)._answer(Question(method, args))


async def verify_another(request: Request) -> Response:
    """An app that verifies a token of somebody else's by hand."""
    await ask_by_hand(request, "get_session", request.headers["x-token"])
    return JSONResponse({})


async def end_and_change(request: Request) -> Response:
    session = await get_session(request, override_global_claim_validators=lambda _own, _session: [])
    await ask_by_hand(request, "revoke_session", session.get_handle())
    await session.set_claim_value(VERIFIED, True)
    return JSONResponse({})


async def change(request: Request) -> Response:
    session = await get_session(request, override_global_claim_validators=lambda _own, _session: [])
    action = request.path_params["action"]
    if action == "fetch":
        await session.fetch_and_set_claim(ROLES)
    elif action == "set":
        await session.set_claim_value(VERIFIED, True)
    elif action == "remove":
        await session.remove_claim(ROLES)
    elif action == "assert":
        await session.assert_claims([ADMIN])
    elif action == "strict":
        await session.assert_claims([Strict()])
    elif action == "fresh":
        await session.assert_claims([fresh_within(timedelta(minutes=5))])
    elif action == "catch":
        with pytest.raises(InvalidClaims) as refused:
            await session.assert_claims([ADMIN])
        assert refused.value.found is None, "it has been handed over"
    return JSONResponse({"plan": session.get_claim_value(PLAN), **session.get_jwt_payload()})


def make_starlette() -> Starlette:
    return Starlette(
        routes=[
            Route("/login/{user}", login, methods=["POST"]),
            Route("/admin", admin),
            Route("/open", open_to_all),
            Route("/another", verify_another),
            Route("/end", end_and_change, methods=["POST"]),
            Route("/change/{action}", change, methods=["POST"]),
        ]
    )


def make_fastapi() -> Starlette:
    app = FastAPI(openapi_url=None)
    app.post("/login/{user}")(login)
    app.post("/change/{action}")(change)
    app.get("/another")(verify_another)
    app.post("/end")(end_and_change)
    required = fastapi.verify_session(override_global_claim_validators=lambda own, _session: [*own, ADMIN])
    lenient = fastapi.verify_session(override_global_claim_validators=lambda _own, _session: [])

    @app.get("/admin")
    async def admin(session: Annotated[Session, Depends(required)]) -> dict[str, Any]:
        return session.get_jwt_payload()

    @app.get("/open")
    async def open_to_all(session: Annotated[Session, Depends(lenient)]) -> dict[str, Any]:
        return {"plan": session.get_claim_value(PLAN)}

    return app


def test_a_fastapi_dependency_without_its_parentheses_lets_nobody_in():
    app = FastAPI(dependencies=[Depends(fastapi.verify_session)])
    app.get("/admin")(lambda: "secret")
    app.add_middleware(fastapi.SessionMiddleware, sessions=AsyncSessions("memory://"))
    with pytest.raises(TypeError, match=r"verify_session\(\)"):
        TestClient(app).get("/admin")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=[make_starlette, make_fastapi], ids=["starlette", "fastapi"])
def client(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[AsgiClient]:
    app = request.param()
    sessions = AsyncSessions("memory://", secret=SECRET, algorithm="EdDSA", clock=clock, claim_validators=[PRO])
    app.add_middleware(SessionMiddleware, sessions=sessions)
    with asyncio.Runner() as runner:
        yield AsgiClient(app, runner)


@pytest.fixture
def ada(client: AsgiClient, clock: FakeClock) -> Browser:
    browser = Browser(client, clock)
    browser.sign_in("ada")
    return browser


@pytest.fixture
def bob(client: AsgiClient, clock: FakeClock) -> Browser:
    browser = Browser(client, clock)
    browser.sign_in("bob")
    return browser


def test_a_route_adds_to_the_global_validators_or_takes_none(ada: Browser, bob: Browser):
    assert set(ada.get("/admin").json) == {"auth_time", "plan", "roles"}
    refused = bob.get("/admin")
    assert (refused.status, [error["id"] for error in refused.json["claimValidationErrors"]]) == (
        403,
        ["plan", "roles"],
    )
    assert bob.get("/open").json == {"plan": None}


def test_a_session_fetches_sets_and_removes_claims_and_the_client_sees_it(bob: Browser):
    reply = bob.post("/change/fetch")
    assert reply.json["roles"] == reply.front_token["up"]["roles"] == {"v": ["user"], "t": START}
    reply = bob.post("/change/set")
    assert reply.front_token["up"]["verified"] == {"v": True, "t": START}
    reply = bob.post("/change/remove")
    assert "roles" not in reply.front_token["up"]
    assert set(reply.json) == {"auth_time", "plan", "verified"}


def test_a_session_asserts_claims_after_fetching_them(ada: Browser, bob: Browser):
    reply = ada.post("/change/assert")
    assert (reply.status, reply.front_token["up"]["roles"]["v"]) == (200, ["admin"])
    assert ada.post("/change/assert").is_silent
    reply = bob.post("/change/assert")
    assert reply.json["claimValidationErrors"] == [
        {
            "id": "roles",
            "reason": {"message": "wrong value", "expectedToInclude": "admin", "actualValue": ["user"]},
        }
    ]
    assert (reply.status, reply.front_token["up"]["roles"]["v"]) == (403, ["user"])


def test_a_refusal_that_the_app_catches_still_hands_over_what_was_fetched(bob: Browser):
    reply = bob.post("/change/catch")
    assert (reply.status, reply.json["roles"]["v"], reply.front_token["up"]["roles"]["v"]) == (200, ["user"], ["user"])


def test_nobody_is_handed_the_token_of_another_s_session(ada: Browser, bob: Browser, client: AsgiClient):
    stale = [("x-token", bob.access_token)]
    bob.refresh()
    refused = ada.send("GET", "/another", [("x-token", bob.access_token)])
    assert (refused.status, refused.is_silent) == (403, True), "the first use of bob's, in ada's request"
    assert client.send("GET", "/another", stale).is_silent, "and in one without a session of its own"
    assert ada.get("/admin").json["plan"]["v"] == "pro"


def test_a_session_that_has_ended_meanwhile_is_unauthorised_and_its_tokens_are_cleared(bob: Browser):
    reply = bob.post("/end")
    assert (reply.status, bob.is_signed_in) == (401, False)


def test_a_refusal_of_a_validator_s_own_has_no_token_to_hand_over(bob: Browser):
    reply = bob.post("/change/strict")
    assert (reply.status, reply.json) == (403, {"message": "invalid claim", "claimValidationErrors": []})
    assert reply.is_silent


def test_a_step_up_is_asked_for_when_the_authentication_is_too_long_ago(bob: Browser, clock: FakeClock):
    assert bob.post("/change/fresh").status == 200
    clock.advance(timedelta(minutes=5, seconds=1))
    assert bob.refresh().status == 200
    reply = bob.post("/change/fresh")
    assert (reply.status, reply.json["claimValidationErrors"][0]["id"]) == (403, "auth_time")
    bob.sign_in("bob")  # with a new time of authentication it would be 200; here that is the same as before
    assert bob.post("/change/fresh").status == 403


# The same for synchronous adapters


class Post:
    """A request with nothing in it."""

    method, is_https = "POST", False

    def header(self, _name: str) -> str | None:
        return None


@pytest.fixture
def sessions(clock: FakeClock) -> Sessions:
    return Sessions("memory://", secret=SECRET, algorithm="EdDSA", clock=clock)


def begin(sessions: Sessions, user: str) -> tuple[wsgi.Session, Exchange]:
    exchange = Exchange(Post(), sessions.config)
    created = sessions.create_new_session(user)
    slot = wsgi.Slot(exchange, UsualRequests(sessions), lambda question: question.put_to(sessions))
    return wsgi.Session(exchange, hand_over_created(exchange, "header", created), slot), exchange


def test_a_synchronous_session_does_the_same_without_waiting(sessions: Sessions):
    session, exchange = begin(sessions, "bob")
    session.fetch_and_set_claim(ROLES)
    session.set_claim_value(VERIFIED, True)
    assert (session.get_claim_value(ROLES), session.get_claim_value(VERIFIED)) == (["user"], True)
    session.remove_claim(ROLES)
    assert session.get_claim_value(ROLES) is None
    session.assert_claims([VERIFIED.validators.is_true()])
    with pytest.raises(InvalidClaims) as refused:
        session.assert_claims([ADMIN])
    assert refused.value.found is None
    assert session.get_claim_value(ROLES) == ["user"]
    assert dict(exchange.changes.headers)["st-access-token"] == session.get_access_token()
    found = sessions.get_session(session.get_access_token())
    assert found.session.jwt_payload == session.get_jwt_payload()


def test_a_synchronous_session_that_has_ended_is_unauthorised_and_its_tokens_are_cleared(sessions: Sessions):
    def change_each(session: wsgi.Session) -> Iterator[Any]:
        yield lambda: session.fetch_and_set_claim(ROLES)
        yield lambda: session.set_claim_value(VERIFIED, True)
        yield lambda: session.remove_claim(ROLES)
        yield lambda: session.assert_claims([ADMIN])

    for number in range(4):
        session, exchange = begin(sessions, "bob")
        sessions.revoke_session(session.get_handle())
        with pytest.raises(Unauthorised):
            list(change_each(session))[number]()
        assert dict(exchange.changes.headers)["front-token"] == "remove"
