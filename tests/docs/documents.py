"""The documents and what is in them, read with a Markdown parser."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_parser = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Block:
    """One fenced block. ``line`` is that of its first line of content, counted from 1."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A line after ``$``, and the output that the document shows below it."""

    line: str
    output: str


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> list[Token]:
    return _parser.parse(path.read_text("utf-8"))


def blocks_of(path: Path, *languages: str) -> list[Block]:
    return [
        Block(token.info.strip(), token.content, token.map[0] + 2)
        for token in parse(path)
        if token.type == "fence" and token.map and token.info.strip() in languages
    ]


def commands_of(block: Block) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        yield Command(line.strip(), output)


def links_of(path: Path) -> list[str]:
    inline = [child for token in parse(path) for child in token.children or ()]
    return [str(token.attrs["href"]) for token in inline if token.type == "link_open"]


def headings_of(path: Path) -> list[str]:
    tokens = parse(path)
    return [
        tokens[index + 1].content.replace("`", "") for index, token in enumerate(tokens) if token.type == "heading_open"
    ]


def anchors_of(path: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings_of(path)}


def rows_of(path: Path, first_column: str) -> list[list[str]]:
    """The body of every table whose first column has this title: cells without backticks."""
    rows: list[list[str]] = []
    is_wanted = False
    for token, following in zip(tokens := parse(path), tokens[1:], strict=False):
        if token.type == "table_open":
            is_wanted = False
        elif token.type == "thead_open":
            rows.append([])
        elif token.type == "thead_close":
            is_wanted = rows.pop()[0] == first_column
        elif token.type == "tr_open" and is_wanted:
            rows.append([])
        elif token.type in ("th_open", "td_open") and rows and (token.type == "th_open" or is_wanted):
            rows[-1].append(following.content.replace("`", ""))
    return rows
