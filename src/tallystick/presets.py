"""Settings for a facade that belong together: lifetimes by NIST SP 800-63B-4 (July 2025), the classic interface.

::

    from tallystick.presets import aal2

    sessions = Sessions("sqlite:///sessions.db", **aal2())
    sessions = Sessions("sqlite:///sessions.db", **aal2(idle_timeout=timedelta(minutes=30), grace=timedelta(0)))

An overall timeout and an inactivity timeout, whichever comes first (section 5.2); what is signed in again gets a new
session, and with it both anew. A level is about much more than this, above all about how the user is authenticated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Unpack

from tallystick.config import AntiCsrf, Config, Settings
from tallystick.errors import GeneralError

__all__ = ["aal1", "aal2", "aal3", "classic"]


@dataclass(frozen=True, slots=True)
class _Level:
    name: str
    overall: timedelta
    inactivity: timedelta | None
    access: timedelta
    """How long access tokens are good for: also how late activity is seen, so a fraction of the inactivity timeout."""


_AAL1: Final = _Level("AAL1", timedelta(days=30), None, timedelta(hours=1))
"""Section 2.1.3: the overall timeout should be no more than 30 days; no inactivity timeout is required."""
_AAL2: Final = _Level("AAL2", timedelta(hours=24), timedelta(hours=1), timedelta(minutes=15))
"""Section 2.2.3: overall no more than 24 hours, inactivity no more than 1 hour (both SHOULD)."""
_AAL3: Final = _Level("AAL3", timedelta(hours=12), timedelta(minutes=15), timedelta(minutes=5))
"""Section 2.3.3: overall no more than 12 hours (SHALL), inactivity no more than 15 minutes (SHOULD)."""


def aal1(**settings: Unpack[Settings]) -> Settings:
    """At most 30 days in all. ``settings`` go before the preset's own; those beyond the level's limits are refused with
    :class:`GeneralError` (``bad_config``)."""
    return _settings_of(_AAL1, settings)


def aal2(**settings: Unpack[Settings]) -> Settings:
    """At most 24 hours in all and 1 hour without activity; access tokens are good for 15 minutes. ``settings``: as
    :func:`aal1`."""
    return _settings_of(_AAL2, settings)


def aal3(**settings: Unpack[Settings]) -> Settings:
    """At most 12 hours in all and 15 minutes without activity; access tokens are good for 5 minutes. ``settings``: as
    :func:`aal1`."""
    return _settings_of(_AAL3, settings)


def classic(**settings: Unpack[Settings]) -> Settings:
    """The 1.0.X interface, for browser SDKs up to FDI 1.15 (spec/fdi.md 1.9): the cookies ``sAccessToken``,
    ``sRefreshToken`` and ``sIdRefreshToken``, the headers ``id-refresh-token`` and ``anti-csrf``, and status 440 where
    there is no valid session. ``settings`` go before the preset's own.

    Raises :class:`GeneralError` (``bad_config``) for what these clients cannot do: header transfer, the ``rid`` header.
    """
    own: Settings = {
        "browser_interface": "classic",
        "token_transfer_method": "cookie",
        "anti_csrf": AntiCsrf.VIA_TOKEN,
        "session_expired_status_code": 440,
    }
    merged: Settings = {**own, **settings}
    Config(**merged)
    return merged


def _settings_of(level: _Level, settings: Settings) -> Settings:
    own: Settings = {
        "absolute_lifetime": level.overall,
        "refresh_token_validity": level.overall,
        "idle_timeout": level.inactivity,
        "access_token_validity": level.access,
    }
    merged: Settings = {**own, **settings}
    config = Config(**merged)
    limits = [("absolute_lifetime", config.absolute_lifetime, level.overall)]
    if level.inactivity is not None:
        limits.append(("idle_timeout", config.inactivity_limit, level.inactivity))
    for name, value, limit in limits:
        if value > limit:
            raise GeneralError(f"{name} is {value}, but {level.name} has at most {limit}", reason="bad_config")
    return merged
