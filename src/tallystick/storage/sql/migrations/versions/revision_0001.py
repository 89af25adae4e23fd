"""The first schema: sessions, theft events and signing keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "tallystick_sessions",
        sa.Column("app_id", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("handle", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(128), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.LargeBinary(32), nullable=False),
        sa.Column("previous", sa.LargeBinary(32), nullable=True),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("nonce", sa.LargeBinary(16), nullable=False),
        sa.Column("jwt_payload", sa.Text(), nullable=False),
        sa.Column("session_data", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("absolute_expires_at", sa.BigInteger(), nullable=False),
        sa.Column("refreshed_at", sa.BigInteger(), nullable=False),
        sa.Column("user_agent", sa.String(255), nullable=True),
        sa.Column("address", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("app_id", "handle", name="pk_tallystick_sessions"),
    )
    op.create_index("ix_tallystick_sessions_app_id_user_id", "tallystick_sessions", ["app_id", "user_id"])
    op.create_index("ix_tallystick_sessions_expires_at", "tallystick_sessions", ["expires_at"])
    op.create_table(
        "tallystick_theft_events",
        sa.Column("app_id", sa.String(64), nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("session_handle", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("presented_generation", sa.BigInteger(), nullable=False),
        sa.Column("line_generation", sa.BigInteger(), nullable=False),
        sa.Column("detected_at", sa.BigInteger(), nullable=False),
        sa.Column("presenter_user_agent", sa.String(255), nullable=True),
        sa.Column("presenter_address", sa.String(64), nullable=True),
        sa.Column("holder_user_agent", sa.String(255), nullable=True),
        sa.Column("holder_address", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("app_id", "session_handle", name="pk_tallystick_theft_events"),
    )
    op.create_index(
        "ix_tallystick_theft_events_app_id_detected_at", "tallystick_theft_events", ["app_id", "detected_at"]
    )
    op.create_table(
        "tallystick_signing_keys",
        sa.Column("app_id", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kid", sa.String(128), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("app_id", "sequence", name="pk_tallystick_signing_keys"),
    )


def downgrade() -> None:
    """Drop them, with all sessions."""
    op.drop_table("tallystick_signing_keys")
    op.drop_table("tallystick_theft_events")
    op.drop_table("tallystick_sessions")
