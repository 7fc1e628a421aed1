"""Which conjunctions reject all negative examples: hitting sets over bits.

A term is a set of literals. For a positive example to be covered, only literals that are true in it
may be chosen; each negative example is then a row: the literals that would reject it. Rows are made
when they are needed, those with the fewest literals first, since a few dozen of thousands decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, final

from tcstatic.infer.smt.literals import Table

# Rows to start with. More are added when a term lets a negative example pass.
_FIRST_ROWS: Final = 24
_MOST_ROWS: Final = 60
# What takes as long as so many steps.
_GROWN: Final = 300
_HARDEST: Final = 50


@final
class Term(NamedTuple):
    """A conjunction that rejects all negative examples: its literals and whom it covers.

    Of two terms the one with the smaller `key` is simpler: its cost, then its literals' texts.
    """

    key: tuple[int, tuple[str, ...]]
    literals: tuple[int, ...]
    cover: int
    size: int
    """How many literals it has, each of the constants after ``in`` counting as one."""


@final
@dataclass(slots=True)
class Work:
    """Steps that are left; a step is one node of a search. Nothing is measured in time."""

    left: int

    @property
    def done(self) -> bool:
        """Whether no step is left."""
        return self.left <= 0


def ones(mask: int) -> Iterator[int]:
    """The indices of the bits that are set, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def term_of(table: Table, literals: Sequence[int]) -> Term:
    """The term of these literals, with what it covers."""
    cover = table.every.positive
    for index in literals:
        cover &= table.positive[index]
    chosen = [table.literals[index] for index in literals]
    key = sum(one.cost for one in chosen), tuple(sorted(one.text for one in chosen))
    return Term(key, tuple(sorted(literals)), cover, sum(one.size for one in chosen))


def passing(table: Table, literals: Sequence[int]) -> int:
    """The negative examples in which all of the literals are true."""
    rest = table.every.negative
    for index in literals:
        rest &= table.negative[index]
        if not rest:
            break
    return rest


def is_prime(table: Table, literals: Sequence[int]) -> bool:
    """Whether no literal can be left out."""
    return all(
        passing(table, [*literals[:place], *literals[place + 1 :]])
        for place in range(len(literals))
    )


def hardest(table: Table, allowed: int) -> list[int]:
    """Rows of some negative examples that the fewest of the allowed literals reject."""
    every = table.every.negative
    # Counters, one bit of each in a slice: adding is a ripple of carries over all examples at once.
    slices: list[int] = []
    for index in ones(allowed):
        carry = every ^ table.negative[index]
        for place, digit in enumerate(slices):
            slices[place], carry = digit ^ carry, digit & carry
            if not carry:
                break
        if carry:
            slices.append(carry)
    rows: list[int] = []
    left = every
    while left and len(rows) < _FIRST_ROWS:
        least = left
        for digit in reversed(slices):
            least = (least & ~digit) or least
        for example in ones(least):
            rows.append(allowed & ~table.of_negative(example))
            if len(rows) == _FIRST_ROWS:
                break
        left &= ~least
    return rows


