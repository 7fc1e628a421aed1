"""The abstract values that flow through a program: interned, numbered from 0."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeAlias, final

Value: TypeAlias = int


class Kind(IntEnum):
    """What a value is, with what identifies it."""

    FUNCTION = 0  # unit, instance that encloses it
    BOUND = 1  # function, receiver
    CLASS = 2  # shape, instance that encloses it
    INSTANCE = 3  # class, site, instance of the unit there
    MODULE = 4  # module
    EXTERNAL = 5  # dotted path
    RESULT = 6  # dotted path of a library's class, site: an object of it
    BUILTIN = 7  # name
    METHOD = 8  # name of a builtin method, receiver
    ITEMS = 9  # builtin type, site, instance of the unit there
    GENERATOR = 10  # instance
    COROUTINE = 11  # instance
    PARTIAL = 12  # site, instance of the unit there
    WRAPPED = 13  # how (property, staticmethod, ...), site, instance of the unit there
    SUPER = 14  # class, receiver
    TEXT = 15  # the constant
    NUMBER = 16  # the constant
    PLAIN = 17  # builtin type
    NAMESPACE = 18  # module
    MANAGER = 19  # generator, made by contextlib
    OPAQUE = 20  # what a function of a library gave; there is one


@final
class Values:
    """The table of values: `kind[v]` and `data[v]` describe value `v`."""

    def __init__(self) -> None:
        self.kind: list[Kind] = []
        self.data: list[tuple[Any, ...]] = []
        self._known: dict[tuple[Any, ...], Value] = {}

    def get(self, kind: Kind, *data: Any) -> Value:
        """Return the one value of this kind and data."""
        key = (kind, *data)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = len(self.kind)
            self.kind.append(kind)
            self.data.append(data)
        return found

    def knows(self, kind: Kind, *data: Any) -> bool:
        """Return whether there is such a value already."""
        return (kind, *data) in self._known

    def __len__(self) -> int:
        return len(self.kind)
