from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tallystick import AsyncSessions, SessionError
from tallystick.integrations.starlette import SessionMiddleware, create_new_session, get_session
from tests.integrations.apps.serving import AsgiApp
from tests.integrations.plan import CHUNKS, EXPOSING, Plan, show, show_user


class StarletteApp(AsgiApp):
    name = "starlette"

    def build(self, plan: Plan, sessions: AsyncSessions) -> Starlette:
        app = Starlette(
            routes=[
                Route("/login/{user}", login, methods=["POST"]),
                Route("/login-and-refuse/{user}", _login_and_refuse, methods=["POST"]),
                Route("/login-and-crash/{user}", login_and_crash, methods=["POST"]),
                Route("/me", _me, methods=["GET", "HEAD", "POST"]),
                Route("/strict", _me, methods=["OPTIONS"]),
                Route("/optional", _optional, methods=["GET", "OPTIONS"]),
                Route("/sync", _me),
                Route("/database", _database),
                Route("/trusting", _trusting),
                Route("/checked", _checked),
                Route("/unchecked", _unchecked, methods=["POST"]),
                Route("/none", none),
                Route("/data", _data, methods=["GET", "POST"]),
                Route("/times", _times),
                Route("/payload", _payload, methods=["POST"]),
                Route("/revoke", _revoke, methods=["POST"]),
                Route("/elsewhere/{handle}", elsewhere, methods=["POST"]),
                Route("/stream", _stream),
                Route("/exposing", _exposing),
            ]
        )
        return add_layers(app, plan, sessions)


def add_layers(app: Starlette, plan: Plan, sessions: AsyncSessions) -> Starlette:
    app.state.sessions = sessions
    if plan.has_own_middleware:
        app.add_middleware(BaseHTTPMiddleware, dispatch=_mark)
    if plan.has_own_handler:
        app.add_exception_handler(SessionError, _answer_myself)
    app.add_middleware(SessionMiddleware, sessions=sessions)
    return app


async def login(request: Request) -> Response:
    body = await request.body()
    payload = await request.json() if body else None
    session = await create_new_session(request, request.path_params["user"], payload, {"cart": []})
    return JSONResponse({"handle": session.get_handle()})


async def _login_and_refuse(request: Request) -> Response:
    await create_new_session(request, request.path_params["user"])
    raise HTTPException(418)


async def login_and_crash(request: Request) -> Response:
    await create_new_session(request, request.path_params["user"])
    raise ZeroDivisionError


async def _me(request: Request) -> Response:
    session = await get_session(request)
    assert request.state.session is session
    return JSONResponse(show(session))


async def _optional(request: Request) -> Response:
    session = await get_session(request, session_required=False)
    assert request.state.session is session
    return JSONResponse(show_user(session))


async def _database(request: Request) -> Response:
    return JSONResponse(show(await get_session(request, check_database=True)))


async def _trusting(request: Request) -> Response:
    return JSONResponse(show(await get_session(request, on_feed_silence="accept")))


async def _checked(request: Request) -> Response:
    return JSONResponse(show(await get_session(request, anti_csrf_check=True)))


async def _unchecked(request: Request) -> Response:
    return JSONResponse(show(await get_session(request, anti_csrf_check=False)))


async def none(request: Request) -> Response:
    return JSONResponse({"hello": "world"})


async def _data(request: Request) -> Response:
    session = await get_session(request)
    if request.method == "POST":
        await session.update_session_data_in_database(await request.json())
        return JSONResponse({})
    return JSONResponse(await session.get_session_data_from_database())


async def _times(request: Request) -> Response:
    session = await get_session(request)
    return JSONResponse({"created": await session.get_time_created(), "expiry": await session.get_expiry()})


async def _payload(request: Request) -> Response:
    session = await get_session(request)
    await session.merge_into_access_token_payload(await request.json())
    return JSONResponse(session.get_jwt_payload())


async def _revoke(request: Request) -> Response:
    await (await get_session(request)).revoke_session()
    return JSONResponse({})


async def elsewhere(request: Request) -> Response:
    # The app's own handle on the sessions, as an administrator's page would have it.
    sessions = request.app.state.sessions
    return JSONResponse({"revoked": await sessions.revoke_session(request.path_params["handle"])})


async def _stream(request: Request) -> Response:
    await get_session(request)
    return StreamingResponse(three_chunks())


async def _exposing(request: Request) -> Response:
    session = await get_session(request)
    return JSONResponse(show(session), headers=EXPOSING)


async def three_chunks() -> AsyncIterator[bytes]:
    for chunk in CHUNKS:
        yield chunk


async def _mark(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    response.headers["x-app"] = "was here"
    return response


async def _answer_myself(request: Request, error: Exception) -> Response:
    return JSONResponse({"message": "mine"}, 401)
