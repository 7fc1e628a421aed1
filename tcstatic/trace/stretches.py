"""A segment's columns -> its events, each with a number of what it says, made when they are asked
for.

Most events say what an earlier one said, but for when: whoever counts them need not see them all.
What a file holds is checked here before any event is made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from itertools import count, pairwise, repeat
from operator import itemgetter
from typing import Any, Final, final

from tcstatic.model import Asking, Context, Event, Location, Member
from tcstatic.trace.alike import Alike, Row
from tcstatic.trace.cells import NEXT_INTEGER
from tcstatic.trace.decoding import (
    Groups,
    Template,
    check_rows,
    ends,
    filled,
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
        self._members = Groups(columns["new_members"], columns["new_groups"], self._maps)
        self._kinds, self._kind = words(columns["kind"])
        self._columns = {
            name: numbers(columns[name]) for name in ("sequence", "step", "epoch", *_STILL)
        }
        self.settled: Sequence[int] = numbers(columns["settled"])
        self._integers = _lists(columns["integers"], len(self.settled))
        self._reals = _lists(columns["reals"], len(self.settled))
        self._check()
        self._last: list[tuple[int, int, Context] | None] = [None] * len(self._maps)

    def __len__(self) -> int:
        return len(self.settled)

    @cached_property
    def says(self) -> Sequence[int]:
        """Of each event, the number of what it says."""
        return self._numbered()

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
        values, contexts, members = self._moved(places, columns)
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
                    members,
                    columns["step"],
                    [None if epoch < 0 else epoch for epoch in columns["epoch"]],
                    columns["rank"],
                    strict=True,
                ),
            )
        )

    def alike(self, asking: Asking, known: dict[Hashable, int]) -> list[int]:
        """Number the events by what they answer; see the protocol."""
        rows: defaultdict[Any, int] = defaultdict(count().__next__)
        each = list(map(rows.__getitem__, zip(self._kind, *self._said(), strict=True)))
        maps, where, members = self._maps, self._where, self._members
        different = [
            Row(
                self._kinds[kind],
                rank,
                where[place],
                maps[subjects],
                maps[values],
                maps[context],
                members[group],
            )
            for kind, rank, place, subjects, values, context, group in rows
        ]
        step, epoch = self._columns["step"], self._columns["epoch"]
        moved = zip(step, epoch, self._integers, self._reals, strict=True)
        return Alike(asking, known).numbered(each, different, moved)

    def _said(self) -> list[list[int]]:
        return [self._columns[name] for name in _STILL]

    def _moved(
        self, places: Sequence[int], columns: Mapping[str, Sequence[int]]
    ) -> tuple[list[dict[str, Any]], list[Context], list[tuple[Member, ...]]]:
        """Return values, contexts and members of some events, with what moves put in."""
        values, contexts, members = [], [], []
        maps, last, groups = self._maps, self._last, self._members
        taken: Any = ()
        for place, said, around, group, step, epoch in zip(
            places,
            *(columns[name] for name in ("values", "context", "members", "step", "epoch")),
            strict=True,
        ):
            one, two, three = maps[said], maps[around], groups[group]
            if one.taken or two.taken or three.moving:
                taken = iter(self._integers[place]), iter(self._reals[place])
            values.append(filled(one, step, epoch, taken) if one.moving else one.fields)
            known = last[around]
            if known is not None and known[0] == step and known[1] == epoch:
                contexts.append(known[2])
            else:
                made = Context(filled(two, step, epoch, taken), two.inferred)
                contexts.append(made)
                last[around] = None if two.taken else (step, epoch, made)
            members.append(three.filled(step, epoch, taken))
        return values, contexts, members

    def _check(self) -> None:
        """Raise ValueError where something is named that is not there."""
        columns, maps = self._columns, self._maps
        for name in ("subjects", "values", "context"):
            check_rows(columns[name], len(maps))
        check_rows(columns["place"], len(self._where) - 1, -1)
        check_rows(columns["members"], len(self._members), -1)
        if not any(one.taken for one in maps):
            return
        given = zip(
            columns["values"],
            columns["context"],
            columns["members"],
            map(len, self._integers),
            map(len, self._reals),
            strict=True,
        )
        for said, around, group, integers, reals in set(given):
            every = maps[said], maps[around], self._members[group]
            if sum(one.integers for one in every) > integers:
                raise ValueError("a number that moves is missing")
            if sum(one.reals for one in every) > reals:
                raise ValueError("a number that moves is missing")

    def _numbered(self) -> list[int]:
        """Number what the events say, in the order in which it is first said."""
        still: list[list[Any]] = [*self._said()]
        moved = self._differences()
        if any(moved):
            still.append(moved)
        known: defaultdict[Any, int] = defaultdict(count().__next__)
        return list(map(known.__getitem__, zip(self._kind, *still, strict=True)))

    def _differences(self) -> list[Any]:
        """Return what events of one row may still say differently; what only tells when is left
        out."""
        found: list[Any] = [()] * len(self)
        said, around = self._columns["values"], self._columns["context"]
        for place, (integers, reals) in enumerate(zip(self._integers, self._reals, strict=True)):
            if integers or reals:
                own, two = integers, self._maps[around[place]]
                if _tells_when(two):
                    before = self._maps[said[place]].integers
                    own = integers[:before] + integers[before + two.integers :]
                if own or reals:
                    found[place] = own, reals
        dated = [bool(one.steps or one.epochs) for one in self._maps]
        odd = [not MOVING_NAMES.issuperset((*one.steps, *one.epochs)) for one in self._maps]
        group = self._columns["members"]
        late = {row for row in set(group) if self._members[row].dated}
        if late or any(dated[row] for row in set(said)) or any(odd[row] for row in set(around)):
            moments = zip(self._columns["step"], self._columns["epoch"], strict=True)
            for place, moment in enumerate(moments):
                if dated[said[place]] or odd[around[place]] or group[place] in late:
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
