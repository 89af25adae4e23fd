"""What is Flask's alone: the extension, the current session, error handlers, other extensions."""

from typing import Any

import pytest
from flask import Flask, request
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from tallystick import AsyncSessions, GeneralError, SessionError, Sessions, Unauthorised
from tallystick.integrations import flask as integration
from tallystick.integrations import wsgi
from tallystick.integrations.flask import Tallystick, create_new_session, current_session, get_session, verify_session
from tests.integrations.plan import SECRET, WEBSITE
from tests.integrations.wsgi import WsgiClient


def make_sessions(**settings: Any) -> Sessions:
    return Sessions("memory://", secret=SECRET, algorithm="EdDSA", **settings)


def make_app(**settings: Any) -> Flask:
    app = Flask(__name__)
    Tallystick(app, sessions=make_sessions(**settings))
    add_views(app)
    return app


def add_views(app: Flask) -> None:
    @app.post("/login")
    def login() -> dict[str, Any]:
        return {"handle": create_new_session("ada", {"role": "admin"}).get_handle()}

    @app.get("/me")
    @verify_session()
    def me() -> dict[str, Any]:
        return {"user": current_session.get_user_id()}


def test_the_face_is_plain_wsgi_s_in_flask_s_words():
    own = {"Tallystick", "current_session", "verify_session"}
    assert set(integration.__all__) == {*wsgi.__all__, *own} - {"SessionMiddleware", "answer_error"}


@pytest.mark.parametrize("wrong", [AsyncSessions("memory://", secret=SECRET), "sqlite://", None])
def test_anything_but_sessions_is_refused_when_the_app_starts(wrong: Any):
    with pytest.raises(GeneralError, match="Tallystick needs Sessions") as caught:
        Tallystick(Flask(__name__), sessions=wrong)
    assert caught.value.reason == "bad_config"


def test_an_app_factory_puts_the_extension_in_later_and_more_than_once():
    tallystick = Tallystick(sessions=make_sessions())
    first, second = Flask("first"), Flask("second")
    for app in (first, second):
        tallystick.init_app(app)
        add_views(app)
        assert app.extensions["tallystick"] is tallystick
    tokens = first.test_client().post("/login")
    bearer = {"authorization": f"Bearer {tokens.headers['st-access-token']}"}
    assert second.test_client().get("/me", headers=bearer).json == {"user": "ada"}
    third = Flask("third")
    Tallystick().init_app(third, sessions=make_sessions())
    assert third.test_client().post("/auth/session/refresh").status_code == 401


def test_flask_s_own_test_client_stays_signed_in_by_its_cookie_jar():
    client = make_app().test_client()
    headers = {"st-auth-mode": "cookie", "rid": "anti-csrf"}
    assert client.post("/login", headers=headers).status_code == 200
    assert client.get("/me").json == {"user": "ada"}
    assert client.post("/auth/session/refresh", headers=headers).status_code == 200
    assert client.get("/me").json == {"user": "ada"}
    assert client.post("/auth/signout", headers=headers).json == {"status": "OK"}
    assert client.get("/me").status_code == 401


def test_the_routes_are_the_app_s_and_can_be_listed_and_exempted():
    app = make_app(api_base_path="/v1/auth")
    rules = {(rule.endpoint, rule.rule) for rule in app.url_map.iter_rules() if rule.endpoint.startswith("tallystick.")}
    assert rules == {
        ("tallystick.refresh", "/v1/auth/session/refresh/"),
        ("tallystick.sign_out", "/v1/auth/signout/"),
        ("tallystick.publish_keys", "/v1/auth/jwt/jwks.json/"),
    }
    assert "tallystick" in app.blueprints  # what CSRFProtect.exempt() takes


def test_the_routes_win_over_a_route_that_catches_all():
    app = Flask(__name__)

    @app.route("/<path:anything>", methods=["GET", "POST"])
    def page(anything: str) -> str:
        return anything

    Tallystick(app, sessions=make_sessions())
    assert app.test_client().post("/auth/session/refresh").status_code == 401
    assert app.test_client().get("/auth/jwt/jwks.json").json is not None


def test_outside_of_a_request_there_is_no_current_session():
    with pytest.raises(RuntimeError, match="outside of request context"):
        current_session.get_user_id()


def test_a_view_that_looks_at_no_session_has_the_reason_in_the_log(caplog: pytest.LogCaptureFixture):
    app = make_app()

    @app.get("/careless")
    def careless() -> str:
        return current_session.get_user_id()

    assert app.test_client().get("/careless").json == {"message": "internal error"}
    assert "not_verified" in caplog.text
    assert "@verify_session()" in caplog.text


