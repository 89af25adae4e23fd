"""A process that serves sessions over a socket until it is killed: ``python -m tests.model.crash_worker URL SECRET``.

It prints the port it listens at. A request is one line of JSON, and so is its answer.
"""

import json
import socketserver
import sys
from datetime import timedelta
from typing import Any

from tallystick import GeneralError, SessionError, Sessions

LIFE = timedelta(seconds=3)
GRACE = timedelta(seconds=60)
"""More than any request takes here, also with a database that is being restarted."""
KEY_SIGNS = timedelta(seconds=1)
"""So short that processes make signing keys, at the same moment too, while they are killed."""


def open_sessions(url: str, secret: str) -> Sessions:
    return Sessions(
        url,
        secret=secret,
        migrate=True,
        algorithm="EdDSA",
        access_token_validity=LIFE,
        grace=GRACE,
        signing_key_interval=KEY_SIGNS,
    )


def answer(sessions: Sessions, request: dict[str, str]) -> dict[str, Any]:
    match request:
        case {"create": user}:
            created = sessions.create_new_session(user, {"of": user})
            return {"handle": created.session.handle, **tokens_of(created)}
        case {"refresh": token}:
            return tokens_of(sessions.refresh_session(token))
        case {"verify": token, "user": user}:
            found = sessions.get_session(token, check_database="database" in request)
            assert found.session.user_id == found.session.jwt_payload["of"] == user
            return {"access": found.access_token.token} if found.access_token else {}
        case {"revoke": handle}:
            return {"was there": sessions.revoke_session(handle)}
    raise AssertionError(request)


def tokens_of(created: Any) -> dict[str, str]:
    return {"access": created.access_token.token, "refresh": created.refresh_token.token}


class Handler(socketserver.StreamRequestHandler):
    server: "Server"

    def handle(self) -> None:
        for line in self.rfile:
            try:
                reply = answer(self.server.sessions, json.loads(line))
            except SessionError as error:
                reply = {"error": type(error).__name__, "reason": error.reason}
                if isinstance(error, GeneralError) and error.reason != "store_failed":
                    reply["error"] = f"unexpected: {error}"
            self.wfile.write(json.dumps(reply).encode("ascii") + b"\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 50

    def __init__(self, sessions: Sessions) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sessions = sessions


if __name__ == "__main__":
    with Server(open_sessions(*sys.argv[1:])) as server:
        print(server.server_address[1], flush=True)  # noqa: T201
        server.serve_forever()
