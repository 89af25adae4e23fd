"""The kinds of settings: what each accepts, and how it is told.

Text is accepted wherever it says the same, as in an environment variable, on a command line and in the ``coreConfig``
that SDKs send (spec/cdi.md 1.7).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Protocol

from tallystick.service.patterns import check_pattern


class Kind(Protocol):
    """What a setting may be."""

    @property
    def accepted(self) -> str:
        """What is accepted, to follow "must be"."""
        ...

    @property
    def metavar(self) -> str:
        """One word for it, for ``--help``."""
        ...

    def parse(self, value: object) -> object:
        """The value. Raises :class:`ValueError` where it is none."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number."""

    low: int
    high: int
    metavar: str = "NUMBER"

    @property
    def accepted(self) -> str:
        return f"a whole number, {self.low:,} to {self.high:,}"

    def parse(self, value: object) -> int:
        number = _number(value)
        if number != int(number) or not self.low <= number <= self.high:
            raise ValueError
        return int(number)


@dataclass(frozen=True, slots=True)
class Number:
    """A number, with or without a fraction."""

    low: float
    high: float
    metavar: str = "NUMBER"

    @property
    def accepted(self) -> str:
        return f"a number, {_plain(self.low)} to {_plain(self.high)}"

    def parse(self, value: object) -> float:
        number = _number(value)
        if not self.low <= number <= self.high:
            raise ValueError
        return number


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no."""

    accepted: str = "true or false"
    metavar: str = "true|false"

    def parse(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        raise ValueError


class Choice:
    """One of a few words, whatever their case."""

    def __init__(self, *words: str) -> None:
        self.words = words

    @property
    def accepted(self) -> str:
        return f"one of {', '.join(self.words)}"

    @property
    def metavar(self) -> str:
        return "|".join(self.words) if len(self.words) < 6 else "WORD"

    def parse(self, value: object) -> str:
        # YAML reads a version such as 5.4 as a number.
        text = str(value).strip().lower() if isinstance(value, str | float) else ""
        for word in self.words:
            if word.lower() == text:
                return word
        raise ValueError


@dataclass(frozen=True, slots=True)
class Text:
    """Text that matches a regular expression as a whole."""

    pattern: str = r"[^\x00-\x1f\x7f]+"
    accepted: str = "text"
    metavar: str = "TEXT"

    def parse(self, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value.strip()):
            raise ValueError
        return value.strip()


@dataclass(frozen=True, slots=True)
class BasePath:
    """A path before others: begins with a slash and ends without one, or is empty."""

    accepted: str = "a path without blanks, such as /sessions"
    metavar: str = "PATH"

    def parse(self, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[!-~]*", value.strip()):
            raise ValueError
        inner = value.strip().strip("/")
        return f"/{inner}" if inner else ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression for addresses."""

    accepted: str = "a regular expression that is quick to match"
    metavar: str = "REGEX"

    def parse(self, value: object) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError
        check_pattern(value)
        return value


@dataclass(frozen=True, slots=True)
class Several:
    """Several texts with commas between, or a list of them; blanks do not count."""

    pattern: str
    accepted: str
    metavar: str = "TEXT,..."

    def parse(self, value: object) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise ValueError
        texts: list[str] = []
        for part in parts:  # pyright: ignore[reportUnknownVariableType]
            text = re.sub(r"\s", "", part) if isinstance(part, str) else ""
            if not re.fullmatch(self.pattern, text):
                raise ValueError
            texts.append(text)
        return tuple(texts)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    if isinstance(value, str) and not re.fullmatch(r"[+-]?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,2})?", value.strip()):
        raise ValueError  # of what else float() takes: 1_000, nan, infinity
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError from error
    if not math.isfinite(number):
        raise ValueError
    return number


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:.3g}"
