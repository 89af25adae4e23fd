"""``settings.TALLYSTICK``: what the facades take, in capitals, as Django writes its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from inspect import Parameter, signature
from typing import Any, Final, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from tallystick.config import Config, did_you_mean
from tallystick.sessions import Sessions

NAME: Final = "TALLYSTICK"
FACADE_NAMES: Final = tuple(
    name for name, parameter in signature(Sessions).parameters.items() if parameter.kind is not Parameter.VAR_KEYWORD
)
_NAMES: Final = (*FACADE_NAMES, *(field.name for field in fields(Config)))


def read_arguments() -> dict[str, Any]:
    """The facades' arguments. Raises ``ImproperlyConfigured``, naming what is wrong."""
    given = read_settings()
    if given is None:
        raise ImproperlyConfigured(f'{NAME} must be a dict, such as {{"URL": "sqlite:///sessions.db"}}')
    arguments, unknown = split(given)
    if unknown:
        raise ImproperlyConfigured("; ".join(unknown))
    return arguments


def read_settings() -> Mapping[str, Any] | None:
    """The dict as it is; None where there is none."""
    found = getattr(settings, NAME, None)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else None


def split(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The arguments, and what is to be said of each name that is none."""
    arguments = {name: given[name.upper()] for name in _NAMES if name.upper() in given}
    known = [name.upper() for name in _NAMES]
    unknown: list[str] = []
    for name in given:
        if name not in known:
            unknown.append(f"{NAME} has no {name!r}{did_you_mean(str(name).upper(), known)}")
    return arguments, unknown
