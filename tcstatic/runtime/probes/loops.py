"""Loops of the user's program, seen through their iterators."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, final

from tcstatic.model import Location, Site
from tcstatic.runtime.probes.roles import LOADER, TENSOR, role_of


@final
class Loop:
    """One execution of a `for` statement. `index` is its current iteration, from 0.

    `loaded` tells that it iterates a DataLoader, `listed` that it iterates a list of batches,
    `sliced` that it counts in strides, as over the beginnings of batches; `steps` and `backwards`
    count what happened in it; `forwards` are the records of the model calls in it that no backward
    has reached yet; `load` what is known of this pass over a loader, if it is one; `planned` how
    many turns it may have, where it counts them: as many as there are, and up to which number.
    """

    __slots__ = (
        "backwards",
        "forwards",
        "index",
        "listed",
        "load",
        "loaded",
        "planned",
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
        self.load: Any = None
        self.planned: tuple[int, ...] = ()

    @property
    def batches(self) -> bool:
        """Whether it goes over batches."""
        return self.loaded or self.listed or self.sliced


@final
class _Ticker:
    """Counts iterations beside the real iterator; its death is the loop's end.

    It selects items for `itertools.compress`, so that an exception or the end of the user's
    iterator reaches the `for` through C code alone: tracebacks hold no frame of ours, and no item
    lives longer than it did.
    """

    __slots__ = ("_loop", "_on_end", "_on_item", "_on_turn")

    def __init__(
        self,
        loop: Loop,
        on_turn: Callable[[Loop], None],
        on_end: Callable[[Loop], None],
        on_item: Callable[[Loop, Any], None],
    ) -> None:
        self._loop = loop
        self._on_turn = on_turn
        self._on_end = on_end
        self._on_item = on_item

    def __iter__(self) -> _Ticker:
        return self

    def __next__(self) -> bool:
        self._loop.index += 1
        self._on_turn(self._loop)
        return True

    def take(self, item: Any) -> Any:
        """Count an iteration, and hand on its item, which is looked at."""
        self._loop.index += 1
        self._on_turn(self._loop)
        if self._loop.load.looking:
            self._on_item(self._loop, item)
        return item

    def __del__(self) -> None:
        self._on_end(self._loop)


def watched(
    iterable: Iterable[Any],
    loop: Loop,
    on_turn: Callable[[Loop], None],
    on_end: Callable[[Loop], None],
    on_item: Callable[[Loop, Any], None],
) -> Iterator[Any]:
    """Return an iterator over the same items that tells of each turn and of the end, and in a pass
    over a loader of the items that are looked at."""
    items = itertools.chain.from_iterable((iterable,))  # asks for its iterator at the first turn
    ticker = _Ticker(loop, on_turn, on_end, on_item)
    return itertools.compress(items, ticker) if loop.load is None else map(ticker.take, items)


def loop_over(site: Site, iterable: Any, *, from_loader: bool) -> Loop:
    """Return the record of a loop that begins; `from_loader`: a loader gives what it iterates."""
    loaded = from_loader or role_of(iterable) == LOADER
    listed = not loaded and _is_list_of_batches(iterable)
    sliced = type(iterable) is range and iterable.step > 1
    loop = Loop(site, site.location, loaded=loaded, listed=listed, sliced=sliced)
    if type(iterable) is range and not sliced:
        loop.planned = (iterable.stop - iterable.start, iterable.stop)
    return loop


def _is_list_of_batches(iterable: Any) -> bool:
    """Tell whether a plain list holds batches: pairs (or dicts) of tensors."""
    if not isinstance(iterable, list | tuple) or not iterable:
        return False
    first = iterable[0]
    items = first.values() if isinstance(first, dict) else first
    if not isinstance(first, dict | tuple | list) or not items:
        return False
    return all(role_of(item) == TENSOR for item in items)
