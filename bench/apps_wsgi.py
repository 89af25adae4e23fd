"""Flask: bare, with Tallystick, and with what else there is for it. See apps_asgi.py."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from apps_asgi import _rsa_pair
from calling import PATH, PLAIN, Headers, WsgiCaller
from subject import PAYLOAD, SECRET, Subject, bearer, cookie, sign_in_nobody

from tallystick import Sessions


def flask_bare() -> Subject:
    """The framework alone."""
    return Subject(WsgiCaller(_flask(lambda: "nobody")), sign_in_nobody)


def flask_tallystick(url: Any = None) -> Subject:
    """`Tallystick(app, sessions=...)` and `get_session()`; the access token in its cookie, the sessions in SQLite."""
    from tallystick.integrations.flask import Tallystick, get_session  # noqa: PLC0415

    directory = tempfile.TemporaryDirectory()
    sessions = Sessions(url or f"sqlite:///{directory.name}/sessions.db", secret=SECRET).open()
    app = _flask(lambda: get_session().get_user_id())
    Tallystick(app, sessions=sessions)
    app.extensions["keep"] = directory
    return Subject(WsgiCaller(app), sign_in_to(sessions), lambda: _size_of(directory.name))


def flask_jwt_extended_rs256() -> Subject:
    """`JWTManager` with RS256 and `@jwt_required()`; the token in the Authorization header."""
    return _flask_jwt_extended(is_symmetric=False)


def flask_jwt_extended_hs256() -> Subject:
    """The same with HS256, its default: whoever can check a token can make one."""
    return _flask_jwt_extended(is_symmetric=True)


def flask_session() -> Subject:
    """Flask-Session with `SESSION_TYPE="cachelib"` on a `FileSystemCache`, its way without a server; the session is
    loaded at each request, and written too, as it slides by default."""
    from cachelib import FileSystemCache  # noqa: PLC0415
    from flask import session  # noqa: PLC0415
    from flask_session import Session  # noqa: PLC0415

    directory = tempfile.TemporaryDirectory()
    app = _flask(lambda: session["user"])
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(directory.name, threshold=1_000_000))
    app.extensions["keep"] = directory
    Session(app)

    return Subject(WsgiCaller(app), _sign_in_by_session(app, "session"), lambda: _size_of(directory.name))


def flask_own() -> Subject:
    """Flask's own session: whole in a signed cookie. No revocation, no rotation."""
    from flask import session  # noqa: PLC0415

    app = _flask(lambda: session["user"])
    app.secret_key = SECRET
    return Subject(WsgiCaller(app), _sign_in_by_session(app, "session"))


SUBJECTS: dict[str, Callable[..., Subject]] = {
    made.__name__: made
    for made in (
        flask_bare,
        flask_tallystick,
        flask_own,
        flask_session,
        flask_jwt_extended_rs256,
        flask_jwt_extended_hs256,
    )
}


def sign_in_to(sessions: Sessions) -> Callable[[int], Sequence[Headers]]:
    def sign_in(count: int) -> Sequence[Headers]:
        created = (sessions.create_new_session(f"user-{number:08}", PAYLOAD) for number in range(count))
        return [cookie("sAccessToken", one.access_token.token) for one in created]

    return sign_in


def _size_of(directory: str) -> int:
    return sum(entry.stat().st_blocks * 512 for entry in Path(directory).iterdir())


def _flask(user_of: Callable[[], str]) -> Any:
    from flask import Flask, jsonify  # noqa: PLC0415

    app = Flask("bench")
    app.add_url_rule(PATH, "me", lambda: jsonify(user=user_of()))
    app.add_url_rule(PLAIN, "plain", lambda: jsonify(user="nobody"))
    return app


def _flask_jwt_extended(*, is_symmetric: bool) -> Subject:
    from flask_jwt_extended import (  # noqa: PLC0415
        JWTManager,
        create_access_token,
        get_jwt_identity,
        verify_jwt_in_request,
    )

    def user_of() -> str:
        verify_jwt_in_request()
        return get_jwt_identity()

    app = _flask(user_of)
    if is_symmetric:
        app.config.update(JWT_SECRET_KEY=SECRET)
    else:
        private, public = _rsa_pair()
        app.config.update(JWT_ALGORITHM="RS256", JWT_PRIVATE_KEY=private, JWT_PUBLIC_KEY=public)
    JWTManager(app)

    def sign_in(count: int) -> Sequence[Headers]:
        with app.app_context():
            return [bearer(create_access_token(f"user-{n:08}", additional_claims=PAYLOAD)) for n in range(count)]

    return Subject(WsgiCaller(app), sign_in)


def _sign_in_by_session(app: Any, name: str) -> Callable[[int], Sequence[Headers]]:
    """Through the app, as a session is made when a response is."""
    from flask import Response, session  # noqa: PLC0415

    def sign_in_one(number: int) -> Headers:
        with app.test_request_context(PLAIN):
            session.update(PAYLOAD, user=f"user-{number:08}")
            response = app.process_response(Response())
            value = response.headers["set-cookie"].partition(";")[0].partition("=")[2]
            return cookie(name, value)

    return lambda count: [sign_in_one(number) for number in range(count)]
