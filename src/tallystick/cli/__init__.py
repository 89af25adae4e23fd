"""The command line. What it does is in ``commands``, which needs Typer and Rich: the extra ``cli``."""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point of ``tallystick``."""
    try:
        from tallystick.cli.commands import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich", "click"):
            raise
        sys.stderr.write('The command line needs two more packages: pip install "tallystick[cli]"\n')
        raise SystemExit(2) from None
    app(prog_name="tallystick")
