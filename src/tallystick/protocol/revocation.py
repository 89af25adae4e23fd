"""What a process knows of endings, and what it makes of an access token by that, without asking the store.

The theorem (tests/revocation): a session whose ending was in the store's log at some instant is accepted by no
verification that begins later than ``lease`` after it, whatever becomes of the feed; unless the app has chosen to
accept what it cannot tell.

For: a verification that accepts found the view fresh, and *then* its session not in it. So a look at the log that
*began* less than ``lease`` before is in the view, whole; what was in the log before that is in the view, and what is in
the view is refused. The other way round it would be wrong: the feed may write between the two, and a view that is old
when it is searched count as news when its age is looked at. Only this process's own clocks have a part in it, and only
in judging the age of its own looks: no other machine's clock does, nor when anything is said to have happened. A
process that was stopped for a while looks at them when it goes on.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

from tallystick.config import Config, FeedSilence, milliseconds
from tallystick.types import Ending

CLOCKS_APART: Final = 300_000
"""For how long (ms) an ending is kept beyond the access tokens that it is about: their times are the clock's of the
process that made them."""

FULL: Final = 1_000_000
"""How many endings a view holds. Of more it keeps none, and does not count as news until those are of no account."""

_BATCHES: Final = 16
"""How many times in an entry's life a view looks for what it can forget: each time it has to look at all."""

NEVER: Final = float("-inf")
_FOR_EVER: Final = 2**62
_ENDED: Final = "ended"
_UNKNOWN_PAYLOAD: Final = ""


class FeedVerdict(Enum):
    """What to do with an access token that is good by itself."""

    ACCEPT = "accept"
    ASK = "ask"
    """The store knows."""
    ENDED = "ended"
    """There is no such session any more."""
    SILENT = "silent"
    """Nobody knows, and the app would rather refuse than ask."""


class RevocationView:
    """The sessions of which an access token may be out that does not hold any more.

    Written by one thread, read by any number without a lock: what they read is whether it is fresh, and then one entry
    of a dictionary. Instants are a steady clock's, in seconds, as is ``keeps``: for how long an entry may matter.
    """

    __slots__ = (
        "_batches",
        "_held",
        "_keeps",
        "_learns",
        "_lease",
        "_lost_at",
        "fresh_until",
        "marks",
        "remembers",
        "stale_at",
    )

    def __init__(self, *, lease: float, keeps: float, remembers: int = 0) -> None:
        self._lease = lease
        self._keeps = keeps
        self.remembers = remembers or _FOR_EVER
        """For how long, in ms, endings are kept, by the log and here. A token that is older, as it was made when the
        settings were others, or by a core that was here before, may be of a session whose ending is forgotten. By
        default for as long as the endings themselves say."""
        self._learns = not remembers
        self.fresh_until = NEVER
        """Until when the view counts as news."""
        self.stale_at = 0
        """And when it counts as such no more by the clock of the day, in ms. That may jump, but it goes on while the
        machine is suspended, when the steady clock of Python stands still; one that does not takes twice as long to
        read."""
        self.marks: dict[str, str] = {}
        """By handle: that it has ended, or the digest of the payload that it has now."""
        self._batches: deque[tuple[float, set[str]]] = deque()
        self._held = 0
        """How many handles the batches hold together; one that is told of again later is in two."""
        self._lost_at = NEVER
        """When there was last one for which there was no room."""

    def apply(self, endings: Iterable[Ending], now: float) -> list[Ending]:
        """Take in what the log says. The sessions that have ended, of those that were not known to have."""
        ended: list[Ending] = []
        if not self._batches or now >= self._batches[-1][0] + self._keeps / _BATCHES:
            self._batches.append((now, set()))
        newest = self._batches[-1][1]
        for ending in endings:
            # Where a core makes the tokens, only it knows how long they live.
            told = ending.forget_at - ending.happened_at
            self._keeps = max(self._keeps, told / 1000)
            if self._learns and told > self.remembers % _FOR_EVER:
                self.remembers = told
            handle, is_end = ending.handle, ending.kind != "changed"
            has_ended = self.marks.get(handle) == _ENDED
            if is_end and not has_ended:
                ended.append(ending)
            if handle not in newest:
                if self._held >= FULL:
                    self._lost_at = now
                    continue
                newest.add(handle)
                self._held += 1
            if is_end:
                self.marks[handle] = _ENDED
            elif not has_ended:
                self.marks[handle] = ending.payload_digest or _UNKNOWN_PAYLOAD
        return ended

    def has_ended(self, handle: str) -> bool:
        """Whether the log has said that a session is over."""
        return self.marks.get(handle) == _ENDED

    def is_fresh(self, now: int, steady: float) -> bool:
        """Whether all that ended longer ago than the lease is known. To be asked before ``marks`` is."""
        return now < self.stale_at and steady <= self.fresh_until

    def confirm(self, begun_at: float, now: int) -> bool:
        """Say that all of the log was read that was in it at ``begun_at``, when it was ``now`` by the other clock.
        False where there was no room for all of it."""
        self._forget(begun_at)
        self.stale_at = now + int(self._lease * 1000) + 1
        is_whole = begun_at > self._lost_at + self._life
        self.fresh_until = begun_at + self._lease if is_whole else NEVER
        return is_whole

    def expire(self) -> None:
        """Count as news no more."""
        self.fresh_until = NEVER

    def _forget(self, now: float) -> None:
        """Drop what no access token can be out for. A handle that was told of again since stays."""
        while self._batches and now > self._batches[0][0] + self._life:
            _, old = self._batches.popleft()
            self._held -= len(old)
            for handle in old:
                if not any(handle in batch for _, batch in self._batches):
                    self.marks.pop(handle, None)

    @property
    def _life(self) -> float:
        """Of a batch, from its beginning to when nothing in it matters."""
        return self._keeps * (1 + 1 / _BATCHES)

    def __len__(self) -> int:
        return len(self.marks)

    def __repr__(self) -> str:
        return f"RevocationView({len(self)})"


def make_view(config: Config, *, is_cores: bool = False) -> RevocationView:
    """An empty one, that counts as news no sooner than it has been confirmed. How long the tokens of a core live is not
    in the settings."""
    keeps = milliseconds(config.access_token_validity) + CLOCKS_APART
    lease = config.feed_lease.total_seconds()
    return RevocationView(lease=lease, keeps=keeps / 1000, remembers=0 if is_cores else keeps)


def judge_feed(
    view: RevocationView, handle: str, digest_of_payload: Callable[[], str], silence: FeedSilence, *, is_fresh: bool
) -> FeedVerdict:
    """What the view says of a session. Whether it is fresh was asked before; ``digest_of_payload`` is called where it
    matters."""
    mark = view.marks.get(handle)
    if mark == _ENDED:
        return FeedVerdict.ENDED
    if mark is not None and mark != digest_of_payload():
        return FeedVerdict.ASK
    if is_fresh or silence == "accept":
        return FeedVerdict.ACCEPT
    return FeedVerdict.ASK if silence == "check_store" else FeedVerdict.SILENT


def digest_payload(text: str) -> str:
    """What a JWT payload, as it is stored, is told from others by."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
