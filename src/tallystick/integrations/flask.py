"""Sessions in a Flask app. No event loop is involved.

::

    Tallystick(app, sessions=Sessions("sqlite:///sessions.db"))

    @app.get("/me")
    @verify_session()
    def me():
        return {"user": current_session.get_user_id()}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, Final, Literal, ParamSpec, TypeVar, cast, overload

from flask import Blueprint, Flask, Request, Response, current_app, request
from werkzeug.local import LocalProxy

from tallystick.config import PUBLIC, FeedSilence
from tallystick.errors import GeneralError, SessionError
from tallystick.integrations import wsgi
from tallystick.integrations.wsgi import (
    SESSION_KEY,
    Carrier,
    Session,
    get_all_cors_headers,
    get_cors_expose_headers,
    slot_of,
)
from tallystick.protocol.claims import OverrideValidators
from tallystick.sessions import Sessions
from tallystick.transport.decisions import Answer
from tallystick.transport.devices import ONE
from tallystick.transport.dialogue import check_sessions
from tallystick.transport.routes import Route, Routes

__all__ = [
    "Session",
    "Tallystick",
    "create_new_session",
    "current_session",
    "get_all_cors_headers",
    "get_cors_expose_headers",
    "get_session",
    "verify_session",
]

P = ParamSpec("P")
R = TypeVar("R")

_NAME: Final = "tallystick"

# An attribute by way of one of Flask's proxies takes half as long as a verification; what it stands for is quick to ask
# for. The name has an underscore, and a place in Flask's documentation.
_find_request: Final[Callable[[], Request]] = cast("LocalProxy[Request]", request)._get_current_object  # pyright: ignore[reportPrivateUsage]
_find_app: Final[Callable[[], Flask]] = cast("LocalProxy[Flask]", current_app)._get_current_object  # pyright: ignore[reportPrivateUsage]


class Tallystick:
    """The extension: ``Tallystick(app, sessions=...)``, or ``Tallystick(sessions=...)`` and later ``init_app(app)``.

    It serves ``POST /auth/session/refresh``, ``POST /auth/signout`` and ``GET /auth/jwt/jwks.json`` as a blueprint
    named ``tallystick``, makes the changes to every response that its session asks for, and answers
    :class:`SessionError` unless the app has a handler for it.
    """

    def __init__(self, app: Flask | None = None, sessions: Sessions | None = None) -> None:
        self.sessions = sessions
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, sessions: Sessions | None = None) -> None:
        """Put Tallystick into an app. Raises :class:`GeneralError` (``bad_config``) without :class:`Sessions`."""
        found = check_sessions(self.sessions if sessions is None else sessions, Sessions, type(self).__name__)
        app.extensions[_NAME] = self
        app.register_blueprint(_make_blueprint(Routes(found.config)))
        if SessionError not in app.error_handler_spec[None][None]:
            app.register_error_handler(SessionError, _answer_error)
        # Around the whole app, so that no other extension has the last word on the headers.
        app.wsgi_app = Carrier(app.wsgi_app, found)  # type: ignore[method-assign]  # as Flask documents it


def create_new_session(
    user_id: str,
    jwt_payload: Mapping[str, Any] | None = None,
    session_data: Mapping[str, Any] | None = None,
    *,
    tenant_id: str = PUBLIC,
) -> Session:
    """Sign a user in whom the app has just authenticated. The response to this request carries the tokens."""
    return wsgi.create_new_session(_find_request().environ, user_id, jwt_payload, session_data, tenant_id=tenant_id)


@overload
def get_session(
    session_required: Literal[True] = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session: ...


@overload
def get_session(
    session_required: bool,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session | None: ...


def get_session(
    session_required: bool = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Session | None:
    """The verified session of this request; see :func:`tallystick.integrations.wsgi.get_session`."""
    return wsgi.get_session(
        _find_request().environ,
        session_required,
        anti_csrf_check,
        check_database,
        override_global_claim_validators,
        on_feed_silence,
    )


def verify_session(
    session_required: bool = True,
    anti_csrf_check: bool | None = None,
    check_database: bool = False,
    override_global_claim_validators: OverrideValidators | None = None,
    on_feed_silence: FeedSilence | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator, to stand below the route's: the view runs with a verified ``current_session``; see
    :func:`get_session` for the arguments."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def verified(*args: P.args, **kwargs: P.kwargs) -> R:
            get_session(
                session_required, anti_csrf_check, check_database, override_global_claim_validators, on_feed_silence
            )
            # As Flask does it, so that the view may be async too.
            result: R = _find_app().ensure_sync(view)(*args, **kwargs)
            return result

        return verified

    return decorate


def _current() -> Session | None:
    environ = _find_request().environ
    if SESSION_KEY not in environ:
        raise GeneralError(
            "no session has been looked at in this request: decorate the view with @verify_session(), "
            "or call get_session()",
            reason="not_verified",
        )
    found: Session | None = environ[SESSION_KEY]
    return found


current_session = cast("Session", LocalProxy(_current))
"""The session of this request. False (and nothing else) where the session is optional and there is none."""


def _make_blueprint(routes: Routes) -> Blueprint:
    """Our routes as Flask's own, so that whatever the app does to every response is done to theirs: CORS above all,
    with the answers to its preflights."""
    blueprint = Blueprint(_NAME, __name__)
    for (method, path), route in routes.by_place.items():
        blueprint.add_url_rule(
            f"{path.replace(ONE, '<handle>')}/",
            endpoint=route.__name__.strip("_"),
            view_func=partial(_serve, route),
            methods=[method],
            strict_slashes=False,
        )
    return blueprint


def _serve(route: Route, **_found: str) -> Response:
    slot = slot_of(_find_request().environ)
    return _respond(slot.hold(route(slot.exchange)))


def _answer_error(error: SessionError) -> Response:
    return _respond(wsgi.answer_error(_find_request().environ, error))


def _respond(answer: Answer) -> Response:
    return Response(answer.content, answer.status, answer.all_headers)
