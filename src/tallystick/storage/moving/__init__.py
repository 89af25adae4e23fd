"""A store that reads an old one and writes a new one: for moving between them while the app runs.

A session is brought over when it is first touched: kept in the new store, then deleted from the old one. From then on
the new one alone decides on it, and nobody ever changes a row of the old one, so whatever is read there is the whole
truth until it is gone.

Two who bring the same session keep it once, as a handle is kept once. But one of them may be so slow that the session
is revoked in the new store before he keeps what he has read. So whatever is ended leaves a mark in the new store first,
a row of an app of its own, and what bears a mark is not there, whoever kept it since. The mark also tells who of many
has ended it.
"""

from tallystick.storage.moving.steps import marks_of
from tallystick.storage.moving.stores import AsyncMovingStore, MovingStore

__all__ = ["AsyncMovingStore", "MovingStore", "marks_of"]
