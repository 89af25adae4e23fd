"""An app with WebSockets that stay open, as uvicorn serves it; it says nothing and waits for what clients say."""

import os

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from tallystick import AsyncSessions
from tallystick.integrations.starlette import SessionMiddleware, get_session

sessions = AsyncSessions(
    os.environ["STORE_URL"], secret=os.environ["STORE_SECRET"], algorithm="EdDSA", instant_revocation=True
)


async def listen(websocket: WebSocket) -> None:
    await get_session(websocket)
    await websocket.accept()
    async for _ in websocket.iter_text():
        pass


app = SessionMiddleware(Starlette(routes=[WebSocketRoute("/", listen)]), sessions)
