from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, abort, request
from flask_cors import CORS

from tallystick import SessionError, Sessions
from tallystick.integrations.flask import (
    Tallystick,
    create_new_session,
    current_session,
    get_all_cors_headers,
    get_session,
    verify_session,
)
from tests.integrations.apps.serving import WsgiApp
from tests.integrations.plan import CHUNKS, EXPOSING, WEBSITE, Plan, show, show_user

Answer = Mapping[str, Any]


class FlaskApp(WsgiApp):
    name = "flask"

    def build(self, plan: Plan, sessions: Sessions) -> Flask:
        app = Flask(__name__)
        app.json.compact = True  # type: ignore[attr-defined]
        if plan.has_own_handler:
            app.register_error_handler(SessionError, _answer_myself)
        Tallystick(app, sessions=sessions)
        if plan.has_cors:
            CORS(
                app,
                origins=[WEBSITE],
                supports_credentials=True,
                allow_headers=["content-type", *get_all_cors_headers()],
            )
        if plan.has_own_middleware:
            app.after_request(_mark)
        add_routes(app, sessions)
        return app


def add_routes(app: Flask, sessions: Sessions) -> None:
    @app.post("/login/<user>")
    def login(user: str) -> Answer:
        payload = request.get_json() if request.data else None
        return {"handle": create_new_session(user, payload, {"cart": []}).get_handle()}

    @app.post("/login-and-refuse/<user>")
    def login_and_refuse(user: str) -> Answer:
        create_new_session(user)
        abort(418)

    @app.post("/login-and-crash/<user>")
    def login_and_crash(user: str) -> Answer:
        create_new_session(user)
        raise ZeroDivisionError

    @app.route("/me", methods=["GET", "POST"])
    @app.route("/strict", methods=["OPTIONS"])
    @verify_session()
    def me() -> Answer:
        return show(current_session)

    @app.route("/optional", methods=["GET", "OPTIONS"])
    @verify_session(session_required=False)
    def optional() -> Answer:
        return show_user(current_session or None)

    @app.get("/sync")
    def sync() -> Answer:
        return show(get_session())

    @app.get("/database")
    @verify_session(check_database=True)
    def database() -> Answer:
        return show(current_session)

    @app.get("/trusting")
    @verify_session(on_feed_silence="accept")
    def trusting() -> Answer:
        return show(current_session)

    @app.get("/checked")
    @verify_session(anti_csrf_check=True)
    def checked() -> Answer:
        return show(current_session)

    @app.post("/unchecked")
    @verify_session(anti_csrf_check=False)
    def unchecked() -> Answer:
        return show(current_session)

    @app.get("/none")
    def none() -> Answer:
        return {"hello": "world"}

    @app.route("/data", methods=["GET", "POST"])
    @verify_session()
    def data() -> Answer:
        if request.method == "GET":
            return current_session.get_session_data_from_database()
        current_session.update_session_data_in_database(request.get_json())
        return {}

    @app.get("/times")
    @verify_session()
    def times() -> Answer:
        return {"created": current_session.get_time_created(), "expiry": current_session.get_expiry()}

    @app.post("/payload")
    @verify_session()
    def payload() -> Answer:
        current_session.merge_into_access_token_payload(request.get_json())
        return current_session.get_jwt_payload()

    @app.post("/revoke")
    @verify_session()
    def revoke() -> Answer:
        current_session.revoke_session()
        return {}

    @app.post("/elsewhere/<handle>")
    def elsewhere(handle: str) -> Answer:
        return {"revoked": sessions.revoke_session(handle)}

    @app.get("/stream")
    @verify_session()
    def stream() -> Response:
        return Response(iter(CHUNKS))

    @app.get("/exposing")
    @verify_session()
    def exposing() -> tuple[Answer, Answer]:
        return show(current_session), EXPOSING


def _answer_myself(_error: SessionError) -> tuple[Answer, int]:
    return {"message": "mine"}, 401


def _mark(response: Response) -> Response:
    response.headers["x-app"] = "was here"
    return response
