"""Apps and tenants of a core service."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tallystick.storage.sql.columns import TABLE_OPTIONS, ExactString, octets

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "tallystick_tenants",
        sa.Column("app_id", ExactString(64), nullable=False),
        sa.Column("tenant_id", ExactString(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed", octets(), nullable=False),
        sa.PrimaryKeyConstraint("app_id", "tenant_id", name="pk_tallystick_tenants"),
        **TABLE_OPTIONS,
    )


def downgrade() -> None:
    """Drop it, with all apps and tenants."""
    op.drop_table("tallystick_tenants")
