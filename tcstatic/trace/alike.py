"""Rows of a segment -> numbers of what they answer, without the events themselves.

What is written once is asked once: mappings, and tuples of members. Only what moves, and is asked
about, is looked up row by row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, Final, NamedTuple, final

from tcstatic.model import ABSENT, Asked, Asking, Location, Question, Questions
from tcstatic.trace.cells import NEXT_INTEGER
from tcstatic.trace.decoding import Group, Template

NOBODY: Final = -1  # the number of what nobody asks about
STEP, EPOCH, INTEGERS, REALS = range(4)  # where what moves is
# What is asked of what moves: the question, where it is, and at which place there.
_Moving = tuple[Question, int, int]
Moved = Iterable[tuple[int, int, Sequence[int], Sequence[float]]]


@final
class Row(NamedTuple):
    """What a row of a segment names."""

    kind: str
    rank: int
    where: Location | None
    subjects: Template
    values: Template
    context: Template
    members: Group


# Members that are written alike: what they answer, what is left to ask, and how many there are.
_Members = tuple[Hashable, tuple[_Moving, ...], int]


@final
class _Answered(NamedTuple):
    """What all rows answer that name the same; `moving` is asked of each of them."""

    said: Hashable
    moving: tuple[_Moving, ...]
    members: tuple[_Members, ...]


@final
class Alike:
    """Numbers the rows of one segment. State: what mappings answered that were asked the same,
    both by ``id``."""

    def __init__(self, asking: Asking, known: dict[Hashable, int]) -> None:
        self._asking, self._known = asking, known
        self._fixed: dict[tuple[int, int], tuple[Hashable, tuple[_Moving, ...]]] = {}

    def numbered(self, rows: Sequence[int], different: Sequence[Row], moved: Moved) -> list[int]:
        """Return the number of each row, given which of the different ones it is, and what moves in
        it."""
        found: list[int] = []
        each: dict[int, _Answered] = {}
        for which, row in enumerate(different):
            answered = self._answered(row)
            if answered is None:
                found.append(NOBODY)
            elif answered.moving or answered.members:
                each[which] = answered
                found.append(NOBODY)
            else:
                found.append(self._number((answered.said, (), frozenset())))
        numbers = list(map(found.__getitem__, rows))
        if each:
            for place, row_, given in compress(
                zip(range(len(rows)), rows, moved, strict=True), map(each.__contains__, rows)
            ):
                numbers[place] = self._number(_asked_of_each(each[row_], given))
        return numbers

    def _number(self, key: Hashable) -> int:
        return self._known.setdefault(key, len(self._known))

    def _answered(self, row: Row) -> _Answered | None:
        kind, rank, where, subjects, values, context, group = row
        asked = self._asking(kind, values.fields, subjects.fields)
        if asked is None:
            return None
        said, moving = self._of(values, asked.values, (0, 0))
        around, more = self._of(context, asked.context, (values.integers, values.reals))
        still, members = self._of_members(group, asked, values, context)
        who = tuple(subjects.fields.items())
        told = (kind, rank, where, who, said, around, still)
        return _Answered(told, (*moving, *more), members)

    def _of(
        self, one: Template, questions: Questions, before: tuple[int, int]
    ) -> tuple[Hashable, tuple[_Moving, ...]]:
        """Return what a mapping answers, and what is left to ask, with so much moving before it."""
        key = id(one), id(questions)
        known = self._fixed.get(key)
        if known is None:
            known = self._fixed[key] = _answers(one, questions)
        said, moving = known
        if not moving or before == (0, 0):
            return said, moving
        integers, reals = before
        return said, tuple(
            (ask, at, n + (integers if at == INTEGERS else reals if at == REALS else 0))
            for ask, at, n in moving
        )

    def _of_members(
        self, group: Group, asked: Asked, values: Template, context: Template
    ) -> tuple[Hashable, tuple[_Members, ...]]:
        if asked.members is None:
            return (), ()
        still: Counter[Hashable] = Counter()
        moving = []
        integers, reals = values.integers + context.integers, values.reals + context.reals
        for one, times in group.different:
            said, more = self._of(one, asked.members, (integers, reals))
            if more:
                moving.append((said, more, times))
            else:
                still[said] += times
            integers, reals = integers + one.integers, reals + one.reals
        return frozenset(still.items()), tuple(moving)


def _answers(one: Template, questions: Questions) -> tuple[Hashable, tuple[_Moving, ...]]:
    """Ask what is written, and tell where the rest is found."""
    said, moving = [], []
    where = _whereabouts(one) if one.moving else {}
    for name, question in questions:
        if name in where:
            moving.append((question, *where[name]))
        else:
            said.append(question(one.fields.get(name, ABSENT)))
    return tuple(said), tuple(moving)


def _whereabouts(one: Template) -> Mapping[str, tuple[int, int]]:
    found = {name: (STEP, 0) for name in one.steps}
    found |= {name: (EPOCH, 0) for name in one.epochs}
    integers = reals = 0
    for name, code in one.taken:
        if code == NEXT_INTEGER:
            found[name] = (INTEGERS, integers)
            integers += 1
        else:
            found[name] = (REALS, reals)
            reals += 1
    return found


def _asked_of_each(answered: _Answered, row: tuple[Any, ...]) -> Hashable:
    """Return what one row answers."""
    own = tuple([_asked(one, row) for one in answered.moving])
    members: Counter[Hashable] = Counter()
    for said, questions, times in answered.members:
        members[said, *[_asked(one, row) for one in questions]] += times
    return answered.said, own, frozenset(members.items())


def _asked(one: _Moving, row: tuple[Any, ...]) -> Hashable:
    question, at, place = one
    if at >= INTEGERS:
        return question(row[at][place])
    return question(row[at] if at == STEP or row[at] >= 0 else None)
