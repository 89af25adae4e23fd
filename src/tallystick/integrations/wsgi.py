"""Sessions in any WSGI app: Falcon, Bottle, Pyramid, or none of them. No event loop is involved.

::

    app = SessionMiddleware(app, sessions=Sessions("sqlite:///sessions.db"))

    session = get_session(environ)

The middleware answers ``POST /auth/session/refresh``, ``POST /auth/signout`` and ``GET /auth/jwt/jwks.json`` itself,
makes the changes to every other response that its session asks for, and turns :class:`SessionError` into the right
answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, overload

from tallystick.config import PUBLIC
from tallystick.errors import GeneralError, SessionError
from tallystick.sessions import Sessions
from tallystick.transport.cors import get_all_cors_headers, get_cors_expose_headers
from tallystick.transport.decisions import Answer
from tallystick.transport.dialogue import Dialogue, Question, check_sessions, hold
from tallystick.transport.exchange import Exchange
from tallystick.transport.routes import Routes
from tallystick.transport.session import Held, SessionContent, create, verify
from tallystick.types import Json

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

__all__ = [
    "Session",
    "SessionMiddleware",
    "create_new_session",
    "get_all_cors_headers",
    "get_cors_expose_headers",
    "get_session",
]

T = TypeVar("T")

Environ: TypeAlias = MutableMapping[str, Any]

_KEY: Final = "tallystick"
