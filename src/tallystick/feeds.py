"""Following the log of endings: a thread in synchronous programs, a task in asynchronous ones.

Each is started when it is first needed. Both run the same sequence: read the log, say when that was begun, wait until
there may be more. The reading alone makes the view count as news, never that somebody was told of something; so a bell
that is cut off costs time and no safety.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from logging import getLogger
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from tallystick.calls import Call, drive, drive_async
from tallystick.config import Config
from tallystick.errors import GeneralError
from tallystick.protocol.revocation import FULL, NEVER, RevocationView
from tallystick.types import Ending, EndingsPage

if TYPE_CHECKING:
    import asyncio

Listener: TypeAlias = Callable[[Ending], object]

PAGE: Final = 5000
STUCK_SECONDS: Final = 10
"""How long a look at the log may take. A line that was cut without a word would be waited for for ever."""

_logger = getLogger("tallystick")


@dataclass(frozen=True, slots=True)
class FeedState:
    """How the feed of endings is."""

    is_fresh: bool
    """Whether access tokens are accepted without asking the store."""
    age: float | None
    """How many seconds ago the last look at the log was begun that came to an end; None: there was none."""
    endings: int
    """How many sessions are known whose access tokens may be out and do not hold any more."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Let some time pass."""

    seconds: float


class Log(Protocol):
    """Where endings are read, for synchronous code: a store, or a core's stream."""

    def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage: ...

    def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None: ...

    def close(self) -> None: ...


class AsyncLog(Protocol):
    """The same for asynchronous code."""

    async def read_endings(self, app_id: str, after: str | None, limit: int) -> EndingsPage: ...

    async def wait_for_endings(self, app_id: str, after: str, seconds: float) -> None: ...

    async def close(self) -> None: ...


class Following(Protocol):
    """What a feed needs of a deployment."""

    @property
    def config(self) -> Config: ...

    @property
    def clock(self) -> Callable[[], int]: ...

    @property
    def steady(self) -> Callable[[], float]: ...


class Feed:
    """What thread and task have in common."""

    def __init__(self, deployment: Following, view: RevocationView) -> None:
        self._app_id = deployment.config.app_id
        self._view = view
        self._clock, self._steady = deployment.clock, deployment.steady
        self._interval = deployment.config.feed_interval.total_seconds()
        self._lease = deployment.config.feed_lease.total_seconds()
        self._listeners: set[Listener] = set()
        self._place: str | None = None
        self._looked_at = NEVER
        self._has_failed = False

    @property
    def state(self) -> FeedState:
        """How it is, now."""
        now = self._steady()
        age = None if self._looked_at == NEVER else now - self._looked_at
        return FeedState(self.is_fresh, age, len(self._view))

    @property
    def is_fresh(self) -> bool:
        """Whether all that ended longer ago than the lease is known."""
        return self._view.is_fresh(self._clock(), self._steady())

    def has_ended(self, handle: str) -> bool:
        """Whether a session is known to have ended."""
        return self._view.has_ended(handle)

    def listen(self, listener: Listener) -> Callable[[], object]:
        """Call ``listener`` with each session that ends from now on, wherever: once, where the feed runs, so it must
        neither block nor raise. What this returns ends it."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _follow(self, is_over: Callable[[], bool], on_news: Callable[[], object]) -> Generator[Call | Rest, Any, None]:
        while not is_over():
            begun_at, now = self._steady(), self._clock()
            try:
                while True:
                    page: EndingsPage = yield Call("read_endings", (self._app_id, self._place, PAGE))
                    if is_over():
                        return
                    self._take(page)
                    if page.is_last:
                        break
                self._confirm(begun_at, now)
                on_news()
                yield Call("wait_for_endings", (self._app_id, self._place, self._interval))
            except Exception as error:
                self._report(error)
                yield Rest(self._interval)

    def _take(self, page: EndingsPage) -> None:
        ended = self._view.apply(page.endings, self._steady())
        self._place = page.place
        if self._looked_at == NEVER:
            return  # what was over before anybody listened
        for listener in tuple(self._listeners):
            for ending in ended:
                listener(ending)

    def _confirm(self, begun_at: float, now: int) -> None:
        is_whole = self._view.confirm(begun_at, now)
        self._looked_at = begun_at
        if not is_whole:
            self._say_silent(f"more sessions have ended than the {FULL:,} that it holds")
        elif self._has_failed:
            self._has_failed = False
            _logger.warning("the feed of endings goes on")

    def _report(self, error: Exception) -> None:
        # A driver's own words may hold anything.
        self._say_silent(error.message if isinstance(error, GeneralError) else type(error).__name__)

    def _notice_silence(self) -> None:
        """Of a feed that runs, and has not got to the end of a look for longer than the lease: one that hangs, or whose
        process was stopped."""
        age = self.state.age
        if not self.is_fresh and age is not None and age > self._lease:
            self._say_silent(f"the log was last read {age:.1f} seconds ago")

    def _say_silent(self, why: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            _logger.warning("the feed of endings is silent: %s", why)


class _Running:
    """The thread of one process."""

    def __init__(self) -> None:
        self.starting = Lock()
        self.thread: Thread | None = None
        self.is_over = Event()
        self.busy_since = NEVER


def _is_before_uwsgi_forks() -> bool:
    """Whether this is a process that uWSGI will fork workers from. It does so in C, whoever holds the interpreter's
    lock at that moment: if another thread does, then the worker, where there is no such thread, waits for ever."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if not hasattr(uwsgi, "worker_id"):  # an app may have a module of that name
        return False
    return bool(uwsgi.worker_id() == 0 and uwsgi.mule_id() == 0)


