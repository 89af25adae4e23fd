"""No framework at all: functions of a scope."""

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from tallystick import AsyncSessions, SessionError
from tallystick.integrations.asgi import (
    ASGIApp,
    Receive,
    Scope,
    Send,
    SessionMiddleware,
    create_new_session,
    get_session,
)
from tests.integrations.apps.serving import AsgiApp
from tests.integrations.plan import CHUNKS, EXPOSING, Plan, show, show_user

RawHeaders = list[tuple[bytes, bytes]]
JSON: RawHeaders = [(b"content-type", b"application/json")]


class PlainAsgiApp(AsgiApp):
    name = "asgi"

    def build(self, plan: Plan, sessions: AsyncSessions) -> ASGIApp:
        app: ASGIApp = partial(serve, sessions)
        if plan.has_own_middleware:
            app = partial(mark, app)
        if plan.has_own_handler:
            app = partial(answer_myself, app)
        return SessionMiddleware(app, sessions)


async def serve(sessions: AsyncSessions, scope: Scope, receive: Receive, send: Send) -> None:
    path = scope["path"].removeprefix(scope["root_path"])
    name, _, argument = path.removeprefix("/").partition("/")
    body = (await receive())["body"]
    given = json.loads(body) if body else None
    place = (scope["method"], name)
    if place == ("GET", "stream"):
        await get_session(scope)
        await respond(send, 200, [(b"content-type", b"text/plain")], CHUNKS)
        return
    status, headers = 200, JSON
    if name == "exposing":
        headers = [*JSON, *((key.encode(), value.encode()) for key, value in EXPOSING.items())]
    if name == "login-and-refuse":
        status = 418
    handler = ROUTES.get(place)
    if handler is None and place[0] == "HEAD":
        handler = ROUTES.get(("GET", name))
    if handler is None:
        status, answer = 404, {}
    elif place == ("POST", "elsewhere"):
        answer = {"revoked": await sessions.revoke_session(argument)}
    else:
        answer = await handler(scope, argument, given)
    await respond(send, status, headers, [json.dumps(answer, separators=(",", ":")).encode()])


async def respond(send: Send, status: int, headers: RawHeaders, chunks: Iterable[bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body"})


async def login(scope: Scope, user: str, given: Any) -> Any:
    session = await create_new_session(scope, user, given, {"cart": []})
    return {"handle": session.get_handle()}


async def login_and_crash(scope: Scope, user: str, _given: Any) -> Any:
    await create_new_session(scope, user)
    raise ZeroDivisionError


async def me(scope: Scope, _argument: str, _given: Any, **how: Any) -> Any:
    session = await get_session(scope, **how)
    assert scope["state"]["session"] is session
    return show(session)


async def optional(scope: Scope, _argument: str, _given: Any) -> Any:
    session = await get_session(scope, session_required=False)
    assert scope["state"]["session"] is session
    return show_user(session)


async def data(scope: Scope, _argument: str, given: Any) -> Any:
    session = await get_session(scope)
    if given is None:
        return await session.get_session_data_from_database()
    await session.update_session_data_in_database(given)
    return {}


async def times(scope: Scope, _argument: str, _given: Any) -> Any:
    session = await get_session(scope)
    return {"created": await session.get_time_created(), "expiry": await session.get_expiry()}


async def payload(scope: Scope, _argument: str, given: Any) -> Any:
    session = await get_session(scope)
    await session.merge_into_access_token_payload(given)
    return session.get_jwt_payload()


async def revoke(scope: Scope, _argument: str, _given: Any) -> Any:
    await (await get_session(scope)).revoke_session()
    return {}


async def none(_scope: Scope, _argument: str, _given: Any) -> Any:
    return {"hello": "world"}


ROUTES: dict[tuple[str, str], Callable[..., Any]] = {
    ("POST", "login"): login,
    ("POST", "login-and-refuse"): login,
    ("POST", "login-and-crash"): login_and_crash,
    ("GET", "me"): me,
    ("POST", "me"): me,
    ("OPTIONS", "strict"): me,
    ("GET", "optional"): optional,
    ("OPTIONS", "optional"): optional,
    ("GET", "sync"): me,
    ("GET", "database"): partial(me, check_database=True),
    ("GET", "trusting"): partial(me, on_feed_silence="accept"),
    ("GET", "checked"): partial(me, anti_csrf_check=True),
    ("POST", "unchecked"): partial(me, anti_csrf_check=False),
    ("GET", "none"): none,
    ("GET", "data"): data,
    ("POST", "data"): data,
    ("GET", "times"): times,
    ("POST", "payload"): payload,
    ("POST", "revoke"): revoke,
    ("POST", "elsewhere"): none,
    ("GET", "exposing"): me,
}


async def mark(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    async def send_marked(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-app", b"was here")]
        await send(message)

    await app(scope, receive, send_marked)


async def answer_myself(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await app(scope, receive, send)
    except SessionError:
        await respond(send, 401, JSON, [b'{"message":"mine"}'])
