"""How a request's sequences ask the sessions, whether the answers are awaited or not.

A dialogue is a generator. It yields :class:`Question` values and is sent the facade's answers, so that each sequence is
written once for all frameworks, as each flow is for all stores::

    created = yield from ask(Sessions.create_new_session, user_id)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from tallystick.aio import AsyncSessions
from tallystick.calls import drive, drive_async
from tallystick.errors import GeneralError, SessionError
from tallystick.sessions import Sessions
from tallystick.transport.exchange import Exchange

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S", Sessions, AsyncSessions)
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Question:
    """One method of the facades, and its arguments."""

    method: str
    args: tuple[object, ...] = field(default=(), repr=False)
    options: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)

    def put_to(self, sessions: Sessions | AsyncSessions) -> Any:  # noqa: ANN401 - as the method has it
        """The answer; of :class:`AsyncSessions`, an awaitable of it."""
        return getattr(sessions, self.method)(*self.args, **self.options)


Dialogue: TypeAlias = Generator[Question, Any, T]
"""A sequence of questions that ends in a ``T``, or in a :class:`SessionError`."""


def ask(method: Callable[Concatenate[Sessions, P], R], *args: P.args, **kwargs: P.kwargs) -> Dialogue[R]:
    """Ask one thing of the sessions. Type checkers see the method's own signature."""
    answer: R = yield Question(method.__name__, args, kwargs)
    return answer


def hold(exchange: Exchange, dialogue: Dialogue[T], answer: Callable[[Question], Any]) -> T:
    """Drive a dialogue to its end. What an error clears is cleared whoever answers it (spec/fdi.md P-45)."""
    return drive(_noting(exchange, dialogue), answer)


async def hold_async(exchange: Exchange, dialogue: Dialogue[T], answer: Callable[[Question], Awaitable[Any]]) -> T:
    """The same, with answers that are awaited."""
    return await drive_async(_noting(exchange, dialogue), answer)


def check_sessions(sessions: object, kind: type[S], whose: str) -> S:
    """``sessions``. The other facade, or none, is refused when the app starts: raises :class:`GeneralError`
    (``bad_config``)."""
    if isinstance(sessions, kind):
        return sessions
    raise GeneralError(
        f"{whose} needs {kind.__name__}, not {type(sessions).__name__}: "
        f"from tallystick import {kind.__name__}. It takes the same arguments",
        reason="bad_config",
    )


def _noting(exchange: Exchange, dialogue: Dialogue[T]) -> Dialogue[T]:
    try:
        return (yield from dialogue)
    except SessionError as error:
        exchange.note(error)
        raise
