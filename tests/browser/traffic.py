"""What a browser context really sends and gets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Request, Response

REFRESH = "/auth/session/refresh"


@dataclass(frozen=True)
class Seen:
    """One request and its answer."""

    method: str
    path: str
    status: int
    sent: dict[str, str]
    got: dict[str, str]


class Traffic:
    """Everything that has been answered, in order."""

    def __init__(self, context: BrowserContext) -> None:
        self._answers: list[Response] = []
        context.on("response", self._note)

    def of(self, path: str, method: str | None = None) -> list[Seen]:
        return [seen for seen in self.all() if seen.path == path and method in (None, seen.method)]

    def all(self) -> list[Seen]:
        return [_describe(answer.request, answer) for answer in self._answers]

    def _note(self, answer: Response) -> None:
        self._answers.append(answer)

    @property
    def refreshes(self) -> list[int]:
        """The statuses of the refreshes so far."""
        return [answer.status for answer in self._answers if _is_refresh(answer)]

    @contextmanager
    def expect_refreshes(self, *statuses: int) -> Iterator[None]:
        """Exactly these refreshes happen inside."""
        before = len(self.refreshes)
        yield
        assert self.refreshes[before:] == list(statuses)


def _is_refresh(answer: Response) -> bool:
    return urlsplit(answer.url).path == REFRESH and answer.request.method == "POST"


def _describe(request: Request, answer: Response) -> Seen:
    return Seen(request.method, urlsplit(request.url).path, answer.status, request.all_headers(), answer.all_headers())
