"""Numbers for the user's objects: our own counter with a weak reference, never ``id``."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, final


@final
class Registry:
    """Gives each object one number for life. Numbers start at `first` and are never reused.

    State: `_known` maps ``id`` to (weak reference, number); an entry is dropped when its object
    dies, and an entry whose reference answers another object (``id`` was reused) is replaced.
    """

    def __init__(self, first: int = 1) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._refs: dict[int, weakref.ref[Any]] = {}
        self._next = first

    def number(self, thing: object) -> int:
        """Return the number of `thing`; 0 where it cannot be referenced weakly."""
        entry = self._known.get(id(thing))
        if entry is not None and entry[0]() is thing:
            return entry[1]
        key = id(thing)
        try:
            reference = weakref.ref(thing, self._forget(key))
        except TypeError:
            return 0
        number = self._next
        self._next += 1
        self._known[key] = (reference, number)
        self._refs[number] = reference
        return number

    def known(self, thing: object) -> int:
        """Return the number of `thing` if it has one already, else 0."""
        entry = self._known.get(id(thing))
        return entry[1] if entry is not None and entry[0]() is thing else 0

    def thing(self, number: int) -> Any | None:
        """Return the object that has this number, or None when it is gone."""
        reference = self._refs.get(number)
        return reference() if reference is not None else None

    def _forget(self, key: int) -> Callable[[weakref.ref[Any]], None]:
        known, refs = self._known, self._refs

        def forget(reference: weakref.ref[Any]) -> None:
            entry = known.get(key)
            if entry is not None and entry[0] is reference:
                del known[key]
                refs.pop(entry[1], None)

        return forget
