"""A Flask app as gunicorn's master loads it before it forks its workers (``--preload``).

The feed of endings runs in the master too, where that may have threads, as in an app that looks at sessions while it
starts. Each answer says by ``x-worker`` which process has given it, and by ``x-feed`` how that process's feed is.
"""

import os

from flask import Flask

from tallystick import Sessions
from tallystick.integrations.flask import Tallystick, current_session, verify_session

app = Flask(__name__)
sessions = Sessions(
    os.environ["STORE_URL"], secret=os.environ["STORE_SECRET"], algorithm="EdDSA", instant_revocation=True
).open()
Tallystick(app, sessions=sessions)


@app.get("/me")
@verify_session()
def me():
    return {"handle": current_session.get_handle()}


@app.post("/revoke/<handle>")
def revoke(handle):
    return {"revoked": sessions.revoke_session(handle)}


def application(environ, start_response):
    def start(status, headers, *exc_info):
        feed = "fresh" if sessions.feed.is_fresh else "silent"
        return start_response(status, [*headers, ("x-worker", str(os.getpid())), ("x-feed", feed)], *exc_info)

    return app(environ, start)
