"""Stores that misbehave or keep a record, on the reference store."""

from typing import Any

from tallystick.storage.memory import MemoryStore

METHODS = [name for name in vars(MemoryStore) if not name.startswith("_") and name not in ("open", "close")]


class BrokenStore(MemoryStore):
    """Fails while it is told to."""

    is_broken = False


class RecordingStore(MemoryStore):
    """Keeps the names of the methods that were called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []


def _breaking(name: str) -> Any:
    def method(self: BrokenStore, *args: Any) -> Any:
        if self.is_broken:
            raise OSError("no space left on the disk")
        return getattr(MemoryStore, name)(self, *args)

    return method


def _recording(name: str) -> Any:
    def method(self: RecordingStore, *args: Any) -> Any:
        self.calls.append(name)
        return getattr(MemoryStore, name)(self, *args)

    return method


for _name in METHODS:
    setattr(BrokenStore, _name, _breaking(_name))
    setattr(RecordingStore, _name, _recording(_name))
