"""How a flow asks the world outside, and the two drivers that answer it.

A flow is a generator. It yields :class:`Call` values and is sent their answers, so every sequence is written once and
can be driven by a synchronous store, by an asynchronous one, or by hand in a test::

    row = yield from ask(SessionStore.load_session, app_id, handle)

What a store raises becomes :class:`GeneralError` here, at the one door that all stores go through: a broken store is
never a sign-out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from tallystick.errors import GeneralError, SessionError
from tallystick.storage.interface import AsyncSessionStore, SessionStore

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Call:
    """One store method and its arguments."""

    method: str
    args: tuple[object, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Work:
    """Something that takes the processor a while and touches nothing: the asynchronous driver gives it a thread."""

    function: Callable[[], Any] = field(compare=False)
    name: str = ""


Flow: TypeAlias = Generator[Call | Work, Any, T]
"""A sequence of store calls that ends in a ``T``, or in a :class:`SessionError`."""


def ask(method: Callable[Concatenate[SessionStore, P], R], *args: P.args, **kwargs: P.kwargs) -> Flow[R]:
    """Call one method of the store. Arguments by position; type checkers see the method's own signature."""
    answer: R = yield Call(method.__name__, (*args, *kwargs.values()))
    return answer


def work(name: str, function: Callable[[], R]) -> Flow[R]:
    """Have ``function`` run where it does not hold up an event loop."""
    answer: R = yield Work(function, name)
    return answer


def run(flow: Flow[T], store: SessionStore) -> T:
    """Drive a flow to its end on a synchronous store."""
    try:
        call = next(flow)
        while True:
            try:
                answer = call.function() if isinstance(call, Work) else getattr(store, call.method)(*call.args)
            except Exception as error:
                call = flow.throw(_broken(error, call))
            else:
                call = flow.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        # A cancelled request must not leave a flow half done until the garbage collector finds it.
        flow.close()


async def run_async(flow: Flow[T], store: AsyncSessionStore) -> T:
    """Drive a flow to its end on an asynchronous store."""
    try:
        call = next(flow)
        while True:
            try:
                answer = (
                    await _in_thread(call.function)
                    if isinstance(call, Work)
                    else await getattr(store, call.method)(*call.args)
                )
            except Exception as error:
                call = flow.throw(_broken(error, call))
            else:
                call = flow.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        # A cancelled request must not leave a flow half done until the garbage collector finds it.
        flow.close()


async def _in_thread(function: Callable[[], R]) -> R:
    from asyncio import to_thread  # noqa: PLC0415 - sync programs load no event loop

    return await to_thread(function)


def _broken(error: Exception, call: Call | Work) -> SessionError:
    if isinstance(error, SessionError):
        return error
    what = call.name if isinstance(call, Work) else f"the session store in {call.method}"
    # The driver's own words may hold values of the row, so they stay in the cause.
    broken = GeneralError(f"{what} failed: {type(error).__name__}", reason="store_failed")
    broken.__cause__ = error
    return broken
