from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse

from tallystick import AsyncSessions
from tallystick.integrations.fastapi import Session, create_new_session, verify_session
from tests.integrations.apps.serving import AsgiApp
from tests.integrations.apps.starlette_app import add_layers, elsewhere, login, login_and_crash, none, three_chunks
from tests.integrations.plan import EXPOSING, Plan, show, show_user


class FastApiApp(AsgiApp):
    name = "fastapi"

    def build(self, plan: Plan, sessions: AsyncSessions) -> Starlette:
        app = FastAPI(openapi_url=None)
        app.post("/login/{user}")(login)
        app.post("/login-and-refuse/{user}")(_fastapi_login_and_refuse)
        app.post("/login-and-crash/{user}")(login_and_crash)
        required = Annotated[Session, Depends(verify_session())]
        optional = Annotated[Session | None, Depends(verify_session(session_required=False))]
        database = Annotated[Session, Depends(verify_session(check_database=True))]
        trusting = Annotated[Session, Depends(verify_session(on_feed_silence="accept"))]
        checked = Annotated[Session, Depends(verify_session(anti_csrf_check=True))]
        unchecked = Annotated[Session, Depends(verify_session(anti_csrf_check=False))]

        @app.api_route("/me", methods=["GET", "HEAD", "POST"])
        @app.options("/strict")
        async def me(session: required) -> dict[str, Any]:
            return show(session)

        @app.api_route("/optional", methods=["GET", "OPTIONS"])
        async def maybe(session: optional) -> Mapping[str, Any]:
            return show_user(session)

        @app.get("/sync")
        def sync(session: required) -> dict[str, Any]:
            return show(session)

        @app.get("/database")
        async def from_database(session: database) -> dict[str, Any]:
            return show(session)

        @app.get("/trusting")
        async def in_silence_too(session: trusting) -> dict[str, Any]:
            return show(session)

        @app.get("/checked")
        async def always_checked(session: checked) -> dict[str, Any]:
            return show(session)

        @app.post("/unchecked")
        async def never_checked(session: unchecked) -> dict[str, Any]:
            return show(session)

        app.get("/none")(none)

        @app.get("/data")
        async def data(session: required) -> dict[str, Any]:
            return await session.get_session_data_from_database()

        @app.post("/data")
        async def set_data(session: required, body: dict[str, Any]) -> dict[str, Any]:
            await session.update_session_data_in_database(body)
            return {}

        @app.get("/times")
        async def times(session: required) -> dict[str, Any]:
            return {"created": await session.get_time_created(), "expiry": await session.get_expiry()}

        @app.post("/payload")
        async def payload(session: required, body: dict[str, Any]) -> dict[str, Any]:
            await session.merge_into_access_token_payload(body)
            return session.get_jwt_payload()

        @app.post("/revoke")
        async def revoke(session: required) -> dict[str, Any]:
            await session.revoke_session()
            return {}

        app.post("/elsewhere/{handle}")(elsewhere)

        @app.get("/stream")
        async def stream(session: required) -> StreamingResponse:
            return StreamingResponse(three_chunks())

        @app.get("/exposing")
        async def exposing(session: required, response: Response) -> dict[str, Any]:
            response.headers.update(EXPOSING)
            return show(session)

        return add_layers(app, plan, sessions)


async def _fastapi_login_and_refuse(request: Request) -> Response:
    await create_new_session(request, request.path_params["user"])
    raise HTTPException(418)
