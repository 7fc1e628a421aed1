"""Hooks that are registered in step after step, at one place, and never removed.

A hook sits in a dict of the module or tensor that it was registered on, which its handle refers to:
as long as it is in there, it runs. A tensor that is new each time has a dict of its own.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.model import Site
from tcstatic.runtime.probes.stream import Stream

_LEAST: Final = 4  # hooks of different steps that run when it ends, on one module
_MANY: Final = 8  # or at any time
_MOST_PILES: Final = 256


@final
@dataclass(slots=True)
class _Pile:
    """The hooks of one site in one dict: `steps` in which each was registered, by its number; the
    next look at which are still there is at so many as `look`; `peak` is the most there were, and
    `last` how many at the last look, or when all of them died."""

    site: Site
    hooks: weakref.ref[Any]
    steps: dict[Any, int] = field(default_factory=dict)
    look: int = _LEAST
    peak: int = 0
    last: int = 0

    def count(self) -> int:
        """Return in how many steps hooks were registered that are there now."""
        there = self.hooks()
        if there is not None:
            self.steps = {number: step for number, step in self.steps.items() if number in there}
            held = len(self.steps)
            self.look = 2 * held if held >= _MANY else max(_LEAST, held + 1)
            self.last = len(set(self.steps.values()))
            self.peak = max(self.peak, self.last)
        return self.last


@final
class Piling:
    """Follows the hooks of one process. State: `_piles` by site and dict, `_told` those that were
    many and are gone."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._piles: dict[tuple[int, int], _Pile] = {}
        self._told: dict[int, _Pile] = {}

    def registered(self, handle: Any, site: Site) -> None:
        """A call has registered a hook."""
        hooks, number = getattr(handle, "hooks_dict_ref", None), getattr(handle, "id", None)
        there = hooks() if isinstance(hooks, weakref.ref) else None
        if hooks is None or there is None:
            return
        key = (site.number, id(there))
        pile = self._piles.get(key)
        if pile is None or pile.hooks() is not there:
            if pile is not None:
                self._ended(pile)
            self._make_room()
            pile = self._piles[key] = _Pile(site, hooks)
        pile.steps[number] = self._stream.step
        if len(pile.steps) >= pile.look:
            pile.count()
            if pile.peak >= _MANY:
                self._told[site.number] = pile

    def settle(self) -> None:
        """The run ends: tell of the sites whose hooks are there still, or were many."""
        for pile in self._piles.values():
            self._ended(pile)
        for pile in self._told.values():
            method = pile.site.arguments["hooks"]
            values = {"method": method, "hooks": pile.peak, "piles_up": True}
            self._stream.tell_of_run(pile.site.location, {}, values)
        self._told = {}

    def _ended(self, pile: _Pile) -> None:
        """The run ends, or what has the hooks has died with them."""
        if pile.count() >= _LEAST:
            self._told.setdefault(pile.site.number, pile)

    def _make_room(self) -> None:
        if len(self._piles) >= _MOST_PILES:
            for one in self._piles.values():
                if one.hooks() is None:
                    self._ended(one)
            alive = {key: one for key, one in self._piles.items() if one.hooks() is not None}
            self._piles = alive if len(alive) < _MOST_PILES else {}
