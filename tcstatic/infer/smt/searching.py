"""The search for the terms of a precondition.

Exact where one term covers everything, and where all prime terms can be listed; otherwise terms are
looked for through one uncovered positive example after the other, and the best choice among those
found is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

from tcstatic.infer.smt.choosing import SCALE, choose
from tcstatic.infer.smt.literals import Table
from tcstatic.infer.smt.terms import Cheapest, Term, Through, Work, grown, ones, passing, term_of

# Literals of a term that is looked for first; wider ones only where there is none.
_WIDTH: Final = 3
_WIDEST: Final = 5
# Of the terms through one example, those that are kept for the choice.
_KEPT: Final = 16
# Positive examples that may fail to give a term worth its price before the rest is left alone.
_FAILURES: Final = 10
_WIDE_FAILURES: Final = 3
# Up to so many positive examples all prime terms are listed.
_LISTED: Final = 64


@final
@dataclass(frozen=True, slots=True)
class Found:
    """Terms, none if nothing can be covered; whether they are proved the best; how many positive
    examples share all literals with a negative one."""

    terms: tuple[Term, ...]
    exact: bool
    conflicts: int


def price_of(literals: int, accidental: float) -> int:
    """How many positive examples, times SCALE, a literal must win to be no accident.

    Naming one of the literals takes log(literals), and an accidental positive example
    log(1 / accidental): the shorter description wins (Rissanen 1978). Without accidents every
    positive example counts more than any number of literals.
    """
    if accidental <= 0:
        return 0
    share = min(accidental, 0.5)
    return round(SCALE * math.log(max(2, literals)) / -math.log(share))


@final
class Search:
    """State: the terms found so far, by their literals, and the work that is left."""

    def __init__(self, table: Table, most: int, accidental: float, work: Work) -> None:
        self._table = table
        self._most = most
        self._price = price_of(len(table.literals), accidental)
        self._work = work
        self._pool: dict[tuple[int, ...], Term] = {}

    def run(self) -> Found:
        """Return the best terms."""
        wanted = self._table.every.positive
        if not self._table.literals:
            return Found((), True, self._table.positives)
        single = self._single(wanted)
        if single is not None:
            self._pool[single.literals] = single
            if not self._price:
                return Found((single,), not self._work.done, 0)
        if self._table.positives <= _LISTED:
            listed = self._list_all(Work(self._work.left // 4))
            if listed is not None:
                return listed
        chosen = self._look(wanted)
        if self._price:
            return Found(chosen, False, 0)
        return self._complete(chosen, wanted)

    def _complete(self, chosen: tuple[Term, ...], wanted: int) -> Found:
        """Leave out what cannot be covered, and look again for what can."""
        missing = _missing(chosen, wanted)
        conflicts = 0
        for example in ones(missing):
            if passing(self._table, list(ones(self._table.of_positive(example)))):
                conflicts |= 1 << example
        wanted &= ~conflicts
        if conflicts and wanted and (single := self._single(wanted)) is not None:
            return Found((single,), not self._work.done, conflicts.bit_count())
        while missing := _missing(chosen, wanted):
            better = self._look(missing)
            if _missing(better, wanted).bit_count() >= missing.bit_count() or self._work.done:
                break
            chosen = better
        return Found(chosen, False, conflicts.bit_count())

    def _single(self, wanted: int) -> Term | None:
        """The cheapest term that covers all that is wanted; None if there is none."""
        allowed = 0
        for index, true in enumerate(self._table.positive):
            if not wanted & ~true:
                allowed |= 1 << index
        if passing(self._table, list(ones(allowed))):
            return None
        return Cheapest(self._table, allowed, self._work).search()

    def _look(self, uncovered: int) -> tuple[Term, ...]:
        """Look for terms until all is covered, or what is left looks like accidents."""
        failures = turn = 0
        while uncovered and failures < _FAILURES and not self._work.done:
            example = _spread(uncovered, turn)
            turn += 1
            # Accidents are what no short term covers: soon only those are looked for.
            wide = not self._price or failures < _WIDE_FAILURES
            terms = self._through(example, uncovered, wide=wide)
            best = max(terms, key=lambda term: _rank(term, uncovered), default=None)
            won = (best.cover & uncovered).bit_count() if best else 0
            if best is None or won * SCALE <= self._price * best.size:
                failures += 1
                uncovered &= ~(1 << example)
            else:
                uncovered &= ~best.cover
        return choose(self._pool.values(), self._table.every.positive, self._most, self._price)

    def _through(self, example: int, uncovered: int, *, wide: bool) -> list[Term]:
        """Terms that cover the example; the best of them go into the pool."""
        allowed = self._table.of_positive(example)
        least = max(1, -(-self._price // SCALE))
        found: list[tuple[int, ...]] = []
        for width in range(_WIDTH, (_WIDEST if not self._price else _WIDTH) + 1):
            found = Through(self._table, allowed, width, least, self._work).search()
            if found:
                break
        if (
            not found
            and wide
            and (one := grown(self._table, allowed, uncovered, self._work)) is not None
        ):
            found = [one]
        terms = sorted(
            (term_of(self._table, literals) for literals in found),
            key=lambda term: _rank(term, uncovered),
            reverse=True,
        )
        self._pool |= {term.literals: term for term in terms[:_KEPT]}
        return terms

    def _list_all(self, work: Work) -> Found | None:
        """The best choice of all prime terms there are; None if there are too many."""
        table, conflicts = self._table, 0
        pool: dict[tuple[int, ...], Term] = {}
        for row in dict.fromkeys(map(table.of_positive, range(table.positives))):
            found = Through(table, row, len(table.literals), 1, work).search()
            if work.done:
                return None
            pool |= {tuple(sorted(one)): term_of(table, one) for one in found}
            if not found:
                conflicts += 1
        if len(pool) > _LISTED * 8:
            return None
        chosen = choose(pool.values(), table.every.positive, self._most, self._price)
        return Found(chosen, True, conflicts)


def _missing(chosen: tuple[Term, ...], wanted: int) -> int:
    for term in chosen:
        wanted &= ~term.cover
    return wanted


def _rank(term: Term, uncovered: int) -> tuple[int, int, int]:
    """Terms that cover much come last: much of what is uncovered, then much of all."""
    return (term.cover & uncovered).bit_count(), term.cover.bit_count(), -term.key[0]


def _spread(examples: int, turn: int) -> int:
    """One of the examples; by turns they lie far apart (golden ratio)."""
    shift = int(turn * 0.618033988749895 % 1.0 * examples.bit_length())
    left = examples >> shift
    if not left:
        left, shift = examples, 0
    return shift + (left & -left).bit_length() - 1
