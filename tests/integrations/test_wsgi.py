"""What is WSGI's alone: write(), generators, a response that was begun, and what the middleware leaves untouched."""

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import falcon
import pytest

from tallystick import AsyncSessions, GeneralError, SessionError, Sessions, Unauthorised
from tallystick.integrations.wsgi import SessionMiddleware, answer_error, create_new_session, get_session
from tests.integrations.plan import SECRET
from tests.integrations.wsgi import WsgiClient

TEXT = [("Content-Type", "text/plain")]
HEADER_MODE = [("st-auth-mode", "header")]


def make_sessions(**settings: Any) -> Sessions:
    return Sessions("memory://", secret=SECRET, algorithm="EdDSA", **settings)


def client_of(app: Any, **settings: Any) -> WsgiClient:
    return WsgiClient(SessionMiddleware(app, make_sessions(**settings)))


def bearer(token: str | None) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


@pytest.mark.parametrize("wrong", [AsyncSessions("memory://", secret=SECRET), "sqlite://", None])
def test_anything_but_sessions_is_refused_when_the_app_starts(wrong: Any):
    with pytest.raises(GeneralError, match="SessionMiddleware needs Sessions") as caught:
        SessionMiddleware(lambda environ, start_response: [], wrong)
    assert caught.value.reason == "bad_config"


def test_an_app_without_the_middleware_is_told_how_to_add_it():
    with pytest.raises(GeneralError, match=r"app = SessionMiddleware\(app, sessions=\.\.\.\)") as caught:
        get_session({})
    assert caught.value.reason == "no_middleware"


def test_what_an_app_writes_is_kept_and_its_headers_are_changed():
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        create_new_session(environ, "ada")
        write = start_response("200 OK", TEXT)
        write(b"one")
        write(b"two")
        return [b"three"]

    reply = client_of(app).send("GET", "/", HEADER_MODE)
    assert reply.chunks == [b"one", b"two", b"three"]
    assert set(reply.session_headers) == {"front-token", "st-access-token", "st-refresh-token"}


class Lines:
    """A body of the app's own kind, which must be closed whatever happens."""

    is_closed = False

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_an_app_that_is_a_generator_is_served_and_refused_like_any_other(is_signed_in: bool):
    bodies: list[Lines] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        if environ["PATH_INFO"] == "/login":
            create_new_session(environ, "ada")
            start_response("200 OK", TEXT)
            yield b"welcome"
        else:
            user = get_session(environ).get_user_id()
            start_response("200 OK", TEXT)
            yield user.encode()
            yield b"!"

    def closed(environ: Any, start_response: Any) -> Lines:
        bodies.append(Lines(app(environ, start_response)))
        return bodies[-1]

    client = client_of(closed)
    token = client.send("GET", "/login", HEADER_MODE).header("st-access-token") if is_signed_in else "none"
    reply = client.send("GET", "/me", bearer(token))
    if is_signed_in:
        assert (reply.status, reply.chunks) == (200, [b"ada", b"!"])
    else:
        assert (reply.status, reply.json) == (401, {"message": "unauthorised"})
    assert all(body.is_closed for body in bodies)


def test_an_empty_generator_is_an_empty_body():
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("204 No Content", [])
        yield from ()

    assert client_of(app).send("GET", "/", []).body == b""


def test_a_stream_is_not_read_ahead():
    read: list[int] = []

    def numbers() -> Iterator[bytes]:
        for number in range(3):
            read.append(number)
            yield str(number).encode()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        return numbers()

    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
    response = iter(SessionMiddleware(app, make_sessions())(environ, lambda *args: lambda data: None))  # type: ignore[arg-type]
    assert read == []
    assert next(response) == b"0"
    assert read == [0]


def test_an_error_takes_a_response_back_that_was_begun_but_not_sent():
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [*TEXT, ("X-Half", "done")])
        get_session(environ)
        return [b"never"]

    reply = client_of(app).send("GET", "/", [])
    assert (reply.status, reply.json, reply.header("x-half")) == (401, {"message": "unauthorised"}, None)


def test_an_error_after_the_first_bytes_is_not_answered_twice():
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", TEXT)(b"begun")
        raise Unauthorised

    with pytest.raises(Unauthorised):
        client_of(app).send("GET", "/", [])


