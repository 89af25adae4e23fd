"""Processes and servers that are killed cost nobody a session, and bring no ended one back."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.model.crashes import run_storm

SECONDS = {"sqlite": 12, "postgresql": 20}
LEAST = {
    "kills": 5,
    "refreshes": 20,
    "verifications": 50,
    "revocations": 3,
    "refreshes by visitors": 3,
    "lost answers": 1,
}


@pytest.mark.parametrize("kind", SECONDS)
def test_killed_processes_cost_no_session_and_bring_none_back(
    kind: str, tmp_path: Path, record_property: Callable[[str, object], None]
):
    seed = 1 if os.environ.get("CI") else int.from_bytes(os.urandom(4))
    storm = run_storm(kind, SECONDS[kind], seed, tmp_path, lambda _: None, LEAST)
    record_property(f"crashes on {kind}, seed {seed}", storm.describe())
    assert storm.wrong == []
    assert storm.seen["sessions lost"] == 0
    # And that something happened at all.
    assert storm.is_enough(LEAST), storm.describe()
    assert storm.seen["signing keys"] >= 2
    assert storm.seen["rows looked at"] >= 100
    assert storm.seen["server kills"] == (2 if kind == "postgresql" else 0)
