"""Faults of every kind that training programs run with to their end: what lint or run must tell.

Where `tests.properties.mutants` breaks what source alone decides, these need not be plain from it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.properties.faults import graphs, objects, ranks, updates
from tests.properties.faults.reading import OPERATORS, Operator, Source
from tests.properties.mutants import Mutant, NoMutant, mutants_of

__all__ = ["OPERATORS", "Operator", "faults_of", "graphs", "objects", "ranks", "updates"]


def faults_of(text: str) -> Iterator[Mutant]:
    """Yield each different faulty program once, in a fixed order."""
    seen = {text}
    for mutant in _all(text):
        if mutant.text not in seen:
            seen.add(mutant.text)
            yield mutant


def _all(text: str) -> Iterator[Mutant]:
    source = Source(text)
    for one in OPERATORS:
        drafts = one.write(source)
        while True:
            try:
                draft = next(drafts)
            except StopIteration:
                break
            except NoMutant:
                break
            try:
                yield draft.finish(one.name, "")
            except NoMutant:
                continue
    yield from mutants_of(text)