@final
class Through:
    """All prime terms of at most `width` of the allowed literals.

    State: the rows known so far; `found`, the literals of the terms.
    """

    def __init__(self, table: Table, allowed: int, width: int, least: int, work: Work) -> None:
        self._table = table
        self._allowed = allowed
        self._width = width
        self._least = least
        self._work = work
        self._rows = hardest(table, allowed)
        work.left -= _HARDEST
        self.found: list[tuple[int, ...]] = []

    def search(self) -> list[tuple[int, ...]]:
        """Run, and return `found`. All terms are in it unless the work is done."""
        every = self._table.every
        self._grow((), every.negative, every.positive, self._allowed, self._rows)
        return self.found

    def _grow(
        self, chosen: tuple[int, ...], rest: int, cover: int, allowed: int, rows: list[int]
    ) -> None:
        self._work.left -= 1
        if not rest:
            if is_prime(self._table, chosen):
                self.found.append(chosen)
            return
        if self._work.done or len(chosen) == self._width:
            return
        if not rows:
            rows = [self._row(rest)]
        if len(chosen) == self._width - 1:
            self._finish(chosen, rest, cover, allowed, rows)
            return
        row = min([row & allowed for row in rows], key=int.bit_count)
        negative, positive = self._table.negative, self._table.positive
        for index in ones(row):
            bit = 1 << index
            allowed ^= bit
            covered = cover & positive[index]
            if covered.bit_count() >= self._least:
                open_rows = [row for row in rows if not row & bit]
                if all(map(allowed.__and__, open_rows)):
                    self._grow(
                        (*chosen, index), rest & negative[index], covered, allowed, open_rows
                    )

    def _finish(
        self, chosen: tuple[int, ...], rest: int, cover: int, allowed: int, rows: list[int]
    ) -> None:
        """The last literal rejects all that is left: it is in every row."""
        last = allowed
        for row in rows:
            last &= row
        while last:
            index = (last & -last).bit_length() - 1
            passed = rest & self._table.negative[index]
            if passed:
                last &= self._row(passed)
                continue
            last ^= 1 << index
            covered = cover & self._table.positive[index]
            if covered.bit_count() >= self._least and is_prime(self._table, (*chosen, index)):
                self.found.append((*chosen, index))

    def _row(self, rest: int) -> int:
        """The row of a negative example that was not thought of."""
        example = (rest & -rest).bit_length() - 1
        row = self._allowed & ~self._table.of_negative(example)
        if len(self._rows) < _MOST_ROWS:
            self._rows.append(row)
        return row


def grown(table: Table, allowed: int, wanted: int, work: Work) -> tuple[int, ...] | None:
    """One prime term of the allowed literals, of any width, chosen greedily for what it covers of
    the wanted examples; None if even all literals together let a negative example pass."""
    work.left -= _GROWN
    if passing(table, list(ones(allowed))):
        return None
    rest, cover = table.every.negative, wanted
    chosen: list[int] = []
    while rest:

        def gain(index: int, rest: int = rest, cover: int = cover) -> tuple[float, int]:
            rejected = (rest & ~table.negative[index]).bit_count()
            kept = (cover & table.positive[index]).bit_count()
            return rejected * kept, rejected

        best = max(ones(allowed), key=gain)
        chosen.append(best)
        allowed ^= 1 << best
        rest &= table.negative[best]
        cover &= table.positive[best]
    for index in list(chosen):
        without = [one for one in chosen if one != index]
        if not passing(table, without):
            chosen = without
    return tuple(sorted(chosen))


@final
class Cheapest:
    """The cheapest term of the allowed literals; ties go to the texts that come first.

    State: the rows known so far and the best term until now.
    """

    def __init__(self, table: Table, allowed: int, work: Work) -> None:
        self._table = table
        self._allowed = allowed
        self._work = work
        self._rows = hardest(table, allowed)
        self._cost = [literal.cost for literal in table.literals]
        self._best: Term | None = None

    def search(self) -> Term | None:
        """Return it; None if even all literals together let a negative example pass."""
        first = grown(self._table, self._allowed, self._table.every.positive, self._work)
        if first is None:
            return None
        self._best = term_of(self._table, first)
        self._grow((), 0, self._table.every.negative, self._allowed, self._rows)
        return self._best

    def _grow(
        self, chosen: tuple[int, ...], cost: int, rest: int, allowed: int, rows: list[int]
    ) -> None:
        self._work.left -= 1
        if not rest:
            term = term_of(self._table, chosen)
            assert self._best is not None
            if term.key < self._best.key:
                self._best = term
            return
        if self._work.done:
            return
        if not rows:
            example = (rest & -rest).bit_length() - 1
            rows = [self._allowed & ~self._table.of_negative(example)]
            if len(self._rows) < _MOST_ROWS:
                self._rows.extend(rows)
        open_rows = sorted((row & allowed for row in rows), key=int.bit_count)
        if not open_rows[0] or not self._worth(cost, open_rows):
            return
        for index in ones(open_rows[0]):
            bit = 1 << index
            allowed ^= bit
            left = [row for row in open_rows if not row & bit]
            rejected = rest & self._table.negative[index]
            self._grow((*chosen, index), cost + self._cost[index], rejected, allowed, left)

    def _worth(self, cost: int, rows: list[int]) -> bool:
        """Whether rows that share no literal leave room below the best cost, or at it."""
        assert self._best is not None
        used = 0
        for row in rows:
            if not row & used:
                used |= row
                cost += self._cost[(row & -row).bit_length() - 1]
        return cost <= self._best.key[0]
