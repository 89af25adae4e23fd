"""No framework at all: functions of ``environ``."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from tallystick import SessionError, Sessions
from tallystick.integrations.wsgi import (
    SessionMiddleware,
    create_new_session,
    get_all_cors_headers,
    get_session,
)
from tests.integrations.apps.serving import WsgiApp
from tests.integrations.plan import CHUNKS, EXPOSING, WEBSITE, Plan, show, show_user

Environ = dict[str, Any]
JSON = [("Content-Type", "application/json")]


class PlainWsgiApp(WsgiApp):
    name = "wsgi"

    def build(self, plan: Plan, sessions: Sessions) -> WSGIApplication:
        app: WSGIApplication = partial(serve, sessions)
        if plan.has_own_middleware:
            app = partial(mark, app)
        if plan.has_own_handler:
            app = partial(answer_myself, app)
        app = SessionMiddleware(app, sessions)
        return partial(add_cors, app) if plan.has_cors else app


def serve(sessions: Sessions, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    name, _, argument = environ["PATH_INFO"].removeprefix("/").partition("/")
    argument = argument.encode("latin-1").decode("utf-8")
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    given = json.loads(body) if body else None
    place = (environ["REQUEST_METHOD"], name)
    if place == ("GET", "stream"):
        get_session(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter(CHUNKS)
    status, headers = "200 OK", list(EXPOSING.items()) if name == "exposing" else []
    if name == "login-and-refuse":
        status = "418 I'm a Teapot"
    handler = ROUTES.get(place)
    if handler is None and place[0] == "HEAD":
        handler = ROUTES.get(("GET", name))
    if handler is None:
        status, answer = "404 Not Found", {}
    elif place == ("POST", "elsewhere"):
        answer = {"revoked": sessions.revoke_session(argument)}
    else:
        answer = handler(environ, argument, given)
    content = json.dumps(answer, separators=(",", ":")).encode()
    start_response(status, [*JSON, *headers])
    return [] if place[0] == "HEAD" else [content]


def login(environ: Environ, user: str, given: Any) -> Any:
    session = create_new_session(environ, user, given, {"cart": []})
    return {"handle": session.get_handle()}


def login_and_crash(environ: Environ, user: str, _given: Any) -> Any:
    create_new_session(environ, user)
    raise ZeroDivisionError


def me(environ: Environ, _argument: str, _given: Any, **how: Any) -> Any:
    session = get_session(environ, **how)
    assert environ["tallystick.session"] is session
    return show(session)


def optional(environ: Environ, _argument: str, _given: Any) -> Any:
    session = get_session(environ, session_required=False)
    assert environ["tallystick.session"] is session
    return show_user(session)


def data(environ: Environ, _argument: str, given: Any) -> Any:
    session = get_session(environ)
    if given is None:
        return session.get_session_data_from_database()
    session.update_session_data_in_database(given)
    return {}


def times(environ: Environ, _argument: str, _given: Any) -> Any:
    session = get_session(environ)
    return {"created": session.get_time_created(), "expiry": session.get_expiry()}


def payload(environ: Environ, _argument: str, given: Any) -> Any:
    session = get_session(environ)
    session.merge_into_access_token_payload(given)
    return session.get_jwt_payload()


def revoke(environ: Environ, _argument: str, _given: Any) -> Any:
    get_session(environ).revoke_session()
    return {}


def none(_environ: Environ, _argument: str, _given: Any) -> Any:
    return {"hello": "world"}


ROUTES: dict[tuple[str, str], Callable[..., Any]] = {
    ("POST", "login"): login,
    ("POST", "login-and-refuse"): login,
    ("POST", "login-and-crash"): login_and_crash,
    ("GET", "me"): me,
    ("POST", "me"): me,
    ("OPTIONS", "strict"): me,
    ("GET", "optional"): optional,
    ("OPTIONS", "optional"): optional,
    ("GET", "sync"): me,
    ("GET", "database"): partial(me, check_database=True),
    ("GET", "trusting"): partial(me, on_feed_silence="accept"),
    ("GET", "checked"): partial(me, anti_csrf_check=True),
    ("POST", "unchecked"): partial(me, anti_csrf_check=False),
    ("GET", "none"): none,
    ("GET", "data"): data,
    ("POST", "data"): data,
    ("GET", "times"): times,
    ("POST", "payload"): payload,
    ("POST", "revoke"): revoke,
    ("POST", "elsewhere"): none,
    ("GET", "exposing"): me,
}


def mark(app: WSGIApplication, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    def start_marked(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        return start_response(status, [*headers, ("x-app", "was here")], *exc_info)

    return app(environ, start_marked)


def answer_myself(app: WSGIApplication, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    try:
        response = app(environ, start_response)
    except SessionError:
        start_response("401 Unauthorized", JSON)
        response = [b'{"message":"mine"}']
    yield from response


def add_cors(app: WSGIApplication, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """As little as suffices; real ones stand around Flask and Django."""
    headers = [("Access-Control-Allow-Origin", WEBSITE), ("Access-Control-Allow-Credentials", "true")]
    if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
        allowed = ", ".join(["content-type", *get_all_cors_headers()])
        start_response("200 OK", [*headers, ("Access-Control-Allow-Headers", allowed), ("Content-Type", "text/plain")])
        return [b"OK"]

    def start_with_cors(status: str, given: list[tuple[str, str]], *exc_info: Any) -> Any:
        own = {name.lower() for name, _ in given}
        return start_response(status, [*given, *(pair for pair in headers if pair[0].lower() not in own)], *exc_info)

    return app(environ, start_with_cors)
