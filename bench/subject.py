"""What is measured of a framework: one app, and clients who are signed in to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from calling import Caller, Headers

SECRET = "a secret for the bench alone: it protects nothing"
PAYLOAD = {"iss": "https://api.example.com/auth", "roles": ["editor", "reviewer"], "plan": "team", "locale": "en-GB"}
PRIVATE_BITS = 2048


def sign_in_nobody(count: int) -> list[Headers]:
    """For an app without sessions."""
    return [()] * count


@dataclass(frozen=True, slots=True)
class Subject:
    """One app."""

    caller: Caller
    sign_in: Callable[[int], Sequence[Headers]] = sign_in_nobody
    """Sign in so many users; what each of their requests brings."""
    stored_bytes: Callable[[], int] = int
    """What the store takes on disk by now."""


def cookie(name: str, value: str) -> Headers:
    """The header that brings one cookie."""
    return (("cookie", f"{name}={value}"),)


def bearer(token: str) -> Headers:
    """The header that brings a token."""
    return (("authorization", f"Bearer {token}"),)
