"""The day on which a session is over, and an index on it in the place of the one on ``expires_at``.

Every refresh moves ``expires_at``, and so it moved its index entry too; the day it moves once a day at the most. The
database computes it, so code that knows nothing of it may go on beside this. On PostgreSQL the table is written anew.

And an index for the thefts of one user.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tallystick.storage.sql.columns import EXPIRY_DAY

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the day; index it instead."""
    # SQLite adds none that is kept in the row, PostgreSQL has long known no other.
    is_kept = op.get_context().dialect.name == "postgresql"
    day = sa.Column("expiry_day", sa.BigInteger(), sa.Computed(EXPIRY_DAY, persisted=is_kept))
    op.add_column("tallystick_sessions", day)
    op.create_index("ix_tallystick_sessions_app_id_expiry_day", "tallystick_sessions", ["app_id", "expiry_day"])
    op.drop_index("ix_tallystick_sessions_expires_at", "tallystick_sessions")
    op.create_index("ix_tallystick_theft_events_app_id_user_id", "tallystick_theft_events", ["app_id", "user_id"])


def downgrade() -> None:
    """Back to the index on the instant."""
    op.drop_index("ix_tallystick_theft_events_app_id_user_id", "tallystick_theft_events")
    op.create_index("ix_tallystick_sessions_expires_at", "tallystick_sessions", ["expires_at"])
    op.drop_index("ix_tallystick_sessions_app_id_expiry_day", "tallystick_sessions")
    op.drop_column("tallystick_sessions", "expiry_day")
