"""The store's statements as somebody would write them for the driver alone, with the driver's own pool if it has one:
what a store in Python cannot be faster than."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import filling
import psycopg
from psycopg_pool import ConnectionPool

from tallystick.types import SessionRow

TABLE = "tallystick_sessions"
COLUMNS = SessionRow.__struct_fields__
STEP = ("generation", "line", "previous", "used_at", "expires_at", "refreshed_at", "user_agent", "address")

Call = Callable[[int], object]
Execute = Callable[[str, tuple[Any, ...]], Any]


@contextmanager
def calls(url: str, size: int, connections: int) -> Iterator[dict[str, Call]]:
    """Each operation, on the session of a number among so many."""
    if url.startswith("sqlite"):
        yield _calls(_sqlite(url), size, "?")
        return
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    with ConnectionPool(plain, min_size=connections, max_size=connections, kwargs={"autocommit": True}) as pool:
        pool.wait()

        def execute(statement: str, values: tuple[Any, ...]) -> psycopg.Cursor[Any]:
            with pool.connection() as connection:
                return connection.execute(statement, values)

        yield _calls(execute, size, "%s")


def _sqlite(url: str) -> Execute:
    """It has no pool: a connection for each thread."""
    own = threading.local()

    def execute(statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        if not hasattr(own, "connection"):
            own.connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=30)
            own.connection.execute("PRAGMA synchronous=FULL")
        cursor: sqlite3.Cursor = own.connection.execute(statement, values)
        return cursor

    return execute


def _calls(execute: Execute, size: int, mark: str) -> dict[str, Call]:
    load = f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE app_id = {mark} AND handle = {mark}"
    create = f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES ({', '.join([mark] * len(COLUMNS))})"
    assigned = ", ".join(f"{name} = {mark}" for name in STEP)
    advance = f"UPDATE {TABLE} SET {assigned} WHERE app_id = {mark} AND handle = {mark} AND line = {mark}"
    listing = (
        f"SELECT handle FROM {TABLE} WHERE app_id = {mark} AND user_id = {mark} AND expires_at > {mark} "
        "ORDER BY created_at, handle"
    )

    def refresh(number: int) -> None:
        step = filling.step_of(number, random.getrandbits(20))
        values = [getattr(step, name) for name in STEP]
        execute(advance, (*values, filling.APP, filling.handle_of(number), filling.line_of(number)))

    def insert(number: int) -> None:
        row = new_row(number, size)
        execute(create, tuple(getattr(row, name) for name in COLUMNS))

    return {
        "load": lambda number: execute(load, (filling.APP, filling.handle_of(number))).fetchone(),
        "create": insert,
        "refresh": refresh,
        "list": lambda number: execute(listing, (filling.APP, filling.user_of(number, size), filling.NOW)).fetchall(),
    }


def new_row(number: int, size: int) -> SessionRow:
    """A session of the same user with a handle of its own."""
    return replace(filling.row_of(number, size), handle=f"{random.getrandbits(128):032x}")
