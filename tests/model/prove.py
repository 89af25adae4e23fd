"""The table of shared/rotation.md, made afresh: every scheme through the same explorer, on as many cores as there are.

Each job explores one scheme with one set of bounds, and is a value, so that it can be sent to a process of its own.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from tests.model.explore import Explored, Progress, explore
from tests.model.others import OTHERS
from tests.model.ours import Product
from tests.model.properties import is_never_refused, stays_signed_in, theft_is_noticed
from tests.model.scheme import Scheme
from tests.model.stage import Rehearsal, number_lines, play
from tests.model.theft import Stolen
from tests.model.trace import script_of
from tests.model.world import Bounds, Honest

TABS = (1, 2, 3)
ROUNDS = 7
"""After so many refreshes in step that nobody noticed, nobody ever will."""
_SECONDS_BETWEEN_NEWS = 10


class Job(NamedTuple):
    """One exploration. ``tabs`` 0: the one with a thief, up to ``rounds`` refreshes of each."""

    scheme: str
    tabs: int
    servers: int = 2
    bag: int = 2
    rounds: int = 1


class Finding(NamedTuple):
    """What came of a job. ``story`` is the way to the fault, if there is one."""

    job: Job
    states: int
    transitions: int
    fault: str | None
    story: str
    seconds: float


@cache
def schemes() -> dict[str, Scheme]:
    """All of them by their names, ours last."""
    return {scheme.name: scheme for scheme in (*OTHERS, Product())}


def all_jobs() -> list[Job]:
    """What the whole table needs, the longest first."""
    # With a thief, one server whose clock may be a step behind is two servers whose clocks differ.
    jobs = [Job("ours", 3), Job("ours", 0, servers=1, bag=3), Job("ours", 2), Job("ours", 1)]
    for name in schemes():
        if name != "ours":
            # The others fail with one server already; what is found with one is found with two.
            jobs += [Job(name, tabs, servers=1) for tabs in TABS]
            jobs.append(Job(name, 0, servers=1, rounds=ROUNDS))
    return jobs


def run_job(job: Job, *, is_told: bool = True) -> Finding:
    """Explore. The news go to the standard error output."""
    scheme, progress, began = schemes()[job.scheme], _News(job) if is_told else None, time.monotonic()
    if job.tabs:
        game: Honest | Stolen = Honest(scheme, Bounds(job.tabs, job.servers))
        judge = stays_signed_in(scheme, job.servers) if job.scheme == "ours" else is_never_refused
        found = explore(game, judge, progress)
    else:
        game, found = _follow_thief(job, scheme, progress)
    story = ""
    if found.fault is not None:
        story = number_lines(play(script_of(found.fault.path, game), Rehearsal(scheme)))
    what = found.fault.what if found.fault else None
    return Finding(job, found.states, found.transitions, what, story, time.monotonic() - began)


def _follow_thief(job: Job, scheme: Scheme, progress: Progress | None) -> tuple[Stolen, Explored]:
    """Whether both can refresh once with tokens of their own; where they can, whether they can go on so."""
    game = Stolen(scheme, job.bag, servers=job.servers)
    found = explore(game, theft_is_noticed(), progress)
    if found.fault is not None and job.rounds > 1:
        # One pair each is enough to keep step, and what is found with one is found with more.
        game = Stolen(scheme, 1, job.rounds, job.servers)
        found = explore(game, theft_is_noticed(job.rounds), progress)
    return game, found


def run_all(jobs: Iterable[Job], processes: int) -> Iterator[Finding]:
    """Run the jobs side by side; each finding as soon as it is there."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(run_job, jobs)


class _News:
    """Says now and then how far a job has come."""

    def __init__(self, job: Job) -> None:
        self._what, self._said = describe(job), time.monotonic()

    def __call__(self, states: int, waiting: int) -> None:
        if time.monotonic() - self._said > _SECONDS_BETWEEN_NEWS:
            self._said = time.monotonic()
            sys.stderr.write(f"  {self._what}: {states:,} states, {waiting:,} still to visit\n")


def describe(job: Job) -> str:
    """A job in a few words."""
    tabs = {0: "with a thief", 1: "1 tab"}.get(job.tabs, f"{job.tabs} tabs")
    return f"{job.scheme}, {tabs}"


# The table


def make_table(findings: Iterable[Finding]) -> str:
    """The table of all findings, as Markdown."""
    by_job = {(finding.job.scheme, finding.job.tabs): finding for finding in findings}
    lines = [
        "| scheme | false alarms with 1, 2, 3 tabs | a thief in step is noticed after "
        "| states (1, 2, 3 tabs, thief) | transitions |",
        "|---|---|---|---|---|",
    ]
    for name in schemes():
        row = [by_job[name, tabs] for tabs in (*TABS, 0)]
        alarms = ", ".join("found" if finding.fault else "0" for finding in row[:-1])
        states = ", ".join(f"{finding.states:,}" for finding in row)
        transitions = ", ".join(f"{finding.transitions:,}" for finding in row)
        lines.append(f"| {name} | {alarms} | {say_noticed(row[-1])} | {states} | {transitions} |")
    return "\n".join(lines)


def say_noticed(finding: Finding) -> str:
    """How many refreshes by both it takes."""
    rounds = finding.job.rounds
    return f"**never**: {rounds} of {rounds} refreshes in step" if finding.fault else "1 refresh by both"


def make_stories(findings: Iterable[Finding]) -> str:
    """The failing traces, the shortest of each scheme for honest users and the one of a thief who is not noticed."""
    stories, told = [], set()
    for finding in sorted(findings, key=lambda finding: (finding.job.scheme, finding.job.tabs == 0, finding.job.tabs)):
        key = finding.job.scheme, finding.job.tabs == 0
        if finding.fault and key not in told:
            told.add(key)
            stories.append(f"{describe(finding.job)}: {finding.fault}\n{finding.story}")
    return "\n\n".join(stories)