class SyncFeed(Feed):
    """A thread, which does not keep the process from ending. After a fork each process starts one of its own: in a fork
    there is neither its parent's nor whoever held the lock. That is seen by the process's number, as uWSGI forks in C,
    where no hook of Python's is called and threads are said to be alive that are not there.
    """

    def __init__(self, deployment: Following, view: RevocationView, make_store: Callable[[], tuple[Log, bool]]) -> None:
        super().__init__(deployment, view)
        self._make_store = make_store
        self._processes: dict[int, _Running] = {}

    def ensure(self) -> None:
        """See that the feed runs. Who has to start it waits until it has caught up, for the lease at the most."""
        if self.is_fresh or _is_before_uwsgi_forks():
            return
        own = self._own
        if own.thread is not None:
            self._notice_silence()
        if self._is_running(own):
            return
        with own.starting:
            if self._is_running(own):
                return
            own.is_over.set()  # of one that is stuck
            is_over, has_news = Event(), Event()
            own.is_over, own.busy_since = is_over, self._steady()
            thread = Thread(target=self._run, args=(own, is_over, has_news), name="tallystick-feed", daemon=True)
            own.thread = thread
        # Not while the lock is held: gevent runs others meanwhile, and a lock that was made before it had patched
        # anything would stop all of them.
        try:
            thread.start()
        except RuntimeError:  # there are too many
            own.thread = None
            raise
        if not has_news.wait(self._lease):
            self._say_silent("the log has not been read to its end yet")

    def close(self) -> None:
        """End it. It is started again where it is needed again."""
        own = self._own
        thread, own.thread = own.thread, None
        own.is_over.set()
        self._view.expire()
        if thread is not None and thread.ident is not None:
            thread.join(self._interval + 1)

    @property
    def _own(self) -> _Running:
        return self._processes.setdefault(os.getpid(), _Running())

    def _is_running(self, own: _Running) -> bool:
        is_stuck = self._steady() > own.busy_since + self._interval + STUCK_SECONDS
        thread = own.thread
        return thread is not None and (thread.ident is None or thread.is_alive()) and not is_stuck

    def _run(self, own: _Running, is_over: Event, has_news: Event) -> None:
        store, is_own = self._make_store()

        def answer(question: Call | Rest) -> object:
            if not is_over.is_set():
                own.busy_since = self._steady()
            if isinstance(question, Rest):
                return is_over.wait(question.seconds)
            return getattr(store, question.method)(*question.args)

        try:
            drive(self._follow(is_over.is_set, has_news.set), answer)
        finally:
            if is_own:
                store.close()


class AsyncFeed(Feed):
    """A task of the event loop in which it is needed."""

    def __init__(
        self, deployment: Following, view: RevocationView, make_store: Callable[[], tuple[AsyncLog, bool]]
    ) -> None:
        super().__init__(deployment, view)
        self._make_store = make_store
        self._task: asyncio.Task[None] | None = None

    async def ensure(self) -> None:
        """See :meth:`SyncFeed.ensure`."""
        if self.is_fresh:
            return
        import asyncio  # noqa: PLC0415 - synchronous programs load no event loop

        loop, task = asyncio.get_running_loop(), self._task
        if task is not None and not task.done() and task.get_loop() is loop:
            self._notice_silence()
            return
        has_news = asyncio.Event()
        self._task = loop.create_task(self._run(has_news.set), name="tallystick-feed")
        try:
            async with asyncio.timeout(self._lease):
                await has_news.wait()
        except TimeoutError:
            self._say_silent("the log has not been read to its end yet")

    async def close(self) -> None:
        """See :meth:`SyncFeed.close`."""
        task, self._task = self._task, None
        self._view.expire()
        if task is not None and not task.done():
            import asyncio  # noqa: PLC0415

            task.cancel()
            await asyncio.wait([task])

    async def _run(self, on_news: Callable[[], object]) -> None:
        import asyncio  # noqa: PLC0415

        store, is_own = self._make_store()

        async def answer(question: Call | Rest) -> object:
            nonlocal store
            if isinstance(question, Rest):
                await asyncio.sleep(question.seconds)
                return None
            try:
                async with asyncio.timeout(self._interval + STUCK_SECONDS):
                    return await getattr(store, question.method)(*question.args)
            except TimeoutError:
                if is_own:
                    store, _ = self._make_store()  # what hangs on the other one is left to hang
                raise

        try:
            await drive_async(self._follow(lambda: False, on_news), answer)
        finally:
            if is_own:
                await store.close()
