"""One request, what has been decided for it, and what its response is to be told."""

from __future__ import annotations

from logging import getLogger

from tallystick.config import Config
from tallystick.errors import SessionError
from tallystick.transport.changes import NO_CHANGES, Changes
from tallystick.transport.decisions import Answer, answer_error
from tallystick.transport.policy import Policy, make_policy
from tallystick.transport.request import Request

_logger = getLogger("tallystick")


class Exchange:
    """Lives exactly as long as its request, and nothing in it is shared with another (spec/fdi.md P-36)."""

    __slots__ = ("_policy", "changes", "config", "request")

    def __init__(self, request: Request, config: Config) -> None:
        self.request = request
        self.config = config
        self.changes: Changes = NO_CHANGES
        self._policy: Policy | None = None

    @property
    def policy(self) -> Policy:
        """The policy for this request; made when it is first needed."""
        if self._policy is None:
            self._policy = make_policy(self.config, self.request)
        return self._policy

    def add(self, changes: Changes) -> None:
        """Have the response make these changes too."""
        self.changes = self.changes.then(changes)

    def note(self, error: SessionError) -> Answer:
        """The answer to ``error``. What it clears is cleared from here on, also where the app's own handler answers
        instead (P-45)."""
        answer = answer_error(error, self.policy, self.request)
        self.add(answer.changes)
        return answer

    def answer(self, error: SessionError) -> Answer:
        """As :meth:`note`, for an error that nobody else answers: what is broken is logged."""
        answer = self.note(error)
        if answer.status >= 500:
            # The path in quotes: whoever asks may have put a line's end into it.
            request = self.request
            _logger.error("%s %r failed: %s", request.method, request.path, error.reason, exc_info=error)
        return answer
