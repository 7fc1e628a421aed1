"""A segment's columns -> its events, each with a number of what it says, made when they are asked
for.

Most events say what an earlier one said, but for when: whoever counts them need not see them all.
What a file holds is checked here before any event is made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import count, pairwise, repeat
from operator import itemgetter
from typing import Any, Final, final

from tcstatic.model import Context, Event, Location
from tcstatic.trace.cells import NEXT_INTEGER
from tcstatic.trace.decoding import (
    Template,
    check_rows,
    ends,
    groups,
    locations,
    numbers,
    templates,
    words,
)
from tcstatic.trace.interning import MOVING_NAMES

_Picked = Callable[[Sequence[Any]], Sequence[Any]]
# What of the columns is said, and not when.
_STILL: Final = ("rank", "place", "subjects", "values", "context", "members")


@final
class Stretch:
    """The events of a segment; see the protocol of this name in `model`.

    State: `_last` context made of each row, with its moment.
    """

    def __init__(self, columns: Mapping[str, Any], places: dict[Location, Location]) -> None:
        self._maps = templates(columns["new_maps"])
        self._where = locations(columns["new_places"], places)
        self._members = groups(columns["new_members"], columns["new_groups"], self._maps)
        self._kinds, self._kind = words(columns["kind"])
        self._columns = {
            name: numbers(columns[name]) for name in ("sequence", "step", "epoch", *_STILL)
        }
        self.settled: Sequence[int] = numbers(columns["settled"])
        self._integers = _lists(columns["integers"], len(self.settled))
        self._reals = _lists(columns["reals"], len(self.settled))
        self._check()
        self._last: list[tuple[int, int, Context] | None] = [None] * len(self._maps)
        self.says: Sequence[int] = self._numbered()

    @property
    def firsts(self) -> list[int]:
        """Return where each number is first."""
        found: list[int] = []
        for number in range(max(self.says, default=-1) + 1):
            found.append(self.says.index(number, found[-1] + 1 if found else 0))
        return found

    def places_of(self, kinds: Any) -> list[int]:
        """Return where the events of some kinds are."""
        wanted = [kind in kinds for kind in self._kinds]
        return [place for place, kind in enumerate(self._kind) if wanted[kind]]

    def made(self, places: Sequence[int]) -> list[Event]:
        """Return the events at some places."""
        pick = _picking(places)
        columns = {name: pick(column) for name, column in self._columns.items()}
        values, contexts = self._moved(places, columns)
        # As Event._make, at half the price.
        return list(
            map(
                tuple.__new__,
                repeat(Event),
                zip(
                    map(self._kinds.__getitem__, pick(self._kind)),
                    columns["sequence"],
                    map(self._where.__getitem__, columns["place"]),
                    [self._maps[row].fields for row in columns["subjects"]],
                    values,
                    contexts,
                    map(self._members.__getitem__, columns["members"]),
                    columns["step"],
                    [None if epoch < 0 else epoch for epoch in columns["epoch"]],
                    columns["rank"],
                    strict=True,
                ),
            )
        )

    def _moved(
        self, places: Sequence[int], columns: Mapping[str, Sequence[int]]
    ) -> tuple[list[dict[str, Any]], list[Context]]:
        """Return the values and the contexts of some events, with what moves put in."""
        values, contexts = [], []
        maps, last = self._maps, self._last
        taken: Any = ()
        for place, said, around, step, epoch in zip(
            places,
            *(columns[name] for name in ("values", "context", "step", "epoch")),
            strict=True,
        ):
            one, two = maps[said], maps[around]
            if one.taken or two.taken:
                taken = iter(self._integers[place]), iter(self._reals[place])
            values.append(_filled(one, step, epoch, taken) if one.moving else one.fields)
            known = last[around]
            if known is not None and known[0] == step and known[1] == epoch:
                contexts.append(known[2])
                continue
            fields = _filled(two, step, epoch, taken) if two.moving else two.fields
            made = Context(fields, two.inferred)
            contexts.append(made)
            last[around] = None if two.taken else (step, epoch, made)
        return values, contexts

    def _check(self) -> None:
        """Raise ValueError where something is named that is not there."""
        columns, maps = self._columns, self._maps
        for name in ("subjects", "values", "context"):
            check_rows(columns[name], len(maps))
        check_rows(columns["place"], len(self._where) - 1, -1)
        check_rows(columns["members"], len(self._members) - 1, -1)
        if not any(one.taken for one in maps):
            return
        given = zip(
            columns["values"],
            columns["context"],
            map(len, self._integers),
            map(len, self._reals),
            strict=True,
        )
        for said, around, integers, reals in set(given):
            one, two = maps[said], maps[around]
            if one.integers + two.integers > integers or one.reals + two.reals > reals:
                raise ValueError("a number that moves is missing")

    def _numbered(self) -> list[int]:
        """Number what the events say, in the order in which it is first said."""
        still = [self._columns[name] for name in _STILL]
        moved = self._differences()
        if any(moved):
            still.append(moved)
        known: defaultdict[Any, int] = defaultdict(count().__next__)
        return list(map(known.__getitem__, zip(self._kind, *still, strict=True)))

    def _differences(self) -> list[Any]:
        """Return what events of one row may still say differently; what only tells when is left
        out."""
        found: list[Any] = [()] * len(self.settled)
        said, around = self._columns["values"], self._columns["context"]
        for place, (integers, reals) in enumerate(zip(self._integers, self._reals, strict=True)):
            if integers or reals:
                own = integers
                if _tells_when(self._maps[around[place]]):
                    own = integers[: self._maps[said[place]].integers]
                if own or reals:
                    found[place] = own, reals
        dated = [bool(one.steps or one.epochs) for one in self._maps]
        odd = [not MOVING_NAMES.issuperset((*one.steps, *one.epochs)) for one in self._maps]
        if any(dated[row] for row in set(said)) or any(odd[row] for row in set(around)):
            moments = zip(self._columns["step"], self._columns["epoch"], strict=True)
            for place, moment in enumerate(moments):
                if dated[said[place]] or odd[around[place]]:
                    found[place] = found[place], moment
        return found


def _tells_when(one: Template) -> bool:
    """Whether the whole numbers that a context takes tell when it was."""
    return all(name in MOVING_NAMES for name, code in one.taken if code == NEXT_INTEGER)


def _lists(column: Any, rows: int) -> list[tuple[Any, ...]]:
    """Return a column of lists."""
    items, bounds = numbers(column.values), ends(column)
    if not items:
        return [()] * rows
    return [tuple(items[start:end]) if end > start else () for start, end in pairwise(bounds)]


def _picking(places: Sequence[int]) -> _Picked:
    """Return what takes the items at some places out of a column."""
    if isinstance(places, range) and places.step == 1:
        return itemgetter(slice(places.start, places.stop))
    if len(places) > 1:
        return itemgetter(*places)
    return lambda column: [column[place] for place in places]


def _filled(one: Template, step: int, epoch: int, taken: Any) -> dict[str, Any]:
    """Return a mapping with what moves put in; what an event's values take is not left over."""
    fields = one.fields.copy()
    for name in one.steps:
        fields[name] = step
    for name in one.epochs:
        fields[name] = None if epoch < 0 else epoch
    for name, code in one.taken:
        fields[name] = next(taken[0] if code == NEXT_INTEGER else taken[1])
    return fields
