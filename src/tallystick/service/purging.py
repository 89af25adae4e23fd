"""Deleting what is over, on a schedule, by one worker of all instances at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from logging import getLogger
from typing import Final, Protocol, TypeAlias, runtime_checkable

Lease: TypeAlias = Callable[[], AbstractAsyncContextManager[bool]]
"""Tells whether it is ours until the context ends; if not, somebody else has it."""


@runtime_checkable
class Leasing(Protocol):
    """A store that is shared by several, and can tell them apart."""

    def hold_lease(self, name: str) -> AbstractAsyncContextManager[bool]: ...


def lease_of(store: object, name: str) -> Lease:
    """A lock of all that share the store. One that has none is taken to be shared by nobody, as that in memory."""
    if isinstance(store, Leasing):
        return partial(store.hold_lease, name)
    return lambda: nullcontext(True)


JITTER: Final = 0.1
"""By which fraction an interval may be shorter or longer, so that instances do not come all at once."""

FIRST: Final = 0.02
"""After at most which fraction of the interval the first purge is: what piled up while the service was down."""

_logger = getLogger("tallystick.service")


async def purge_on_schedule(
    purge: Callable[[], Awaitable[int]], lease: Lease, interval: float, on_purged: Callable[[int], None]
) -> None:
    """Go on until cancelled. ``interval`` in seconds; ``on_purged`` is told how many sessions there were."""
    pause = interval * random.uniform(0, FIRST)  # noqa: S311 - no secret
    while True:
        await asyncio.sleep(pause)
        try:
            async with lease() as is_ours:
                if is_ours:
                    count = await purge()
                    on_purged(count)
                    _logger.info("purged: %d expired sessions", count)
        except Exception:
            _logger.warning("the purge failed, and is tried again at its next time", exc_info=True)
        pause = interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
