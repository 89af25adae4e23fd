"""A FastAPI app whose users stay signed in with Tallystick. This file and `web/main.js` are all that an app needs.

The rest of the folder (`wiretap.py`, `thief.py`) is there to play the thief and has no place in an app.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import Scope

from demo.thief import router as thief_router
from demo.wiretap import TappedSessions, Wiretap
from tallystick import AsyncSessions, SessionInformation
from tallystick.integrations.fastapi import Session, SessionMiddleware, create_new_session, verify_session

HERE = Path(__file__).parent
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class User:
    """Someone who can sign in."""

    id: str
    name: str
    role: str


USERS = {
    user.id: user
    for user in (
        User("ada", "Ada", "analyst"),
        User("grace", "Grace", "admiral"),
        User("linus", "Linus", "maintainer"),
    )
}

router = APIRouter(prefix="/api")


def get_sessions(request: Request) -> AsyncSessions:
    """The app's sessions."""
    sessions: AsyncSessions = request.app.state.sessions
    return sessions


AllSessions = Annotated[AsyncSessions, Depends(get_sessions)]
SignedIn = Annotated[Session, Depends(verify_session())]
"""Verified in the process: no database is asked."""
SurelySignedIn = Annotated[Session, Depends(verify_session(check_database=True))]
"""For what matters: the database is asked whether the session still is."""


@router.get("/users")
async def list_users() -> list[User]:
    return list(USERS.values())


@router.post("/sign-in/{user_id}")
async def sign_in(user_id: str, request: Request) -> User:
    """A real app checks a password, a passkey or an identity provider's word here. That is its own business."""
    user = USERS.get(user_id)
    if user is None:
        raise HTTPException(404, "there is no such user")
    device = describe_device(request.headers.get("user-agent", ""))
    await create_new_session(request, user.id, {"name": user.name, "role": user.role}, {"device": device})
    return user


@router.get("/hello")
async def hello(session: SignedIn) -> dict[str, str]:
    """The protected API."""
    claims = session.get_jwt_payload()
    return {"message": f"Hello, {claims['name']}", "role": claims["role"], "handle": session.get_handle()}


@router.get("/sessions")
async def list_sessions(session: SurelySignedIn, sessions: AllSessions) -> list[dict[str, object]]:
    """The signed-in user's sessions, oldest first."""
    handles = await sessions.get_all_session_handles_for_user(session.get_user_id())
    found = [await sessions.get_session_information(handle) for handle in handles]
    return [describe_session(one, session, sessions) for one in found if one is not None]


@router.delete("/sessions/{handle}")
async def sign_out_one(handle: str, session: SurelySignedIn, sessions: AllSessions) -> dict[str, int]:
    """End one of the user's own sessions, on whatever device it is."""
    if handle not in await sessions.get_all_session_handles_for_user(session.get_user_id()):
        raise HTTPException(404, "this is no session of yours")
    return {"ended": int(await sessions.revoke_session(handle))}


@router.delete("/sessions")
async def sign_out_everywhere(session: SurelySignedIn, sessions: AllSessions) -> dict[str, int]:
    ended = await sessions.revoke_all_sessions_for_user(session.get_user_id())
    await session.revoke_session()  # takes this browser's cookies away too
    return {"ended": len(ended)}


def describe_session(one: SessionInformation, current: Session, sessions: AsyncSessions) -> dict[str, object]:
    validity = sessions.config.refresh_token_validity // timedelta(milliseconds=1)
    return {
        "handle": one.session_handle,
        "device": one.session_data.get("device", "unknown device"),
        "created": one.time_created,
        # Each refresh that is put to use moves the end, so the end says when that was: nothing more has to be written.
        "seen": one.expiry - validity,
        "current": one.session_handle == current.get_handle(),
    }


def describe_device(user_agent: str) -> str:
    browsers = {"Edg/": "Edge", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
    systems = {"Android": "Android", "iPhone": "iPhone", "Windows": "Windows", "Mac OS": "macOS", "Linux": "Linux"}
    browser = next((name for mark, name in browsers.items() if mark in user_agent), "A client")
    system = next((name for mark, name in systems.items() if mark in user_agent), None)
    return browser if system is None else f"{browser} on {system}"


class FreshFiles(StaticFiles):
    """Files that the browser asks for again each time, so that a new build shows at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


def create_app(database_url: str, *, origin: str, access_token_validity: timedelta = timedelta(seconds=5)) -> FastAPI:
    """The app at ``origin``. Access tokens usually last an hour; here they run out while you watch."""
    wiretap = Wiretap()
    sessions = TappedSessions(
        wiretap,  # AsyncSessions takes the same arguments but this one
        database_url,
        secret=secrets.token_urlsafe(48),
        access_token_validity=access_token_validity,
        api_domain=origin,
        website_domain=origin,
        token_transfer_method="cookie",
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with sessions:
            yield

    app = FastAPI(title="Tallystick demo", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.sessions = sessions
    app.state.wiretap = wiretap
    app.state.origin = origin
    app.include_router(router)
    app.include_router(thief_router)
    app.mount("/assets", FreshFiles(directory=HERE / "assets"))
    app.add_middleware(SessionMiddleware, sessions=sessions)
    app.add_middleware(wiretap.middleware)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1"])

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(HERE / "web" / "index.html", headers=PAGE_HEADERS)

    @app.get("/api/settings")
    async def settings() -> dict[str, object]:
        config = sessions.config
        return {
            "lifetime": config.access_token_validity.total_seconds(),
            "grace": config.grace.total_seconds(),
            "users": [asdict(user) for user in USERS.values()],
        }

    return app
