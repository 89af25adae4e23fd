"""How a flow asks the world outside, and the two drivers that answer it.

A flow is a generator. It yields :class:`Call` values and is sent their answers, so every sequence is written once and
can be driven by a synchronous store, by an asynchronous one, or by hand in a test::

    row = yield from ask(SessionStore.load_session, app_id, handle)

What a store raises becomes :class:`GeneralError` here, at the one door that all stores go through: a broken store is
never a sign-out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from logging import getLogger
from threading import Thread
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, cast

from tallystick.errors import GeneralError, SessionError
from tallystick.storage.interface import AsyncCore, AsyncSessionStore, Core, SessionStore

T = TypeVar("T")
Q = TypeVar("Q")
R = TypeVar("R")
P = ParamSpec("P")

_logger = getLogger("tallystick")


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


@dataclass(frozen=True, slots=True)
class Fetch:
    """A function of the app's, which may be asynchronous where the driver is. What it raises is the app's own and
    passes unchanged."""

    function: Callable[..., Any]
    args: tuple[object, ...] = field(default=(), repr=False)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """A flow that nobody waits for. What is answered must be kept for as long as it runs."""

    flow: Callable[[], Generator[Any, Any, object]] = field(compare=False)
    name: str = ""


Question: TypeAlias = Call | Work | Fetch | Later
Flow: TypeAlias = Generator[Question, Any, T]
"""A sequence of store calls that ends in a ``T``, or in a :class:`SessionError`."""


def ask(method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> Flow[R]:
    """Call one method of the store, or of the core. Arguments by position; type checkers see the method's own
    signature."""
    answer: R = yield Call(method.__name__, (*args, *kwargs.values()))
    return answer


def work(name: str, function: Callable[[], R]) -> Flow[R]:
    """Have ``function`` run where it does not hold up an event loop."""
    answer: R = yield Work(function, name)
    return answer


def fetch(name: str, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Flow[Any]:
    """Ask the app. Arguments by position; ``name`` is for the error where it cannot be asked."""
    answer: Any = yield Fetch(function, (*args, *kwargs.values()), name)
    return answer


def later(name: str, flow: Callable[[], Flow[object]]) -> Flow[object]:
    """Have a flow run beside everything else. Why it fails, if it does, is logged."""
    running: object = yield Later(flow, name)
    return running


def run(flow: Flow[T], store: SessionStore | Core) -> T:
    """Drive a flow to its end on a synchronous store."""

    def answer(call: Question) -> Any:  # noqa: ANN401 - a store's answer, as its method has it
        if isinstance(call, Fetch):
            return _fetch(call)
        if isinstance(call, Later):
            return _begin(call, store)
        try:
            return call.function() if isinstance(call, Work) else getattr(store, call.method)(*call.args)
        except SessionError:
            raise
        except Exception as error:
            raise _broken(error, call) from error

    return drive(flow, answer)


async def run_async(flow: Flow[T], store: AsyncSessionStore | AsyncCore) -> T:
    """Drive a flow to its end on an asynchronous store."""

    async def answer(call: Question) -> Any:  # noqa: ANN401 - as above
        if isinstance(call, Fetch):
            return await _fetch_async(call)
        if isinstance(call, Later):
            return _begin_async(call, store)
        try:
            if isinstance(call, Work):
                return await _in_thread(call.function)
            return await getattr(store, call.method)(*call.args)
        except SessionError:
            raise
        except Exception as error:
            raise _broken(error, call) from error

    return await drive_async(flow, answer)


def drive(generator: Generator[Q, Any, T], answer: Callable[[Q], Any]) -> T:
    """Send a generator the answers to all that it yields. What ``answer`` raises is raised inside of it."""
    try:
        question = next(generator)
        while True:
            try:
                given = answer(question)
            except Exception as error:
                question = generator.throw(error)
            else:
                question = generator.send(given)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        # A cancelled request must not leave a generator half done until the garbage collector finds it.
        generator.close()


async def drive_async(generator: Generator[Q, Any, T], answer: Callable[[Q], Awaitable[Any]]) -> T:
    """The same, with answers that are awaited."""
    try:
        question = next(generator)
        while True:
            try:
                given = await answer(question)
            except Exception as error:
                question = generator.throw(error)
            else:
                question = generator.send(given)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        generator.close()


async def _in_thread(function: Callable[[], R]) -> R:
    from asyncio import to_thread  # noqa: PLC0415 - sync programs load no event loop

    return await to_thread(function)


def _begin(call: Later, store: SessionStore | Core) -> Thread:
    """In a thread that does not keep the process from ending."""

    def carry_out() -> None:
        try:
            run(call.flow(), store)
        except Exception as error:
            _log_failure(call, error)

    thread = Thread(target=carry_out, name="tallystick-later", daemon=True)
    thread.start()
    return thread


def _begin_async(call: Later, store: AsyncSessionStore | AsyncCore) -> object:
    from asyncio import create_task  # noqa: PLC0415 - as above

    async def carry_out() -> None:
        try:
            await run_async(call.flow(), store)
        except Exception as error:
            _log_failure(call, error)

    return create_task(carry_out())


def settle(running: object) -> None:
    """Wait for what :func:`later` has begun, before the store is let go of. It has its own limit of time."""
    if isinstance(running, Thread):
        running.join()


async def settle_async(running: object) -> None:
    """End what :func:`later` has begun, before the store is let go of."""
    from asyncio import Task, gather, get_running_loop  # noqa: PLC0415 - as above

    if isinstance(running, Task):
        task = cast("Task[object]", running)
        if task.get_loop() is get_running_loop():
            task.cancel()
            await gather(task, return_exceptions=True)


def _log_failure(call: Later, error: Exception) -> None:
    _logger.warning("%s failed: %s", call.name, error.message if isinstance(error, SessionError) else type(error))


def _ask_app(call: Fetch) -> object:
    try:
        return call.function(*call.args)
    except StopIteration as error:
        # As of a next() without a default. No generator and no future can carry it: on Python 3.11 whoever waits for
        # the thread would wait for ever.
        raise RuntimeError(f"{call.name} raised StopIteration") from error


def _fetch(call: Fetch) -> object:
    value = _ask_app(call)
    if isinstance(value, Awaitable):
        if isinstance(value, Coroutine):
            value.close()  # or Python warns that nobody has awaited it
        raise GeneralError(
            f"{call.name} is asynchronous: use AsyncSessions, or a function that is not", reason="async_fetch"
        )
    return value


async def _fetch_async(call: Fetch) -> object:
    # A plain function may ask a database and wait: not on the event loop's time.
    is_coroutine = iscoroutinefunction(call.function)
    value = _ask_app(call) if is_coroutine else await _in_thread(lambda: _ask_app(call))
    return await cast(Awaitable[object], value) if isinstance(value, Awaitable) else value


def _broken(error: Exception, call: Call | Work) -> GeneralError:
    what = call.name if isinstance(call, Work) else f"the session store in {call.method}"
    # The driver's own words may hold values of the row, so they stay in the cause.
    return GeneralError(f"{what} failed: {type(error).__name__}", reason="store_failed")
