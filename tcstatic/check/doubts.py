"""Failures that the rest of the run may disprove: told at its end, or never."""

from __future__ import annotations

from typing import Generic, TypeVar, final

Failure = TypeVar("Failure")
Key = tuple[object, ...]


@final
class Doubts(Generic[Failure]):
    """Keeps the first doubtful failure of each kind until the end.

    A key is a rule's code, and the numbers of the objects. State: `_waiting` by key, with how often
    it was seen; `_disproved` the keys for which the relation held at some time, before the failure
    or after it.
    """

    def __init__(self) -> None:
        self._waiting: dict[Key, tuple[Failure, int]] = {}
        self._disproved: set[Key] = set()

    def held(self, key: Key) -> None:
        """The relation held: what failed, and what will fail, is no fault."""
        self._disproved.add(key)
        self._waiting.pop(key, None)

    def is_disproved(self, key: Key) -> bool:
        """Whether the relation held at some time."""
        return key in self._disproved

    def disprove(self, objects: Key) -> None:
        """Nothing is to be said any more of these objects, whatever the rule."""
        for key in [key for key in self._waiting if key[1:] == objects]:
            self.held(key)

    def failed(self, key: Key, failure: Failure) -> None:
        """The relation failed, for a reason that may pass."""
        if key not in self._disproved:
            first, times = self._waiting.get(key, (failure, 0))
            self._waiting[key] = (first, times + 1)

    def due(self) -> list[tuple[Failure, int]]:
        """The run is over: return what nothing has disproved, and how often it was seen."""
        found = list(self._waiting.values())
        self._waiting = {}
        return found
