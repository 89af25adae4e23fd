"""Every store behind one asynchronous face, so that each scenario of the contract is written once.

A synchronous store is called in threads of its own: sixteen racers are then sixteen threads.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from inspect import iscoroutinefunction
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

from tallystick.storage.interface import AsyncSessionStore, SessionStore
from tallystick.types import SessionRow

RACERS: Final = 16
ROUNDS: Final = 3
"""How often a race is run, as luck has a part in it."""

_RACE_SECONDS: Final = 60

MakeStore = Callable[[], SessionStore | AsyncSessionStore]

_Case = TypeVar("_Case")
_More = ParamSpec("_More")
_Answer = TypeVar("_Answer")


class Threaded:
    """A synchronous store, its methods awaited."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(RACERS)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._store, name)

        async def call(*args: object) -> Any:
            return await asyncio.get_running_loop().run_in_executor(self._threads, method, *args)

        return call

    async def close(self) -> None:
        self._store.close()
        self._threads.shutdown()


def as_async(store: SessionStore | AsyncSessionStore) -> AsyncSessionStore:
    """The store itself if it is asynchronous, else the same with its methods awaited."""
    if iscoroutinefunction(store.load_session):
        return cast("AsyncSessionStore", store)
    return cast("AsyncSessionStore", Threaded(cast("SessionStore", store)))


def scenario(
    play: Callable[Concatenate[_Case, AsyncSessionStore, _More], Coroutine[Any, Any, None]],
) -> Callable[Concatenate[_Case, MakeStore, _More], None]:
    """Make a test that pytest runs without any plugin of ``async def test_…(self, store, …)``.

    It takes the fixture ``make_store`` in the store's place, and opens and closes what that makes.
    """

    @functools.wraps(play)
    def test(self: _Case, make_store: MakeStore, *args: _More.args, **kwargs: _More.kwargs) -> None:
        async def run() -> None:
            store = as_async(make_store())
            await store.open()
            try:
                await play(self, store, *args, **kwargs)
            finally:
                await store.close()

        asyncio.run(run())

    signature = inspect.signature(play)
    renamed = [p.replace(name="make_store") if p.name == "store" else p for p in signature.parameters.values()]
    test.__signature__ = signature.replace(parameters=renamed)  # type: ignore[attr-defined]
    return cast("Callable[Concatenate[_Case, MakeStore, _More], None]", test)


async def race(calls: Iterable[Awaitable[_Answer]]) -> list[_Answer]:
    """Do all of these at once; what each answers, in their order."""
    async with asyncio.timeout(_RACE_SECONDS):
        return list(await asyncio.gather(*calls))


async def fetch(store: AsyncSessionStore, handle: str = "handle") -> SessionRow:
    """The session of the app ``public`` that has to be there."""
    row = await store.load_session("public", handle)
    assert row is not None, f"the session {handle} is gone"
    return row
