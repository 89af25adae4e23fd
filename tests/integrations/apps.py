"""The app that all scenarios run on, once for each framework.

A framework joins with one adapter: an :class:`AppUnderTest` that serves the routes below, in its own words.

==================================== =====================================================================
``POST /login/{user}``               signs in, with the JSON body as payload; answers ``{"handle": ...}``
``GET, HEAD, POST /me``              needs a session; answers ``{"user", "handle", "payload"}``
``GET /optional``                    an optional session; ``{"user": ... or null}``
``GET /sync``                        as ``GET /me``, in a plain function where the framework runs those in threads
``GET /database``                    as ``GET /me``, and asks the store
``GET /checked``, ``POST /unchecked`` anti-CSRF check always, and never
``GET /none``                        looks at no session at all
``GET, POST /data``                  the session's data; POST replaces it with the JSON body
``POST /payload``                    merges the JSON body into the payload; answers the payload
``POST /revoke``                     ends the request's session
``POST /elsewhere/{handle}``         ends another session
``GET /stream``                      needs a session; three chunks
``GET /exposing``                    as ``GET /me``, exposes ``x-app`` and says ``cache-control: public``
``POST /login-and-refuse/{user}``    signs in, then raises the framework's HTTP error 418
``POST /login-and-crash/{user}``     signs in, then raises ``ZeroDivisionError``
==================================== =====================================================================
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from fastapi import Depends, FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from tallystick import AsyncSessions, SessionError
from tallystick.integrations import fastapi, starlette
from tallystick.integrations.starlette import (
    Session,
    SessionMiddleware,
    create_new_session,
    get_all_cors_headers,
    get_session,
)
from tests.integrations.asgi import AsgiClient
from tests.integrations.browser import Client

WEBSITE = "http://site.test"
SECRET = "a-secret-for-tests-that-is-long-enough-0001"


@dataclass(frozen=True)
class Plan:
    """What an app is to be made with."""

    url: Any
    clock: Callable[[], int]
    settings: dict[str, Any] = field(default_factory=dict)
    has_cors: bool = False
    has_own_handler: bool = False
    """The app answers SessionError itself: 401 ``{"message": "mine"}``."""
    has_own_middleware: bool = False
    """A middleware of the app stands between ours and the routes."""
    scheme: str = "http"
    root_path: str = ""


class AppUnderTest(Protocol):
    """One framework's app."""

    name: str

    def open(self, plan: Plan) -> AbstractContextManager[Client]:
        """The app, running."""
        ...


class _AsgiApp:
    name: str

    @contextmanager
    def open(self, plan: Plan) -> Iterator[AsgiClient]:
        settings = {"algorithm": "EdDSA", **plan.settings}
        sessions = AsyncSessions(plan.url, secret=SECRET, clock=plan.clock, **settings)
        with asyncio.Runner() as runner:
            app = self.build(plan)
            app.state.sessions = sessions
            if plan.has_own_middleware:
                app.add_middleware(BaseHTTPMiddleware, dispatch=_mark)
            if plan.has_own_handler:
                app.add_exception_handler(SessionError, _answer_myself)
            app.add_middleware(SessionMiddleware, sessions=sessions)
            outermost: ASGIApp = app
            if plan.has_cors:
                outermost = CORSMiddleware(
                    app,
                    allow_origins=[WEBSITE],
                    allow_credentials=True,
                    allow_methods=["GET", "POST", "PUT", "DELETE"],
                    allow_headers=["content-type", *get_all_cors_headers()],
                )
            yield AsgiClient(outermost, runner, scheme=plan.scheme, root_path=plan.root_path)
            runner.run(sessions.close())

    def build(self, plan: Plan) -> Starlette:
        raise NotImplementedError


class StarletteApp(_AsgiApp):
    name = "starlette"

    def build(self, plan: Plan) -> Starlette:
        return Starlette(
            routes=[
                Route("/login/{user}", _login, methods=["POST"]),
                Route("/login-and-refuse/{user}", _login_and_refuse, methods=["POST"]),
                Route("/login-and-crash/{user}", _login_and_crash, methods=["POST"]),
                Route("/me", _me, methods=["GET", "HEAD", "POST", "OPTIONS"]),
                Route("/optional", _optional, methods=["GET", "OPTIONS"]),
                Route("/sync", _me),
                Route("/database", _database),
                Route("/checked", _checked),
                Route("/unchecked", _unchecked, methods=["POST"]),
                Route("/none", _none),
                Route("/data", _data, methods=["GET", "POST"]),
                Route("/payload", _payload, methods=["POST"]),
                Route("/revoke", _revoke, methods=["POST"]),
                Route("/elsewhere/{handle}", _elsewhere, methods=["POST"]),
                Route("/stream", _stream),
                Route("/exposing", _exposing),
            ]
        )


