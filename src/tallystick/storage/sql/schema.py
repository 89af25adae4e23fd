"""The tables. Columns stand in the order of the fields of :mod:`tallystick.types`, so that a row is its value."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Computed, Index, Integer, MetaData, Table

from tallystick.storage.sql.columns import EXPIRY_DAY, TABLE_OPTIONS, ExactString, ExactText, octets

REVISIONS: Final = ("0001", "0003", "0004", "0005")
"""Every schema that there ever was, oldest first, so that a database can be judged without loading Alembic."""

HEAD: Final = REVISIONS[-1]
"""The schema that this version of Tallystick needs."""

VERSION_TABLE: Final = "tallystick_version"
"""Alembic's table, under a name of our own: the app may use Alembic too, in the same database."""

metadata: Final = MetaData(
    # Named by us, so that a later migration can name what it changes on every database.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

sessions: Final = Table(
    "tallystick_sessions",
    metadata,
    Column("app_id", ExactString(64), primary_key=True),
    Column("tenant_id", ExactString(64), nullable=False),
    Column("handle", ExactString(255), primary_key=True),
    Column("user_id", ExactString(128), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("line", octets(32), nullable=False),
    Column("previous", octets(32)),
    Column("used_at", BigInteger),
    Column("nonce", octets(16), nullable=False),
    Column("jwt_payload", ExactText, nullable=False),
    Column("session_data", ExactText, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("absolute_expires_at", BigInteger, nullable=False),
    Column("refreshed_at", BigInteger, nullable=False),
    Column("user_agent", ExactString(255)),
    Column("address", ExactString(64)),
    # Computed by the database, and no field of a row. A purge looks for it, and not for expires_at: an index on that
    # would change with every refresh, which costs more than a purge spares (bench/RESULTS.md, "Scale").
    Column("expiry_day", BigInteger, Computed(EXPIRY_DAY, persisted=True)),
    Index(None, "app_id", "user_id"),
    Index(None, "app_id", "expiry_day"),
    **TABLE_OPTIONS,
)

theft_events: Final = Table(
    "tallystick_theft_events",
    metadata,
    Column("app_id", ExactString(64), primary_key=True),
    Column("tenant_id", ExactString(64), nullable=False),
    Column("session_handle", ExactString(255), primary_key=True),
    Column("user_id", ExactString(128), nullable=False),
    Column("kind", ExactString(16), nullable=False),
    Column("presented_generation", BigInteger, nullable=False),
    Column("line_generation", BigInteger, nullable=False),
    Column("detected_at", BigInteger, nullable=False),
    Column("presenter_user_agent", ExactString(255)),
    Column("presenter_address", ExactString(64)),
    Column("holder_user_agent", ExactString(255)),
    Column("holder_address", ExactString(64)),
    Index(None, "app_id", "detected_at"),
    Index(None, "app_id", "user_id"),
    **TABLE_OPTIONS,
)

signing_keys: Final = Table(
    "tallystick_signing_keys",
    metadata,
    Column("app_id", ExactString(64), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kid", ExactString(128), nullable=False),
    Column("algorithm", ExactString(16), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("sealed", octets(), nullable=False),
    **TABLE_OPTIONS,
)

tenants: Final = Table(
    "tallystick_tenants",
    metadata,
    Column("app_id", ExactString(64), primary_key=True),
    Column("tenant_id", ExactString(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("sealed", octets(), nullable=False),
    **TABLE_OPTIONS,
)

endings: Final = Table(
    "tallystick_endings",
    metadata,
    # SQLite counts up by itself only in a column that is called INTEGER, and would otherwise begin anew after a purge.
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("app_id", ExactString(64), nullable=False),
    Column("handle", ExactString(255), nullable=False),
    Column("user_id", ExactString(128), nullable=False),
    Column("tenant_id", ExactString(64), nullable=False),
    Column("kind", ExactString(16), nullable=False),
    Column("happened_at", BigInteger, nullable=False),
    Column("forget_at", BigInteger, nullable=False),
    Column("payload_digest", ExactString(64)),
    Column("transaction_id", BigInteger),
    Index(None, "app_id", "transaction_id"),
    Index(None, "forget_at"),
    sqlite_autoincrement=True,
    **TABLE_OPTIONS,
)
"""The log of endings. ``transaction_id`` is PostgreSQL's, see :mod:`tallystick.storage.sql.endings`."""
