"""Signed-in clients, a thief, and a network that loses and reorders answers; with no server and no database."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from tallystick.config import PUBLIC, AntiCsrf, Config
from tallystick.sessions import Sessions
from tallystick.testing.jars import Jar, Place, open_jar

if TYPE_CHECKING:
    from tallystick.aio import AsyncSessions

C = TypeVar("C")
T = TypeVar("T")


def sign_in(
    client: C,
    sessions: Sessions | AsyncSessions,
    user_id: str,
    jwt_payload: Mapping[str, Any] | None = None,
    session_data: Mapping[str, Any] | None = None,
    *,
    tenant_id: str = PUBLIC,
) -> C:
    """``client``, signed in: it holds the cookies of a new session and sends the headers that the browser SDK sends.

    ``client`` is a test client of httpx, Starlette, FastAPI, Flask, Django or DRF; ``sessions`` those that the app
    itself has. The app's own sign-in is not called. :class:`AsyncSessions` are asked in a thread with a loop of its
    own, which ``memory://`` does not mind. Raises :class:`TypeError` for another client, and what
    ``create_new_session`` raises.
    """
    config = sessions.config
    jar = open_jar(client, config)
    created = _result_of(
        sessions.create_new_session(
            user_id,
            jwt_payload,
            session_data,
            tenant_id=tenant_id,
            enable_anti_csrf=config.anti_csrf is AntiCsrf.VIA_TOKEN,
        )
    )
    jar.set((config.access_cookie, config.access_token_path), created.access_token.token)
    jar.set((config.refresh_cookie, config.refresh_cookie_path), created.refresh_token.token)
    if config.is_classic:
        jar.set(("sIdRefreshToken", config.access_token_path), created.id_refresh_token.token)
    jar.always_send("st-auth-mode", "cookie")
    jar.always_send("rid", "session")
    if created.anti_csrf_token is not None:
        jar.always_send("anti-csrf", created.anti_csrf_token)
    return client


def steal(victim: Any, thief: C, sessions: Sessions | AsyncSessions) -> C:  # noqa: ANN401 - any test client
    """``thief``, with a copy of the cookies that ``victim`` holds at this moment. Both are test clients, of any kind.

    Raises :class:`ValueError` where there is nothing to steal, :class:`TypeError` for what is no test client.
    """
    found = open_jar(victim, sessions.config).read()
    if not found:
        raise ValueError("the victim holds no session cookies: sign in first")
    jar = open_jar(thief, sessions.config)
    for place, value in found.items():
        jar.set(place, value)
    jar.always_send("st-auth-mode", "cookie")
    jar.always_send("rid", "session")
    return thief


class _Response(Protocol):
    @property
    def status_code(self) -> int: ...


class HeldAnswer:
    """An answer on its way. The server has served the request; the client knows nothing of it until :meth:`deliver`.

    One that is never delivered is lost.
    """

    def __init__(
        self,
        jar: Jar,
        response: _Response,
        before: Mapping[Place, str],
        after: Mapping[Place, str],
    ) -> None:
        self._jar = jar
        self._before = before
        self._after = after
        self.response = response
        """The client's own response object."""

    @property
    def status_code(self) -> int:
        """The answer's status."""
        return self.response.status_code

    def deliver(self) -> None:
        """Have the client take the answer's cookies, over whatever it has got meanwhile. A second time changes nothing
        more."""
        for place, value in self._after.items():
            if self._before.get(place) != value:
                self._jar.set(place, value)
        for place in self._before.keys() - self._after.keys():
            self._jar.remove(place)

    def __repr__(self) -> str:
        return f"HeldAnswer({self.status_code})"


def hold_answer(
    client: Any,  # noqa: ANN401 - any test client
    sessions: Sessions | AsyncSessions,
    method: str = "POST",
    path: str | None = None,
) -> HeldAnswer:
    """Make a request whose answer does not arrive yet: by default, a refresh. The client's cookies are as they were.

    To lose the answer, do no more; to have it come late, or after another's, call :meth:`HeldAnswer.deliver` then.
    ``client`` is a synchronous test client.
    """
    config: Config = sessions.config
    jar = open_jar(client, config)
    before = jar.read()
    response = jar.request(method, config.refresh_path if path is None else path)
    after = jar.read()
    for place in after:
        jar.remove(place)
    for place, value in before.items():
        jar.set(place, value)
    return HeldAnswer(jar, response, before, after)


def _result_of(made: T | Coroutine[Any, Any, T]) -> T:
    """What a facade gives, whether it is awaited or not. In a thread, as a loop may run here."""
    if not isinstance(made, Coroutine):
        return made
    awaited = cast("Coroutine[Any, Any, T]", made)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_run, awaited).result()


def _run(made: Coroutine[Any, Any, T]) -> T:
    import asyncio  # noqa: PLC0415 - of no use to tests of sync apps

    with asyncio.Runner() as runner:
        return runner.run(made)
