"""How an app of each kind is run in the process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.middleware.cors import CORSMiddleware

from tallystick import AsyncSessions, Sessions
from tallystick.integrations.asgi import get_all_cors_headers
from tests.integrations.asgi import AsgiClient
from tests.integrations.plan import WEBSITE, Plan
from tests.integrations.wsgi import WsgiClient


class AsgiApp:
    """An ASGI framework's app, around which Starlette's CORS layer fits."""

    name: str

    @contextmanager
    def open(self, plan: Plan) -> Iterator[AsgiClient]:
        sessions = plan.make_async_sessions()
        with asyncio.Runner() as runner:
            app = self.build(plan, sessions)
            if plan.has_cors:
                app = CORSMiddleware(
                    app,
                    allow_origins=[WEBSITE],
                    allow_credentials=True,
                    allow_methods=["GET", "POST", "PUT", "DELETE"],
                    allow_headers=["content-type", *get_all_cors_headers()],
                )
            yield AsgiClient(app, runner, scheme=plan.scheme, root_path=plan.root_path)
            runner.run(sessions.close())

    def build(self, plan: Plan, sessions: AsyncSessions) -> Any:
        raise NotImplementedError


class WsgiApp:
    """A WSGI framework's app, which brings its own CORS layer."""

    name: str

    @contextmanager
    def open(self, plan: Plan) -> Iterator[WsgiClient]:
        with plan.make_sessions() as sessions:
            yield WsgiClient(self.build(plan, sessions), scheme=plan.scheme, root_path=plan.root_path)

    def build(self, plan: Plan, sessions: Sessions) -> Any:
        raise NotImplementedError
