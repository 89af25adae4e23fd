"""What the service answers: JSON, or text as the interface has it (spec/cdi.md 1.5)."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from tallystick.types import Json

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

_JSON: Final = (b"content-type", b"application/json; charset=UTF-8")
_TEXT: Final = (b"content-type", b"text/html; charset=UTF-8")
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")
"""Text goes out as HTML, as it always did here: no browser shall read it as anything else besides."""

_encode: Final = msgspec.json.Encoder().encode


class Answer:
    """One response, ready to be sent."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Headers) -> None:
        self.status = status
        self.body = body
        self.headers = headers


class Refusal(Exception):
    """A request that is answered with a status and a text. Nothing was changed."""

    def __init__(self, status: int, text: str, headers: Headers = ()) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


def json_answer(body: Json, headers: Headers = ()) -> Answer:
    """A business outcome, of whatever kind: always 200."""
    return Answer(200, _encode(body) + b"\n", (_JSON, *headers))


def text_answer(status: int, text: str, headers: Headers = ()) -> Answer:
    """A line of text."""
    # HTML, to a browser that somebody has lured here: nothing of a request is to be markup in it.
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return Answer(status, escaped.encode("utf-8", "backslashreplace") + b"\n", (_TEXT, _NO_SNIFF, *headers))


def not_found() -> Refusal:
    """What is said of a path that there is not. A new one each time, as an exception keeps its traceback."""
    return Refusal(404, "Not found")


def not_supported() -> Refusal:
    """What is said of a method that a path does not have."""
    return Refusal(405, "Method not supported")


def wrong_key() -> Refusal:
    """What is said without one of the API keys."""
    return Refusal(401, "Invalid API key")
