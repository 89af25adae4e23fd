"""Sessions in a Starlette app, and in any other that is built on Starlette.

::

    app.add_middleware(SessionMiddleware, sessions=AsyncSessions("sqlite:///sessions.db"))
    app.add_middleware(CORSMiddleware, ...)   # added after it, so that it stands outside

    session = await get_session(request)      # also in request.state.session from then on

All of it is plain ASGI: see :mod:`tallystick.integrations.asgi`.
"""

from __future__ import annotations

from tallystick.integrations.asgi import (
    Session,
    SessionMiddleware,
    create_new_session,
    get_all_cors_headers,
    get_cors_expose_headers,
    get_session,
    until_session_ends,
)

__all__ = [
    "Session",
    "SessionMiddleware",
    "create_new_session",
    "get_all_cors_headers",
    "get_cors_expose_headers",
    "get_session",
    "until_session_ends",
]
