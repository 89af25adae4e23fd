"""``tallystick serve``: its options are made of the table of settings, so that neither can change alone."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from tallystick.errors import GeneralError
from tallystick.service.kinds import Number, Whole
from tallystick.service.settings import CoreSettings, Group, Setting, all_settings
from tallystick.service.sources import flag_of, gather_settings

INTRODUCTION: Final = (
    "Run the core HTTP service: the Core Driver Interface, for SDKs in any language.",
    "Settings come from a YAML file (--config), the environment and these options; the later goes before the earlier. "
    "In the file they have the options' names with _ for -, as in access_token_validity: 3600. A setting without -- is "
    "a secret: for the file and the environment only, as others can read a command line.",
    "To try it: tallystick serve --dev",
)

_WIDTH: Final = 80


class ServeCommand(TyperCommand):
    """Its help is a page of its own: a table would cut the names, which are long as the interface has them."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - Typer's click, which it hides
        typer.echo(render_help())


def render_help() -> str:
    """The text of ``tallystick serve --help``."""
    lines = ["Usage: tallystick serve [OPTIONS] [URL]", ""]
    for paragraph in INTRODUCTION:
        lines += [*wrap(paragraph, _WIDTH), ""]
    lines += ["Options:", *_entry("--config FILE.yaml", "A file of settings."), *_entry("--help", "Show this."), ""]
    for group in Group:
        lines.append(f"{group.value}:")
        for setting in all_settings().values():
            if setting.group is group:
                lines += _entry(_usage(setting), _explain(setting))
        lines.append("")
    return "\n".join(lines).rstrip("\n")


def _entry(usage: str, explanation: str) -> list[str]:
    return [f"  {usage}", *(f"      {line}" for line in wrap(explanation, _WIDTH - 6))]


def _usage(setting: Setting) -> str:
    if setting.name == "url":
        return "URL"
    if setting.name == "dev":
        return "--dev"
    return f"{setting.name if setting.is_secret else flag_of(setting.name)} {setting.kind.metavar}"


def _explain(setting: Setting) -> str:
    """What it is, what it may be, its default and its variable."""
    parts = [setting.help]
    default = setting.default
    if default not in (None, "", (), False) or setting.name in ("migrate", "access_token_blacklisting"):
        shown = (
            str(default).lower()
            if isinstance(default, bool)
            else f"{default:g}"
            if isinstance(default, float)
            else default
        )
        parts.append(f"Default: {shown}.")
    if isinstance(setting.kind, Whole | Number):
        parts.append(f"From {setting.kind.accepted.partition(', ')[2]}.")
    parts.append(f"Environment: {setting.variable}.")
    return " ".join(parts)


def make_serve(fail: Callable[[str], object]) -> Callable[..., None]:
    """The command. ``fail`` ends it with a message."""

    def serve(**given: Any) -> None:  # noqa: ANN401 - as Typer has parsed them
        config = given.pop("config")
        flags = {name: value for name, value in given.items() if value is not None and value is not False}
        try:
            settings, flagged = gather_settings(config, os.environ, flags)
            code = _serve(settings, is_throw_away=settings.dev and "url" not in flagged)
        except GeneralError as error:
            fail(error.message)
        else:
            raise typer.Exit(code)

    parameters = [
        _config_parameter(),
        *(_parameter(setting) for setting in all_settings().values() if _is_shown(setting)),
    ]
    serve.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    serve.__annotations__ = {each.name: each.annotation for each in parameters}
    return serve


def _serve(settings: CoreSettings, *, is_throw_away: bool) -> int:
    try:
        from tallystick.service.serving import serve
    except ModuleNotFoundError as error:
        raise GeneralError(
            f'the service needs {error.name}: pip install "tallystick[service]"', reason="missing_driver"
        ) from error
    return serve(settings, is_throw_away=is_throw_away)


def _is_shown(setting: Setting) -> bool:
    return setting.name == "url" or not setting.is_secret


def _config_parameter() -> inspect.Parameter:
    return _make_parameter("config", Path | None, typer.Option("--config"))


def _parameter(setting: Setting) -> inspect.Parameter:
    if setting.name == "url":
        return _make_parameter("url", str | None, typer.Argument())
    if setting.name == "dev":
        return _make_parameter("dev", bool, typer.Option("--dev"), default=False)
    return _make_parameter(setting.name, str | None, typer.Option(flag_of(setting.name)))


def _make_parameter(name: str, kind: Any, about: Any, default: object = None) -> inspect.Parameter:  # noqa: ANN401
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, about])