def test_an_optional_session_that_is_not_there_is_false():
    app = make_app()

    @app.get("/maybe")
    @verify_session(session_required=False)
    def maybe() -> dict[str, bool]:
        return {"is_signed_in": bool(current_session)}

    client = app.test_client()
    assert client.get("/maybe").json == {"is_signed_in": False}
    bearer = {"authorization": f"Bearer {client.post('/login').headers['st-access-token']}"}
    assert client.get("/maybe", headers=bearer).json == {"is_signed_in": True}


def test_an_async_view_is_served_as_flask_serves_it():
    app = make_app()

    @app.get("/async")
    @verify_session()
    async def asynchronous() -> dict[str, str]:
        return {"user": current_session.get_user_id()}

    client = app.test_client()
    assert client.get("/async").status_code == 401
    bearer = {"authorization": f"Bearer {client.post('/login').headers['st-access-token']}"}
    assert client.get("/async", headers=bearer).json == {"user": "ada"}


def test_an_app_without_the_extension_is_told_so():
    app = Flask(__name__)
    add_views(app)
    app.config["TESTING"] = True
    with pytest.raises(GeneralError, match=r"Tallystick\(app, sessions=\.\.\.\)") as caught:
        app.test_client().get("/me")
    assert caught.value.reason == "no_middleware"


@pytest.mark.parametrize("comes_first", [True, False])
def test_the_app_s_own_handlers_win_whenever_they_were_registered(comes_first: bool):
    app = Flask(__name__)

    def mine(_error: SessionError) -> tuple[str, int]:
        return "mine", 401

    if comes_first:
        app.register_error_handler(SessionError, mine)
    Tallystick(app, sessions=make_sessions())
    if not comes_first:
        app.register_error_handler(Unauthorised, mine)
    add_views(app)
    assert app.test_client().get("/me").text == "mine"


def test_a_handler_for_every_exception_does_not_take_ours():
    app = make_app()
    app.register_error_handler(Exception, lambda error: ("oops", 500))
    assert app.test_client().get("/me").json == {"message": "unauthorised"}


def test_a_before_request_function_may_ask_for_the_session():
    app = make_app()

    @app.before_request
    def guard() -> None:
        if request.path.startswith("/admin"):
            get_session()

    @app.get("/admin")
    def admin() -> dict[str, str]:
        return {"user": current_session.get_user_id()}

    client = app.test_client()
    assert client.get("/admin").json == {"message": "unauthorised"}
    bearer = {"authorization": f"Bearer {client.post('/login').headers['st-access-token']}"}
    assert client.get("/admin", headers=bearer).json == {"user": "ada"}


def test_no_other_extension_has_the_last_word_on_the_headers():
    app = Flask(__name__)
    CORS(app, origins=[WEBSITE], supports_credentials=True, expose_headers=["x-app"])
    Tallystick(app, sessions=make_sessions())
    add_views(app)

    @app.after_request
    def cached(response: Any) -> Any:
        response.headers["cache-control"] = "public"
        return response

    reply = WsgiClient(app).send("POST", "/login", [("origin", WEBSITE)])
    assert reply.header("cache-control") == "no-store"
    assert reply.exposed == ["x-app", "front-token", "st-access-token", "st-refresh-token"]


@pytest.mark.parametrize("is_outside", [True, False])
def test_a_proxy_s_word_on_the_scheme_counts_on_either_side_of_us(is_outside: bool):
    app = Flask(__name__)
    if not is_outside:
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    Tallystick(app, sessions=make_sessions())
    if is_outside:
        app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    add_views(app)
    headers = [("st-auth-mode", "cookie"), ("x-forwarded-proto", "https")]
    reply = WsgiClient(app).send("POST", "/login", headers)
    assert all("secure" in cookie.attributes for cookie in reply.cookies.values())


def test_flask_s_own_session_is_another_one():
    from flask import session  # noqa: PLC0415

    app = make_app()
    app.secret_key = "of Flask"

    @app.post("/both")
    def both() -> dict[str, Any]:
        session["cart"] = ["tea"]
        return {"handle": create_new_session("ada").get_handle()}

    reply = WsgiClient(app).send("POST", "/both", [("st-auth-mode", "cookie")])
    names = [value.partition("=")[0] for name, value in reply.headers if name == "set-cookie"]
    assert sorted(names) == ["sAccessToken", "sRefreshToken", "session"]


def test_what_is_left_in_the_environ_shows_no_token():
    app = make_app()
    seen: list[str] = []

    @app.get("/dump")
    @verify_session()
    def dump() -> str:
        seen.extend(repr(value) for name, value in request.environ.items() if name != "HTTP_AUTHORIZATION")
        return ""

    client = app.test_client()
    token = client.post("/login").headers["st-access-token"]
    client.get("/dump", headers={"authorization": f"Bearer {token}"})
    assert any(text.startswith("Session(handle=") for text in seen)
    assert not any(token in text for text in seen)
