"""Plays a script: on a scheme's symbols, or on the facades and a real store. What comes of each action is the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import ascii_lowercase
from typing import Any, NamedTuple, Protocol

from tests.model.scheme import Scheme
from tests.model.script import Act, Action, Arrive, Copy, Pass, Send, Work, format_action
from tests.model.symbols import REFRESH, Access, Outcome, Process, Row, Token
from tests.model.world import age_access, age_process, age_row


class Hand(NamedTuple):
    """Two tokens that came together: symbols or texts, as the troupe has them."""

    access: Any
    refresh: Any


class Troupe(Protocol):
    """Servers, store and clocks: what a script is played with."""

    def begin(self) -> Hand:
        """A new session."""
        ...

    def start(self, number: int, operation: int, presented: Any, server: int, late: int) -> Outcome | None:
        """A server reads its clock and takes a request up. None if it asks the store, which it does at the next
        :meth:`work`."""
        ...

    def work(self, number: int) -> Outcome | None:
        """A server makes the call of the store that it is about to make. None if it will make another one."""
        ...

    def pass_time(self) -> None: ...


class Stage:
    """The clients of a script, and their names for what they hold."""

    def __init__(self, troupe: Troupe) -> None:
        self._troupe = troupe
        self._jar = troupe.begin()
        self._names = {self._jar.refresh: "R0"}
        self._hands: dict[str, dict[str, Hand]] = {"victim": {"R0": self._jar}, "thief": {}}
        self._children: dict[int, int] = {}
        self.requests: dict[int, tuple[int, Any]] = {}
        """What has been sent and is not at its end."""
        self.started: set[int] = set()
        """The requests that a server has taken up."""
        self.answers: dict[int, Outcome] = {}
        """What is on its way to a tab."""

    def play(self, action: Action) -> str:
        """Do it; the line that says so, and after a dash what came of it."""
        line, result = format_action(action), self._do(action)
        return f"{line} - {result}" if result else line

    def _do(self, action: Action) -> str:
        match action:
            case Pass():
                self._troupe.pass_time()
            case Send(number, operation):
                self.requests[number] = operation, self._jar.refresh if operation == REFRESH else self._jar.access
                return self._name_sent(operation)
            case Work():
                return self._work(action)
            case Arrive(number):
                answer = self.answers.pop(number)
                self._jar = Hand(answer.access, answer.refresh or self._jar.refresh)
            case Copy(name):
                self._hands["thief"][name] = self._hands["victim"][name]
            case Act():
                return self._act(action)
        return ""

    def _name_sent(self, operation: int) -> str:
        return f"with {self._names[self._jar.refresh]}" if operation == REFRESH else "with the access token"

    def _work(self, action: Work) -> str:
        number = action.number
        operation, presented = self.requests[number]
        outcome = None
        if number not in self.started:
            self.started.add(number)
            outcome = self._troupe.start(number, operation, presented, action.server, action.late)
        outcome = outcome or self._troupe.work(number)
        if outcome is None:
            return "goes on"
        del self.requests[number]
        said = self._say(outcome, presented)
        if outcome.access is not None:
            self.answers[number] = outcome
            if outcome.refresh is not None:
                self._hands["victim"][self._names[outcome.refresh]] = Hand(outcome.access, outcome.refresh)
        return said

    def _act(self, action: Act) -> str:
        hands = self._hands[action.who]
        hand = hands[action.name]
        presented = hand.refresh if action.operation == REFRESH else hand.access
        outcome = self._troupe.start(0, action.operation, presented, action.server, action.late)
        while outcome is None:
            outcome = self._troupe.work(0)
        said = self._say(outcome, presented)
        if outcome.refresh is not None:
            hands[self._names[outcome.refresh]] = Hand(outcome.access, outcome.refresh)
        elif outcome.access is not None:
            hands[action.name] = hand._replace(access=outcome.access)
        return said

    def _say(self, outcome: Outcome, presented: Any) -> str:
        if outcome.refresh is None:
            return outcome.kind if outcome.access is None else f"{outcome.kind}, a new access token"
        if outcome.refresh not in self._names:
            self._name(outcome, presented)
        return f"{outcome.kind}, {self._names[outcome.refresh]}"

    def _name(self, outcome: Outcome, presented: Any) -> None:
        generation = int(self._names[presented][1:].rstrip(ascii_lowercase)) + 1
        number = self._children.get(generation, 0)
        self._children[generation] = number + 1
        letters = ascii_lowercase[number % 26] * (number // 26 + 1)
        self._names[outcome.refresh] = f"R{generation}{letters}"


def play(actions: Iterable[Action], troupe: Troupe) -> list[str]:
    """The lines of a whole script."""
    stage = Stage(troupe)
    return [stage.play(action) for action in actions]


def number_lines(lines: Sequence[str]) -> str:
    """A script's text for people; it can be parsed as it is."""
    return "\n".join(f"{number:3}. {line}" for number, line in enumerate(lines, 1))


class Rehearsal:
    """The troupe of a scheme. No token's symbol is used twice, whoever may have forgotten it."""

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._row: Row | None = None
        self._processes: dict[int, Process] = {}
        self._children: dict[Token, int] = {}
        self._age = 0

    def begin(self) -> Hand:
        begun = self._scheme.begin()
        self._row = begun.row
        return Hand(self._hide(begun.access), begun.refresh)

    def start(self, number: int, operation: int, presented: Any, server: int, late: int) -> Outcome | None:
        self._processes[number] = Process(operation, self._show(presented), server, late)
        return self._scheme.look(self._processes[number])

    def work(self, number: int) -> Outcome | None:
        process = self._processes[number]
        parent = process.presented
        child = self._children.get(parent, 0) if isinstance(parent, Token) else 0
        self._row, stage = self._scheme.step(self._row, process, child)
        if isinstance(stage, Process):
            self._processes[number] = stage
            return None
        if isinstance(parent, Token) and stage.refresh is not None:
            self._children[parent] = child + 1
        return stage._replace(access=stage.access and self._hide(stage.access))

    def pass_time(self) -> None:
        self._age += 1
        self._row = age_row(self._row)
        self._processes = {number: age_process(process) for number, process in self._processes.items()}

    # What a client holds does not age in its hands, so it is kept with the age at which it was made.

    def _hide(self, access: Access) -> tuple[Access, int]:
        return access, self._age

    def _show(self, presented: Any) -> Token | Access:
        if isinstance(presented, Token):
            return presented
        access, made = presented
        for _ in range(self._age - made):
            access = age_access(access)
        shown: Access = access
        return shown