def test_an_error_of_the_app_answered_by_itself_still_carries_the_tokens():
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        create_new_session(environ, "ada")
        start_response("200 OK", TEXT)
        try:
            raise ZeroDivisionError
        except ZeroDivisionError as error:
            start_response("500 Oops", TEXT, (ZeroDivisionError, error, error.__traceback__))
        return [b"oops"]

    reply = client_of(app).send("GET", "/", HEADER_MODE)
    assert (reply.status, reply.body) == (500, b"oops")
    assert reply.header("st-access-token")


def test_an_own_status_without_a_phrase_of_its_own_is_served():
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        get_session(environ)
        raise AssertionError

    reply = client_of(app, session_expired_status_code=440).send("GET", "/", [])
    assert reply.status == 440


def test_a_refusal_of_head_has_no_body():
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        get_session(environ)
        raise AssertionError

    reply = client_of(app).send("HEAD", "/", [])
    assert (reply.status, reply.body) == (401, b"")
    assert reply.header("content-length") == str(len(b'{"message":"unauthorised"}'))


def test_the_scheme_that_a_layer_within_has_corrected_counts():
    def behind_proxy(environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["wsgi.url_scheme"] = "https"
        create_new_session(environ, "ada")
        start_response("200 OK", TEXT)
        return []

    reply = client_of(behind_proxy).send("GET", "/", [("st-auth-mode", "cookie")])
    assert all("secure" in cookie.attributes for cookie in reply.cookies.values())


def test_an_environ_that_is_used_again_has_nothing_of_the_request_before():
    """P-36"""
    sessions_seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        sessions_seen.append(environ.get("tallystick.session"))
        if environ["PATH_INFO"] == "/login":
            create_new_session(environ, "ada")
        start_response("200 OK", TEXT)
        return []

    middleware, started = SessionMiddleware(app, make_sessions()), []
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET"}
    for path in ("/login", "/next"):
        environ["PATH_INFO"] = path
        list(middleware(environ, lambda status, headers: started.append(headers)))  # type: ignore[arg-type]
    assert sessions_seen == [None, None]
    assert ["st-access-token" in dict(headers) for headers in started] == [True, False]


def test_threads_share_the_sessions_and_nothing_of_a_request():
    """P-36: however the requests overlap, each sees its own."""
    both_are_in = threading.Barrier(2, timeout=30)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        user = environ["PATH_INFO"].removeprefix("/")
        session = create_new_session(environ, user)
        both_are_in.wait()
        assert session.get_user_id() == user
        start_response("200 OK", TEXT)
        return [user.encode()]

    client = client_of(app)
    replies = client.send_all([("GET", "/ada", HEADER_MODE), ("GET", "/bob", HEADER_MODE)])
    assert [(reply.body, reply.front_token["uid"]) for reply in replies] == [(b"ada", "ada"), (b"bob", "bob")]


def reraise(request: Any, response: Any, error: Exception, params: Any) -> None:
    raise error


def answer(request: falcon.Request, response: falcon.Response, error: Any, params: Any) -> None:
    answered = answer_error(request.env, error)
    response.status, response.data = answered.status, answered.content
    response.set_headers(answered.all_headers)


@pytest.mark.parametrize("handler", [reraise, answer])
def test_falcon_s_wsgi_app_needs_no_more_than_the_middleware(handler: Any):
    class Login:
        def on_post(self, request: falcon.Request, response: falcon.Response) -> None:
            response.media = {"handle": create_new_session(request.env, "ada").get_handle()}

    class Me:
        def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
            response.media = {"user": get_session(request.env).get_user_id()}

    app = falcon.App()
    app.add_route("/login", Login())
    app.add_route("/me", Me())
    app.add_error_handler(SessionError, handler)
    client = client_of(app)
    assert client.send("GET", "/me", []).json == {"message": "unauthorised"}
    tokens = client.send("POST", "/login", [])
    assert client.send("GET", "/me", bearer(tokens.header("st-access-token"))).json == {"user": "ada"}
    refreshed = client.send("POST", "/auth/session/refresh", bearer(tokens.header("st-refresh-token")))
    assert refreshed.status == 200
    assert client.send("POST", "/auth/signout", bearer(refreshed.header("st-access-token"))).status == 200
