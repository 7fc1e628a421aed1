"""The launcher's key-value store, where ranks leave what others may compare; nobody waits there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

PREFIX: Final = "tcstatic"


@final
class Meeting:
    """Keys of our own in the store that all ranks of a process group reach.

    The process that serves it may end before the others do: from then on nothing arrives, which is
    no failure. State: `gone` whether that was seen.
    """

    def __init__(self, dist: Any) -> None:
        store = dist.distributed_c10d._get_default_store()
        self._store = dist.PrefixStore(PREFIX, store)
        self.gone = False

    def leave(self, key: str, text: str) -> None:
        """Leave a text under a key."""
        if not self.gone:
            try:
                self._store.set(key, text)
            except RuntimeError:  # DistNetworkError and DistStoreError are such
                self.gone = True

    def look(self, key: str) -> bytes | None:
        """Return what was left under a key, if anything; it stays there."""
        if self.gone:
            return None
        try:
            return bytes(self._store.get(key)) if self._store.check([key]) else None
        except RuntimeError:
            self.gone = True
            return None

    def has(self, keys: Sequence[str]) -> bool:
        """Whether something was left under each of some keys."""
        if self.gone:
            return False
        try:
            return bool(self._store.check(list(keys)))
        except RuntimeError:
            self.gone = True
            return False

    def read(self, keys: Sequence[str]) -> list[bytes] | None:
        """Return what was left under some keys, once there is something under each; it stays."""
        if not self.has(keys):
            return None
        try:
            if self._store.has_extended_api():  # all of it in one way there and back
                return list(map(bytes, self._store.multi_get(list(keys))))
            return [bytes(self._store.get(key)) for key in keys]
        except RuntimeError:
            self.gone = True
            return None

    def take(self, keys: Sequence[str]) -> list[bytes] | None:
        """Return what was left under some keys, once all of it is there; it is there no longer."""
        if self.gone:
            return None
        try:
            if not self._store.check(list(keys)):
                return None
            found = [bytes(self._store.get(key)) for key in keys]
            for key in keys:
                self._store.delete_key(key)
        except RuntimeError:
            self.gone = True
            return None
        return found
