"""Sessions in a FastAPI app: Starlette's middleware, and a dependency.

::

    app.add_middleware(SessionMiddleware, sessions=AsyncSessions("sqlite:///sessions.db"))

    @app.get("/me")
    async def me(session: Annotated[Session, Depends(verify_session())]) -> dict[str, str]:
        return {"user": session.get_user_id()}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, overload

from fastapi import Depends
from starlette.requests import HTTPConnection

from tallystick.config import FeedSilence
from tallystick.integrations.starlette import (
    Session,
    SessionMiddleware,
    create_new_session,
    get_all_cors_headers,
    get_cors_expose_headers,
    get_session,
    until_session_ends,
)
from tallystick.protocol.claims import OverrideValidators

__all__ = [
    "Session",
    "SessionMiddleware",
    "create_new_session",
    "get_all_cors_headers",
    "get_cors_expose_headers",
    "get_session",
    "until_session_ends",
    "verify_session",
]


def _want_parentheses() -> None:
    """FastAPI comes here where it was given :func:`verify_session` itself, whose result would verify nothing."""
    raise TypeError("write Depends(verify_session()), with parentheses: without them no session is verified")


@overload
def verify_session(
    session_required: Literal[True] = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Callable[[HTTPConnection], Awaitable[Session]]: ...


@overload
def verify_session(
    session_required: bool,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Callable[[HTTPConnection], Awaitable[Session | None]]: ...


def verify_session(
    session_required: Annotated[bool, Depends(_want_parentheses)] = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Callable[[HTTPConnection], Awaitable[Session | None]]:
    """A dependency that gives the request's verified :class:`Session`; see
    :func:`tallystick.integrations.starlette.get_session` for the arguments. It is also in ``request.state.session``."""

    async def verified_session(request: HTTPConnection) -> Session | None:
        return await get_session(
            request,
            session_required,
            anti_csrf_check,
            check_database,
            override_global_claim_validators,
            on_feed_silence,
        )

    return verified_session
