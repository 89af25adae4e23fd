"""The first schema: sessions, theft events and signing keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tallystick.storage.sql.columns import TABLE_OPTIONS, ExactString, ExactText, octets

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "tallystick_sessions",
        sa.Column("app_id", ExactString(64), nullable=False),
        sa.Column("tenant_id", ExactString(64), nullable=False),
        sa.Column("handle", ExactString(255), nullable=False),
        sa.Column("user_id", ExactString(128), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("line", octets(32), nullable=False),
        sa.Column("previous", octets(32), nullable=True),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("nonce", octets(16), nullable=False),
        sa.Column("jwt_payload", ExactText(), nullable=False),
        sa.Column("session_data", ExactText(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("absolute_expires_at", sa.BigInteger(), nullable=False),
        sa.Column("refreshed_at", sa.BigInteger(), nullable=False),
        sa.Column("user_agent", ExactString(255), nullable=True),
        sa.Column("address", ExactString(64), nullable=True),
        sa.PrimaryKeyConstraint("app_id", "handle", name="pk_tallystick_sessions"),
        **TABLE_OPTIONS,
    )
    op.create_index("ix_tallystick_sessions_app_id_user_id", "tallystick_sessions", ["app_id", "user_id"])
    op.create_index("ix_tallystick_sessions_expires_at", "tallystick_sessions", ["expires_at"])
    op.create_table(
        "tallystick_theft_events",
        sa.Column("app_id", ExactString(64), nullable=False),
        sa.Column("tenant_id", ExactString(64), nullable=False),
        sa.Column("session_handle", ExactString(255), nullable=False),
        sa.Column("user_id", ExactString(128), nullable=False),
        sa.Column("kind", ExactString(16), nullable=False),
        sa.Column("presented_generation", sa.BigInteger(), nullable=False),
        sa.Column("line_generation", sa.BigInteger(), nullable=False),
        sa.Column("detected_at", sa.BigInteger(), nullable=False),
        sa.Column("presenter_user_agent", ExactString(255), nullable=True),
        sa.Column("presenter_address", ExactString(64), nullable=True),
        sa.Column("holder_user_agent", ExactString(255), nullable=True),
        sa.Column("holder_address", ExactString(64), nullable=True),
        sa.PrimaryKeyConstraint("app_id", "session_handle", name="pk_tallystick_theft_events"),
        **TABLE_OPTIONS,
    )
    op.create_index(
        "ix_tallystick_theft_events_app_id_detected_at", "tallystick_theft_events", ["app_id", "detected_at"]
    )
    op.create_table(
        "tallystick_signing_keys",
        sa.Column("app_id", ExactString(64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kid", ExactString(128), nullable=False),
        sa.Column("algorithm", ExactString(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", octets(), nullable=False),
        sa.PrimaryKeyConstraint("app_id", "sequence", name="pk_tallystick_signing_keys"),
        **TABLE_OPTIONS,
    )


def downgrade() -> None:
    """Drop them, with all sessions."""
    op.drop_table("tallystick_signing_keys")
    op.drop_table("tallystick_theft_events")
    op.drop_table("tallystick_sessions")
