"""The bench's own virtual environment: the peers must neither weigh on the development one nor hold it back."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
HOME = HERE / ".venv"
PEERS = (
    "supertokens-python",
    "PyJWT",
    "joserfc",
    "flask-jwt-extended",
    "djangorestframework-simplejwt[crypto]",
    "fastapi-users",
    "Flask-Session[cachelib]",
    "itsdangerous",  # for Starlette's SessionMiddleware
    "cryptography",
    "uvicorn[standard]",
    "waitress",
)
OURS = f"{ROOT}[starlette,fastapi,flask,django,drf]"
"""This checkout, with the frameworks that it is measured in."""

_PYTHON = HOME / ("Scripts" if os.name == "nt" else "bin") / "python"
_STAMP = HOME / ".stamp"


def enter(*, renew: bool) -> None:
    """Go on in the bench's environment: make it if need be, then start the same command again inside it.

    ``renew`` makes it anew, with today's newest peers.
    """
    if Path(sys.prefix).resolve() == HOME:
        return
    if renew or not _is_ready():
        _make()
    sys.stdout.flush()
    arguments = [argument for argument in sys.argv[1:] if argument != "--renew"]
    os.execv(_PYTHON, [str(_PYTHON), sys.argv[0], *arguments])  # noqa: S606 - our own interpreter, our own script


def _is_ready() -> bool:
    return _PYTHON.exists() and _STAMP.exists() and _STAMP.read_text("ascii") == _wanted()


def _wanted() -> str:
    """Changes with what is to be installed and with the Python that is to run it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return hashlib.sha256(f"{PEERS} {sys.version} {project['dependencies']}".encode()).hexdigest()


def _make() -> None:
    print(f"Making bench/.venv with {', '.join(PEERS)} and this checkout ...", file=sys.stderr, flush=True)
    venv.EnvBuilder(clear=True, with_pip=True).create(HOME)
    # One command, so that pip resolves all of them together: one process can then measure them all.
    command = [str(_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS, "-e", OURS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"pip could not install the peers:\n{done.stderr.strip()}")
    _STAMP.write_text(_wanted(), "ascii")
