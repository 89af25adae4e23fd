"""Where settings come from: a file, the environment, the command line. The later goes before the earlier.

Each refusal says which of them it is about.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from tallystick.errors import GeneralError
from tallystick.service.settings import ALIASES, CoreSettings, all_settings, find_setting, parse_setting

MAX_FILE_BYTES: Final = 1024 * 1024

_ESCAPED: Final = re.compile(r"\\(.)")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}
_PLACE: Final = re.compile(r"line \d+, column \d+")
_EITHER: Final = ("secret", "secret_file")
"""Two settings for one thing: to set one overrides the other too."""


def gather_settings(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, object]
) -> tuple[CoreSettings, frozenset[str]]:
    """The settings, and the names of those that ``flags`` have set.

    Raises :class:`GeneralError` (``bad_config``): for a bad value with the setting's name and what is accepted, for an
    unknown name with a near one.
    """
    values: dict[str, Any] = {}
    for layer in (read_file(file) if file else {}, read_environment(environment), read_flags(flags)):
        if not layer.keys().isdisjoint(_EITHER):
            for name in _EITHER:
                values.pop(name, None)
        values |= layer
    return CoreSettings(**values), frozenset(find_setting(name).name for name in flags)


def read_file(path: Path) -> dict[str, Any]:
    """What a YAML file sets; one that has null for a setting does not set it."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise GeneralError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes", reason="bad_config")
        found: object = msgspec.yaml.decode(content)
    except OSError as error:
        raise GeneralError(f"{path} cannot be read: {error.strerror}", reason="bad_config") from error
    except msgspec.DecodeError as error:
        # What YAML says at more length quotes the text, and there may be a secret in it.
        places = _PLACE.findall(str(error))
        place = f" ({places[-1]})" if places else ""
        raise GeneralError(f"{path} is not YAML: {str(error).splitlines()[0]}{place}", reason="bad_config") from None
    except ImportError as error:
        raise GeneralError(
            'to read a file of settings takes PyYAML: pip install "tallystick[service]"', reason="missing_driver"
        ) from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise GeneralError(f"{path} must have a setting on each line: name: value", reason="bad_config")
    with _said_of(str(path)):
        given = {str(name): value for name, value in cast("dict[object, object]", found).items() if value is not None}
        return _parse(given)


def read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the environment sets, by the names of spec/cdi.md 5.1 and, for settings of our own, with ``TALLYSTICK_``
    before them. Empty is unset."""
    values: dict[str, Any] = {}
    for variable, name in _variables():
        text = _unquote(environment.get(variable, ""))
        if text:
            with _said_of(f"the environment's {variable}"):
                values |= _parse({name: text})
    return values


def read_flags(flags: Mapping[str, object]) -> dict[str, Any]:
    """What the command line sets."""
    with _said_of("the command line"):
        return _parse(flags)


def flag_of(name: str) -> str:
    """The option that sets a setting."""
    return f"--{name.replace('_', '-')}"


def _parse(given: Mapping[str, object]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in given.items():
        known = find_setting(name).name
        if known in values:
            raise GeneralError(f"{known} is set twice, once as {name}", reason="bad_config")
        values[known] = parse_setting(name, value)
    return values


def _variables() -> Iterator[tuple[str, str]]:
    for alias, name in ALIASES.items():
        yield alias.upper(), name
    for name, setting in all_settings().items():
        yield setting.variable, name


def _unquote(text: str) -> str:
    """As spec/cdi.md 5.1 has it, for tools that pass on the quotes of an env file."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(lambda match: _ESCAPES.get(match[1], match[1]), text[1:-1])
    return text


@contextmanager
def _said_of(source: str) -> Generator[None]:
    try:
        yield
    except GeneralError as error:
        raise GeneralError(f"{source}: {error.message}", reason=error.reason) from None
