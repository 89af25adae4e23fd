"""One request, what has been decided for it, and what its response is to be told."""

from __future__ import annotations

from logging import getLogger

import msgspec

from tallystick.config import Config
from tallystick.errors import SessionError
from tallystick.transport.changes import NO_CHANGES, Changes
from tallystick.transport.decisions import Answer, answer_error
from tallystick.transport.policy import Policy, make_policy
from tallystick.transport.request import Request
from tallystick.types import HIDDEN

_logger = getLogger("tallystick")


class OfRequest(msgspec.Struct, eq=False):
    """What is made anew with each request: built in C, in half of the time. It leads to the request's tokens, so it
    shows nothing of what is in it."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __rich_repr__ = HIDDEN


class Exchange(OfRequest):
    """Lives exactly as long as its request, and nothing in it is shared with another (spec/fdi.md P-36)."""

    request: Request
    config: Config
    changes: Changes = NO_CHANGES
    _policy: Policy | None = None

    @property
    def policy(self) -> Policy:
        """The policy for this request; made when it is first needed."""
        if self._policy is None:
            self._policy = make_policy(self.config, self.request)
        return self._policy

    def add(self, changes: Changes) -> None:
        """Have the response make these changes too. Where there are none, ``changes`` stays :data:`NO_CHANGES`."""
        if changes:
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
