"""Demo only: a thief with a copy of your cookies, who acts from the server's side.

He is an HTTP client like any other and goes through the whole app; nothing knows that he is not you, until the
rotation gives him away.
"""

from __future__ import annotations

from time import perf_counter
from typing import Annotated

import httpx
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import StreamingResponse
from starlette.datastructures import Headers

from demo.wiretap import THIEF_AGENT, Watched, Wiretap, read_set_cookies
from tallystick.integrations.fastapi import Session, verify_session

router = APIRouter(prefix="/demo")


def get_watched(handle: str, request: Request) -> Watched:
    """What the wiretap knows of a session. The handle is no secret, and no token is told."""
    wiretap: Wiretap = request.app.state.wiretap
    if handle not in wiretap.sessions:
        raise HTTPException(404, "the demo has not seen this session")
    return wiretap.sessions[handle]


Observed = Annotated[Watched, Depends(get_watched)]


@router.get("/feed/{handle}")
async def feed(watched: Observed) -> StreamingResponse:
    """The session's rotation, live, as server-sent events."""
    return StreamingResponse(watched.follow(), media_type="text/event-stream", headers={"cache-control": "no-store"})


@router.post("/thief")
async def copy_cookies(session: Annotated[Session, Depends(verify_session())], request: Request) -> dict[str, str]:
    """Give the thief a copy of the caller's jar."""
    get_watched(session.get_handle(), request).steal()
    return {"handle": session.get_handle()}


@router.post("/thief/{handle}/refresh")
async def refresh_as_thief(watched: Observed, request: Request) -> dict[str, object]:
    return await act(watched, request, "POST", "/auth/session/refresh")


@router.post("/thief/{handle}/call")
async def call_as_thief(watched: Observed, request: Request) -> dict[str, object]:
    return await act(watched, request, "GET", "/api/hello")


async def act(watched: Watched, request: Request, method: str, path: str) -> dict[str, object]:
    """One request of the thief's. His jar is the wiretap's record of it, so it needs no keeping up to date here."""
    jar = watched.jars.get("thief")
    if jar is None:
        raise HTTPException(409, "the thief has no copy of your cookies yet")
    is_refresh = path.endswith("/refresh")
    cookie = f"sRefreshToken={jar.refresh_token}" if is_refresh else f"sAccessToken={jar.access_token}"
    headers = {"user-agent": THIEF_AGENT, "cookie": cookie, "rid": "session"}
    transport = httpx.ASGITransport(app=request.app)
    started = perf_counter()
    async with httpx.AsyncClient(transport=transport, base_url=request.app.state.origin) as client:
        answer = await client.request(method, path, headers=headers)
    took = perf_counter() - started
    given = read_set_cookies(Headers(raw=list(answer.headers.raw)))
    watched.last["thief"] = f"{method} {path}: {answer.status_code}"
    watched.tell()
    return {
        "method": method,
        "path": path,
        "status": answer.status_code,
        "message": answer.json().get("message"),
        "milliseconds": round(took * 1000, 1),
        "gotTokens": bool(given.get("sAccessToken")),
    }
