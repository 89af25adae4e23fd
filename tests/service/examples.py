"""Apps on real SDKs (sdk/examples), each in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.service.sdks import HOME, STOP_SECONDS, find_node, install


@contextmanager
def run_example(app: str, *arguments: str) -> Iterator[str]:
    """Start an app with these arguments, the core's address first; its own address."""
    install()
    process = subprocess.Popen(
        [find_node(), HOME / "examples" / app, *arguments], stdout=subprocess.PIPE, stderr=sys.stderr, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"{app} did not start"
        yield f"http://127.0.0.1:{json.loads(line)['port']}"
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS)
