"""The log of endings, which processes that verify without the database follow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tallystick.storage.sql.columns import TABLE_OPTIONS, ExactString

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "tallystick_endings",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("app_id", ExactString(64), nullable=False),
        sa.Column("handle", ExactString(255), nullable=False),
        sa.Column("user_id", ExactString(128), nullable=False),
        sa.Column("tenant_id", ExactString(64), nullable=False),
        sa.Column("kind", ExactString(16), nullable=False),
        sa.Column("happened_at", sa.BigInteger(), nullable=False),
        sa.Column("forget_at", sa.BigInteger(), nullable=False),
        sa.Column("payload_digest", ExactString(64), nullable=True),
        sa.Column("transaction_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name="pk_tallystick_endings"),
        sqlite_autoincrement=True,
        **TABLE_OPTIONS,
    )
    op.create_index("ix_tallystick_endings_app_id_transaction_id", "tallystick_endings", ["app_id", "transaction_id"])
    op.create_index("ix_tallystick_endings_forget_at", "tallystick_endings", ["forget_at"])


def downgrade() -> None:
    """Drop it. What has ended is seen by asking the database alone."""
    op.drop_table("tallystick_endings")
