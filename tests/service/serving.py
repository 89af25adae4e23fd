"""The core service, by its settings: for tests that care for what it answers."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.service.operating import Service, run_service, running

LAUNCH = Path(__file__).with_name("launch.py")


@contextmanager
def run_core(folder: Path, database: str | None = None, **settings: Any) -> Iterator[Service]:
    """`tallystick serve` with these settings (names of the interface), by default on an SQLite file in ``folder``."""
    config = write_settings(folder, **settings)
    with run_service(folder, "--config", str(config), database or f"sqlite:///{folder}/core.db") as service:
        yield service


@contextmanager
def run_hasty_core(folder: Path, database: str, **settings: Any) -> Iterator[Service]:
    """One whose keys may last seconds, which `tallystick serve` grants to a throw-away database alone."""
    config = write_settings(folder, dev=True, url=database, **settings)
    program = (sys.executable, LAUNCH)
    with running(Service(folder, [str(config)], program=program)) as service:
        yield service


def write_settings(folder: Path, **settings: Any) -> Path:
    """A file of settings: JSON is YAML."""
    config = folder / f"settings-{uuid4()}.json"
    config.write_text(json.dumps(settings), "utf-8")
    return config
