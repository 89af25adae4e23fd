"""How a request gets its answer: at which host, in how much time, and what is tried when that fails.

Nothing is sent here: a generator says what to do next and is told what came of it, so that it is written once for
threads and event loops, and can be driven by hand in a test.

When may a request be sent again? Always, where it was never sent: no connection could be made. Always, where the answer
is 429: something before the core has turned it away. Else the core may have carried it out, and then it depends:

- To look something up changes nothing.
- To set data or a payload, to end sessions, or to use a token for the first time, comes to the same when it is done
  twice. (Of sessions that were ended, the second answer may say that there were none.)
- To refresh twice with one token gives two children of it, and each of them is good: nobody has used the first, as its
  answer was lost (shared/rotation.md; spec/cdi.md 4.4 case A, 4.5 case 3).
- To create twice leaves a session that nobody holds. So a creation is not repeated.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from tallystick.errors import GeneralError
from tallystick.storage.remote.hosts import Host, Hosts
from tallystick.types import CoreAnswer, CoreRequest

CONNECT_SECONDS: Final = 2.0
"""How long to wait for a connection at the most. Within one network it takes a millisecond, or does not come."""

TOO_MANY: Final = 429
MAX_PAUSES: Final = 5
"""How often a request that was turned away for the number of requests is sent again."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0

UNAVAILABLE: Final = frozenset({500, 502, 503, 504})
"""The core, or what stands before it, is broken or too busy: another host may not be."""


class Problem(StrEnum):
    """Why there is no answer. In words that end a sentence about a host."""

    UNREACHABLE = "cannot be reached"
    """Never sent."""
    LOST = "broke the connection"
    TIMED_OUT = "did not answer in time"
    UNREADABLE = "did not answer as HTTP has it"


@dataclass(frozen=True, slots=True)
class Attempt:
    """Send the request to this host, and wait for the whole answer for so long."""

    host: Host
    seconds: float

    @property
    def connect_seconds(self) -> float:
        """How much of it for the connection. Less than the whole, so that it is seen which of the two did not come."""
        return min(self.seconds / 2, CONNECT_SECONDS)


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt or a pause."""

    at: float
    """When it was over, in seconds, on a clock that only goes forward."""
    answer: CoreAnswer | None = None
    retry_after: float | None = None
    """Seconds, where the answer says so."""
    problem: Problem | None = None
    cause: Exception | None = field(default=None, repr=False)


Attempts: TypeAlias = Generator[Attempt | Pause, Outcome, CoreAnswer]


def attempt(request: CoreRequest, hosts: Hosts, seconds: float, now: float) -> Attempts:
    """Have ``request`` answered within ``seconds``. Raises :class:`GeneralError` (``store_failed``)."""
    deadline, pauses, cause = now + seconds, 0, None
    waiting, problems = hosts.order(now), dict[str, str]()
    has_second_try = True
    while waiting:
        host = waiting.pop(0)
        # Half of the time is left for another host, if there is one that may still be asked.
        share = 0.5 if waiting and request.may_repeat else 1.0
        outcome = yield Attempt(host, max((deadline - now) * share, 0.001))
        now, answer = outcome.at, outcome.answer
        if answer is not None and answer.status == TOO_MANY:
            waiting.append(host)
            problems[host.name] = "has too many requests"
            pause = _pause(pauses, outcome.retry_after)
            pauses += 1
            if pauses > MAX_PAUSES or now + pause >= deadline:
                break
            now = (yield Pause(pause)).at
            continue
        if answer is not None and answer.status not in UNAVAILABLE:
            hosts.wake(host)
            return answer
        problems[host.name] = f"answered with {answer.status}" if answer else f"{outcome.problem}"
        cause = outcome.cause or cause
        if outcome.problem in (Problem.UNREACHABLE, Problem.TIMED_OUT):
            hosts.rest(host, now)
        if outcome.problem is not Problem.UNREACHABLE and not request.may_repeat:
            raise _no_answer(problems, is_doubtful=True) from cause
        if outcome.problem is Problem.LOST and has_second_try:
            # The host may have closed an idle connection at this very moment.
            has_second_try = False
            waiting.append(host)
        if now >= deadline:
            break
    raise _no_answer(problems, is_doubtful=False) from cause


def _pause(pauses: int, retry_after: float | None) -> float:
    return min(retry_after if retry_after is not None else FIRST_PAUSE * 2**pauses, LONGEST_PAUSE)


def _no_answer(problems: dict[str, str], *, is_doubtful: bool) -> GeneralError:
    what = ", ".join(f"{name} {problem}" for name, problem in problems.items())
    advice = (
        "Whether it was carried out is not known, and it must not be twice, so it was not sent again"
        if is_doubtful
        else "See that the core runs there and can be reached from here; until it does, nobody is signed out"
    )
    return GeneralError(f"no answer from the core: {what}. {advice}", reason="store_failed")
