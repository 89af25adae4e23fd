"""What kinds of columns there are. On MySQL and MariaDB each says more than its SQL name does.

Their usual collations take "User" for "user", and nearly all of them "user " for "user": two people would be one. Text
is compared there by code points, trailing spaces and all, as SQLite and PostgreSQL do by themselves. The collation
that does so has another name on each, so it is chosen when a table is made.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import LargeBinary, String, Text
from sqlalchemy.dialects.mysql import MEDIUMBLOB, VARBINARY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import TypeCompiler
from sqlalchemy.types import TypeEngine

TABLE_OPTIONS: Final[dict[str, Any]] = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}
"""The one engine of theirs that has transactions, also where a server's default is another."""


EXPIRY_DAY: Final = (
    "CASE WHEN absolute_expires_at < expires_at THEN absolute_expires_at - absolute_expires_at % 86400000 "
    "ELSE expires_at - expires_at % 86400000 END"
)
"""The beginning, in ms, of the day (UTC) on which a session is over. A remainder means the same everywhere, and a
quotient does not."""


class ExactString(String):
    """Text of at most so many characters."""

    inherit_cache = True


class ExactText(Text):
    """Text of any length: MySQL's TEXT would end at 64 KiB."""

    inherit_cache = True


@compiles(ExactString, "mysql", "mariadb")
def _compile_string(type_: ExactString, compiler: TypeCompiler, **_options: object) -> str:
    return f"VARCHAR({type_.length}) {_collate(compiler)}"


@compiles(ExactText, "mysql", "mariadb")
def _compile_text(_type: ExactText, compiler: TypeCompiler, **_options: object) -> str:
    return f"LONGTEXT {_collate(compiler)}"


def octets(length: int | None = None) -> TypeEngine[bytes]:
    """Bytes, at most so many."""
    large = LargeBinary(length)
    return large.with_variant(MEDIUMBLOB() if length is None else VARBINARY(length), "mysql", "mariadb")


def _collate(compiler: TypeCompiler) -> str:
    # MariaDB may be spoken to by SQLAlchemy's mysql dialect, which learns on connecting whom it has before it.
    is_mariadb = getattr(compiler.dialect, "is_mariadb", False)
    return f"CHARACTER SET utf8mb4 COLLATE {'utf8mb4_nopad_bin' if is_mariadb else 'utf8mb4_0900_bin'}"
