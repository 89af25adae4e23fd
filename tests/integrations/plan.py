"""The app that all scenarios run on, once for each framework.

A framework joins with one adapter in ``apps/``: an :class:`AppUnderTest` that serves the routes below, in its own
words.

==================================== =====================================================================
``POST /login/{user}``               signs in, with the JSON body as payload; answers ``{"handle": ...}``
``GET, HEAD, POST /me``              needs a session; answers ``{"user", "handle", "payload"}``
``OPTIONS /strict``                  needs a session, which makes no sense
``GET, OPTIONS /optional``           an optional session; ``{"user": ... or null}``
``GET /sync``                        as ``GET /me``, in a plain function where the framework runs those in threads
``GET /database``                    as ``GET /me``, and asks the store
``GET /trusting``                    as ``GET /me``, with ``on_feed_silence="accept"``
``GET /checked``, ``POST /unchecked`` anti-CSRF check always, and never
``GET /none``                        looks at no session at all
``GET, POST /data``                  the session's data; POST replaces it with the JSON body
``POST /payload``                    merges the JSON body into the payload; answers the payload
``GET /times``                       ``{"created", "expiry"}`` of the session
``POST /revoke``                     ends the request's session
``POST /elsewhere/{handle}``         ends another session
``GET /stream``                      needs a session; three chunks
``GET /exposing``                    as ``GET /me``, exposes ``x-app`` and says ``cache-control: public``
``POST /login-and-refuse/{user}``    signs in, then raises the framework's HTTP error 418
``POST /login-and-crash/{user}``     signs in, then raises ``ZeroDivisionError``
==================================== =====================================================================
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from tallystick import AsyncSessions, Sessions
from tallystick.storage.memory import AsyncMemoryStore, MemoryStore
from tallystick.transport.session import SessionContent
from tests.integrations.browser import Client

WEBSITE = "http://site.test"
SECRET = "a-secret-for-tests-that-is-long-enough-0001"

EXPOSING = {"Access-Control-Expose-Headers": "X-App, Front-Token", "Cache-Control": "public, max-age=60"}
CHUNKS = (b"one", b"two", b"three")


@dataclass(frozen=True)
class Plan:
    """What an app is to be made with."""

    url: str | MemoryStore
    clock: Callable[[], int]
    settings: dict[str, Any] = field(default_factory=dict)
    has_cors: bool = False
    has_own_handler: bool = False
    """The app answers SessionError itself: 401 ``{"message": "mine"}``."""
    has_own_middleware: bool = False
    """A middleware of the app stands between ours and the routes."""
    scheme: str = "http"
    root_path: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """What either facade takes besides the URL."""
        return {"secret": SECRET, "clock": self.clock, "algorithm": "EdDSA", **self.settings}

    def make_sessions(self) -> Sessions:
        return Sessions(self.url, **self.arguments)

    def make_async_sessions(self) -> AsyncSessions:
        url = AsyncMemoryStore(self.url) if isinstance(self.url, MemoryStore) else self.url
        return AsyncSessions(url, **self.arguments)


class AppUnderTest(Protocol):
    """One framework's app."""

    name: str

    def open(self, plan: Plan) -> AbstractContextManager[Client]:
        """The app, running."""
        ...


def show(session: SessionContent) -> dict[str, Any]:
    return {"user": session.get_user_id(), "handle": session.get_handle(), "payload": session.get_jwt_payload()}


def show_user(session: SessionContent | None) -> Mapping[str, Any]:
    return {"user": None if session is None else session.get_user_id()}
