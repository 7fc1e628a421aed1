"""Of many terms the few that together are the best precondition, exactly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tcstatic.infer.smt.terms import Term

SCALE: Final = 1000
"""One uncovered example, in the unit in which the price of a literal is given."""
Key = tuple[int, int, int, tuple[tuple[str, ...], ...]]


def key_of(chosen: tuple[Term, ...], wanted: int, price: int) -> Key:
    """What is minimised: examples left uncovered and the price of the literals, then the number of
    terms, then their cost, then their texts."""
    uncovered = wanted
    for term in chosen:
        uncovered &= ~term.cover
    literals = sum(term.size for term in chosen)
    texts = tuple(sorted(term.key[1] for term in chosen))
    loss = uncovered.bit_count() * SCALE + price * literals
    return loss, len(chosen), sum(term.key[0] for term in chosen), texts


def choose(terms: Iterable[Term], wanted: int, most: int, price: int) -> tuple[Term, ...]:
    """Return the best choice of 1 to `most` terms; none only if there are no terms."""
    kept = undominated(terms, wanted)
    counts = [(term.cover & wanted).bit_count() for term in kept]
    total = wanted.bit_count()
    best: tuple[Term, ...] = ()
    best_key: Key | None = None

    def hopeless(chosen: tuple[Term, ...], covered: int, index: int) -> bool:
        """Whether no choice that goes on with terms from `index` on can be better."""
        if best_key is None:
            return False
        upper = covered + sum(counts[index : index + most - len(chosen)])
        literals = sum(term.size for term in chosen) + 1
        bound = max(0, total - upper) * SCALE + price * literals
        return (bound, len(chosen) + 1) > best_key[:2]

    def extend(chosen: tuple[Term, ...], cover: int, start: int) -> None:
        nonlocal best, best_key
        covered = (cover & wanted).bit_count()
        for index in range(start, len(kept)):
            if hopeless(chosen, covered, index):
                return
            more = (*chosen, kept[index])
            key = key_of(more, wanted, price)
            if best_key is None or key < best_key:
                best, best_key = more, key
            if len(more) < most:
                extend(more, cover | kept[index].cover, index + 1)

    extend((), 0, 0)
    return best


def undominated(terms: Iterable[Term], wanted: int) -> list[Term]:
    """Terms without those that another one makes superfluous; who covers most comes first."""
    order = sorted(set(terms), key=lambda term: (-(term.cover & wanted).bit_count(), term.key))
    kept: list[Term] = []
    for term in order:
        cover = term.cover & wanted
        if cover and not any(
            not cover & ~one.cover and one.key < term.key and one.size <= term.size for one in kept
        ):
            kept.append(term)
    return kept
