"""What `import tallystick` loads and gives."""

import os
import subprocess
import sys

import pytest

import tallystick

NOT_LOADED = [
    "asyncio",
    "sqlalchemy",
    "alembic",
    "starlette",
    "fastapi",
    "flask",
    "django",
    "typer",
    "rich",
    "psycopg",
    "sqlite3",
    "httpx",
    "aiosqlite",
    "greenlet",
    "anyio",
]


def run_python(code: str) -> str:
    # A process that is measured by coverage loads sqlite3 for that.
    unwanted = ("COVERAGE_", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import tallystick",
        "import tallystick.testing",
        "from tallystick import Sessions; s = Sessions('memory://', secret='s' * 32); "
        "s.get_session(s.create_new_session('u').access_token.token)",
        "from tallystick import Sessions; s = Sessions('memory://', secret='s' * 32); "
        "from tallystick.integrations.wsgi import *; "
        "app = SessionMiddleware(lambda e, r: create_new_session(e, 'u') and r('200 OK', []) or [], s); "
        "list(app({'REQUEST_METHOD': 'POST', 'PATH_INFO': '/login'}, lambda *args: None))",
    ],
    ids=["import", "import testing", "a session in memory", "a session over WSGI"],
)
def test_no_framework_no_driver_and_no_event_loop_is_loaded(code):
    loaded = run_python(f"import sys; {code}; print(*sys.modules)").split()
    assert [name for name in NOT_LOADED if name in loaded] == []
    assert "tallystick.sessions" in loaded or "testing" in code


def test_serve_loads_neither_what_draws_progress_nor_what_migrates():
    code = "import sys; import tallystick.cli.commands, tallystick.service.serving; print(*sys.modules)"
    loaded = run_python(code).split()
    assert "tallystick.service.serving" in loaded
    assert not {"rich", "alembic"}.intersection(loaded)


def test_the_import_takes_a_time_that_is_printed_and_not_asserted():
    code = "import time; t = time.perf_counter(); import tallystick; print(round((time.perf_counter() - t) * 1000))"
    print(f"import tallystick: {run_python(code).strip()} ms")  # noqa: T201 - timings are never asserted


def test_all_is_sorted_complete_and_importable():
    assert tallystick.__all__ == sorted(tallystick.__all__)
    for name in tallystick.__all__:
        assert hasattr(tallystick, name), name
    public = {
        name
        for name, value in vars(tallystick).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("tallystick.")
    }
    assert public <= set(tallystick.__all__)


def test_every_public_error_and_result_is_exported():
    from tallystick import errors  # noqa: PLC0415

    assert set(errors.__all__) <= set(tallystick.__all__)