class FastApiApp(_AsgiApp):
    name = "fastapi"

    def build(self, plan: Plan) -> Starlette:
        app = FastAPI(openapi_url=None)
        app.post("/login/{user}")(_login)
        app.post("/login-and-refuse/{user}")(_fastapi_login_and_refuse)
        app.post("/login-and-crash/{user}")(_login_and_crash)
        required = Annotated[Session, Depends(fastapi.verify_session())]
        optional = Annotated[Session | None, Depends(fastapi.verify_session(session_required=False))]
        database = Annotated[Session, Depends(fastapi.verify_session(check_database=True))]
        checked = Annotated[Session, Depends(fastapi.verify_session(anti_csrf_check=True))]
        unchecked = Annotated[Session, Depends(fastapi.verify_session(anti_csrf_check=False))]

        @app.api_route("/me", methods=["GET", "HEAD", "POST", "OPTIONS"])
        async def me(session: required) -> dict[str, Any]:
            return show(session)

        @app.api_route("/optional", methods=["GET", "OPTIONS"])
        async def maybe(session: optional) -> dict[str, Any]:
            return {"user": None if session is None else session.get_user_id()}

        @app.get("/sync")
        def sync(session: required) -> dict[str, Any]:
            return show(session)

        @app.get("/database")
        async def from_database(session: database) -> dict[str, Any]:
            return show(session)

        @app.get("/checked")
        async def always_checked(session: checked) -> dict[str, Any]:
            return show(session)

        @app.post("/unchecked")
        async def never_checked(session: unchecked) -> dict[str, Any]:
            return show(session)

        app.get("/none")(_none)

        @app.get("/data")
        async def data(session: required) -> dict[str, Any]:
            return await session.get_session_data_from_database()

        @app.post("/data")
        async def set_data(session: required, body: dict[str, Any]) -> dict[str, Any]:
            await session.update_session_data_in_database(body)
            return {}

        @app.post("/payload")
        async def payload(session: required, body: dict[str, Any]) -> dict[str, Any]:
            await session.merge_into_access_token_payload(body)
            return session.get_jwt_payload()

        @app.post("/revoke")
        async def revoke(session: required) -> dict[str, Any]:
            await session.revoke_session()
            return {}

        app.post("/elsewhere/{handle}")(_elsewhere)

        @app.get("/stream")
        async def stream(session: required) -> StreamingResponse:
            return StreamingResponse(_three_chunks())

        @app.get("/exposing")
        async def exposing(session: required, response: Response) -> dict[str, Any]:
            response.headers["Access-Control-Expose-Headers"] = "X-App, Front-Token"
            response.headers["Cache-Control"] = "public, max-age=60"
            return show(session)

        return app


FRAMEWORKS: list[AppUnderTest] = [StarletteApp(), FastApiApp()]


def show(session: Session) -> dict[str, Any]:
    return {"user": session.get_user_id(), "handle": session.get_handle(), "payload": session.get_jwt_payload()}


async def _login(request: Request) -> Response:
    body = await request.body()
    payload = await request.json() if body else None
    session = await create_new_session(request, request.path_params["user"], payload, {"cart": []})
    return JSONResponse({"handle": session.get_handle()})


async def _login_and_refuse(request: Request) -> Response:
    await create_new_session(request, request.path_params["user"])
    raise StarletteHTTPException(418)


async def _fastapi_login_and_refuse(request: Request) -> Response:
    await starlette.create_new_session(request, request.path_params["user"])
    raise HTTPException(418)


async def _login_and_crash(request: Request) -> Response:
    await create_new_session(request, request.path_params["user"])
    raise ZeroDivisionError


async def _me(request: Request) -> Response:
    session = await get_session(request)
    assert request.state.session is session
    return JSONResponse(show(session))


async def _optional(request: Request) -> Response:
    session = await get_session(request, session_required=False)
    assert request.state.session is session
    return JSONResponse({"user": None if session is None else session.get_user_id()})


async def _database(request: Request) -> Response:
    return JSONResponse(show(await get_session(request, check_database=True)))


async def _checked(request: Request) -> Response:
    return JSONResponse(show(await get_session(request, anti_csrf_check=True)))


async def _unchecked(request: Request) -> Response:
    return JSONResponse(show(await get_session(request, anti_csrf_check=False)))


async def _none(request: Request) -> Response:
    return JSONResponse({"hello": "world"})


async def _data(request: Request) -> Response:
    session = await get_session(request)
    if request.method == "POST":
        await session.update_session_data_in_database(await request.json())
        return JSONResponse({})
    return JSONResponse(await session.get_session_data_from_database())


async def _payload(request: Request) -> Response:
    session = await get_session(request)
    await session.merge_into_access_token_payload(await request.json())
    return JSONResponse(session.get_jwt_payload())


async def _revoke(request: Request) -> Response:
    await (await get_session(request)).revoke_session()
    return JSONResponse({})


async def _elsewhere(request: Request) -> Response:
    # The app's own handle on the sessions, as an administrator's page would have it.
    sessions = request.app.state.sessions
    return JSONResponse({"revoked": await sessions.revoke_session(request.path_params["handle"])})


async def _stream(request: Request) -> Response:
    await get_session(request)
    return StreamingResponse(_three_chunks())


async def _exposing(request: Request) -> Response:
    session = await get_session(request)
    headers = {"Access-Control-Expose-Headers": "X-App, Front-Token", "Cache-Control": "public, max-age=60"}
    return JSONResponse(show(session), headers=headers)


async def _three_chunks() -> AsyncIterator[bytes]:
    for chunk in (b"one", b"two", b"three"):
        yield chunk


async def _mark(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    response.headers["x-app"] = "was here"
    return response


async def _answer_myself(request: Request, error: Exception) -> Response:
    return JSONResponse({"message": "mine"}, 401)
