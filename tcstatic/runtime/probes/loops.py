"""Loops of the user's program, seen through their iterators."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

from tcstatic.model import Location, Site


@final
class Loop:
    """One execution of a `for` statement. `index` is its current iteration, from 0.

    `loaded` tells that it iterates a DataLoader, `listed` that it iterates a list of batches,
    `sliced` that it counts in strides, as over the beginnings of batches; `steps` and `backwards`
    count what happened in it; `forwards` are the records of the model calls in it that no backward
    has reached yet.
    """

    __slots__ = (
        "backwards",
        "forwards",
        "index",
        "listed",
        "loaded",
        "site",
        "sliced",
        "steps",
        "where",
    )

    def __init__(
        self, site: Site, where: Location, *, loaded: bool, listed: bool, sliced: bool = False
    ) -> None:
        self.site = site
        self.where = where
        self.loaded = loaded
        self.listed = listed
        self.sliced = sliced
        self.index = -1
        self.steps = 0
        self.backwards = 0
        self.forwards: list[Any] = []


@final
class _Ticker:
    """Counts iterations beside the real iterator; its death is the loop's end.

    It selects items for `itertools.compress`, so that an exception or the end of the user's
    iterator reaches the `for` through C code alone: tracebacks hold no frame of ours, and no item
    lives longer than it did.
    """

    __slots__ = ("_loop", "_on_end", "_on_turn")

    def __init__(
        self, loop: Loop, on_turn: Callable[[Loop], None], on_end: Callable[[Loop], None]
    ) -> None:
        self._loop = loop
        self._on_turn = on_turn
        self._on_end = on_end

    def __iter__(self) -> _Ticker:
        return self

    def __next__(self) -> bool:
        self._loop.index += 1
        self._on_turn(self._loop)
        return True

    def __del__(self) -> None:
        self._on_end(self._loop)


def watched(
    iterable: Iterable[Any],
    loop: Loop,
    on_turn: Callable[[Loop], None],
    on_end: Callable[[Loop], None],
) -> Iterator[Any]:
    """Return an iterator over the same items that tells of each turn and of the end."""
    items = itertools.chain.from_iterable((iterable,))  # asks for its iterator at the first turn
    return itertools.compress(items, _Ticker(loop, on_turn, on_end))
