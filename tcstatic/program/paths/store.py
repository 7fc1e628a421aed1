"""Cells: what names and attributes stand for now, with a way back to an earlier state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

from tcstatic.program.paths.values import Phi, Value, joined, same

Key = tuple[int, str]
Changes = dict[Key, Value | None]


@final
class Cells:
    """Values by (frame or object, name). State: the values, and a journal of what they replaced."""

    def __init__(self) -> None:
        self._values: dict[Key, Value] = {}
        self._journal: list[tuple[Key, Value | None]] = []

    def get(self, key: Key) -> Value | None:
        """What lies in a cell, or None."""
        return self._values.get(key)

    def named(self) -> Iterable[tuple[Key, Value]]:
        """All cells that hold something."""
        return self._values.items()

    def set(self, key: Key, value: Value | None) -> None:
        """Put a value into a cell; None empties it."""
        old = self._values.get(key)
        if old is value:
            return
        self._journal.append((key, old))
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def mark(self) -> int:
        """A point to which the cells can be taken back."""
        return len(self._journal)

    def changes(self, mark: int) -> Changes:
        """What cells hold now that were written since the mark."""
        return {key: self._values.get(key) for key, _ in self._journal[mark:]}

    def undo(self, mark: int) -> Changes:
        """Take the cells back to the mark; return what was undone."""
        undone = self.changes(mark)
        for key, old in reversed(self._journal[mark:]):
            if old is None:
                self._values.pop(key, None)
            else:
                self._values[key] = old
        del self._journal[mark:]
        return undone

    def merge(self, branches: Iterable[Changes], decided: tuple[str, int] | None = None) -> None:
        """Join the outcomes of branches that all start from the present state.

        `decided` names the condition that chose among them, and its birth.
        """
        outcomes = list(branches)
        keys: Changes = {}
        for changes in outcomes:
            keys.update(changes)
        for key in keys:
            base = self._values.get(key)
            known = [end for one in outcomes if (end := one.get(key, base)) is not None]
            first = known[0] if known else None
            if first is None or all(end is first or same(first, end) for end in known):
                self.set(key, first)
            else:
                one = joined(known)
                if decided is None and _is_same_choice(base, one):
                    continue
                if decided is not None and isinstance(one, Phi) and len(known) == len(outcomes):
                    one.ways = (*decided, tuple(known))
                self.set(key, one)


def _is_same_choice(base: Value | None, one: Value) -> bool:
    """Whether ways that took a choice apart have met again."""
    if not isinstance(base, Phi) or not isinstance(one, Phi):
        return False
    return len(base.options) == len(one.options) and all(
        any(option is other for other in one.options) for option in base.options
    )


NO_CHANGES: Final[Changes] = {}
