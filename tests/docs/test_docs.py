"""Everything that the documents show is done: each Python block is run, and the commands that can be."""

import ast
import asyncio
import doctest
import inspect
import os
import re
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tallystick import AsyncSessions, Sessions
from tests.docs.documents import (
    DOCUMENTS,
    ROOT,
    Block,
    anchors_of,
    blocks_of,
    commands_of,
    headings_of,
    links_of,
    name_of,
)
from tests.servers import missing, pick_free_port

RUN = {"tallystick", "mkdir"}
SKIPPED = {
    "pip": "installs into the reader's environment",
    "python": "makes the reader's environment",
    "npm": "test_tutorial.py runs it",
    "npx": "test_tutorial.py runs it",
    "uvicorn": "test_tutorial.py runs it",
    "curl": "test_tutorial.py asks the same",
    "make": "the commands that run these tests, and the demo, which has tests of its own",
    "export": "sets what the test sets too",
}
DATABASE = "DATABASE_URL"
COMMAND_SECONDS = 60

_is_like = doctest.OutputChecker().check_output


def test_the_store_that_a_page_shows_proves_itself_as_the_page_says(tmp_path: Path):
    [*_, block] = blocks_of(ROOT / "docs/how-to/write-your-own-store.md", "python")
    (tmp_path / "test_my_store.py").write_text(block.text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_store.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b\d\d+ passed", done.stdout)
    assert "failed" not in done.stdout


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_document_does_what_it_shows(
    path: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    blocks = blocks_of(path, "python", "console")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TALLYSTICK_SECRET", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if any(DATABASE in block.text for block in blocks):
        database = "mariadb_database" if path.stem == "use-mariadb" else "postgres_database"
        monkeypatch.setenv(DATABASE, request.getfixturevalue(database))
    if any("settings.configure(" in block.text for block in blocks):
        run_apart(path, [block for block in blocks if block.language == "python"], tmp_path)
        blocks = [block for block in blocks if block.language != "python"]
    if any("supertokens_python" in block.text for block in blocks):  # test_other_languages.py runs it
        blocks = [block for block in blocks if block.language != "python"]
    with asyncio.Runner() as runner:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        try:
            for block in blocks:
                if block.language == "python":
                    run_python(path, block, namespace, runner)
                else:
                    run_commands(block)
        finally:
            runner.run(close_all(namespace))


def run_python(path: Path, block: Block, namespace: dict[str, Any], runner: asyncio.Runner) -> None:
    """Top-level await is allowed, as in the asyncio REPL. A traceback shows the document's own line."""
    source = "\n" * (block.line - 1) + block.text
    code = compile(source, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        runner.run(types.FunctionType(code, namespace)())
    else:
        exec(code, namespace)  # noqa: S102 - the documents are ours


def run_apart(path: Path, blocks: list[Block], folder: Path) -> None:
    """In a process of its own, as Django can be set up once only. A traceback shows the document's own line."""
    script = folder / f"{path.stem}_document.py"
    text = ""
    for block in blocks:
        text += "\n" * (block.line - 1 - text.count("\n")) + block.text
    script.write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr


def run_commands(block: Block) -> None:
    for command in commands_of(block):
        program = command.line.split()[0]
        if program not in RUN:
            assert program in SKIPPED, f"line {block.line}: run {program}, or say in SKIPPED why not"
            continue
        if command.line.startswith("tallystick serve"):
            run_service(command.line)
            continue
        done = subprocess.run(
            ["bash", "-c", command.line],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        shown = command.output.strip("\n") + "\n"
        if shown.strip():
            assert _is_like(shown, done.stdout, doctest.ELLIPSIS), f"$ {command.line}\n{done.stdout}"
        else:
            assert done.returncode == 0, f"$ {command.line}\n{done.stdout}"


def run_service(line: str) -> None:
    """Until it is ready, at a port of its own."""
    port = pick_free_port()
    environment = os.environ | {"TALLYSTICK_SECRET": "documents-only-" * 4, "SUPERTOKENS_PORT": str(port)}
    service = subprocess.Popen(["bash", "-c", f"exec {line}"], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + COMMAND_SECONDS
    try:
        while not is_ready(port):
            assert service.poll() is None, f"$ {line}"
            assert time.monotonic() < deadline, f"$ {line}"
            time.sleep(0.05)
    finally:
        service.terminate()
        service.wait(COMMAND_SECONDS)


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200
    except httpx.TransportError:
        return False


async def close_all(namespace: dict[str, Any]) -> None:
    for value in namespace.values():
        if isinstance(value, AsyncSessions):
            await value.close()
        elif isinstance(value, Sessions):
            value.close()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_within_the_repository_resolves(path: Path):
    for link in links_of(path):
        target, _, anchor = unquote(link).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (path.parent / target) if target else path
        assert file.resolve().is_relative_to(ROOT), link
        assert file.exists(), link
        if anchor:
            assert anchor in anchors_of(file), link


def test_every_document_can_be_reached_from_the_map():
    map_ = ROOT / "docs" / "index.md"
    linked = {(map_.parent / link.partition("#")[0]).resolve() for link in links_of(map_)}
    assert [name_of(path) for path in DOCUMENTS if path not in linked | {map_, ROOT / "README.md"}] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_a_document_has_one_title_and_no_block_of_an_unknown_kind(path: Path):
    known = {"python", "console", "mermaid", "diff", "js", "html", "http", "text", "sql", "ini", "yaml", "go", ""}
    fences = list(re.findall(r"^```(\w*)", path.read_text("utf-8"), flags=re.MULTILINE))
    assert set(fences) <= known
    assert headings_of(path)


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if blocks_of(p, "js")], ids=name_of)
def test_every_script_for_a_page_is_javascript(path: Path, tmp_path: Path):
    node = shutil.which("node") or missing("Node.js")
    for number, block in enumerate(blocks_of(path, "js")):
        script = tmp_path / f"{number}.mjs"
        script.write_text(block.text, "utf-8")
        done = subprocess.run([node, "--check", script], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["flask", "django"])
def test_at_most_six_lines_add_it_to_an_app_and_the_whole_app_has_them(name: str):
    path = ROOT / "docs" / "how-to" / f"{name}.md"
    shown = "\n".join(block.text for block in blocks_of(path, "diff")).split("\n")
    added = [line.removeprefix("+").strip() for line in shown if line.startswith("+")]
    assert 0 < len(added) <= 6
    assert not [line for line in shown if line.startswith("-")]
    whole = "\n".join(block.text for block in blocks_of(path, "python")).replace("TALLYSTICK={", "TALLYSTICK = {")
    lines = [line.strip().partition("  #")[0].rstrip(",") for line in whole.split("\n")]
    assert [line for line in added if line.rstrip(",") not in lines] == []
