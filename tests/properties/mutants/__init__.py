"""Single mutations of training programs that make them wrong in a way that source alone decides."""

from __future__ import annotations

from collections.abc import Iterator

from tests.properties.mutants import data, losses, models, order
from tests.properties.mutants.drafts import Draft, Mutant, NoMutant
from tests.properties.mutants.loops import File

__all__ = ["KINDS", "Mutant", "mutants_of"]

KINDS = (*order.KINDS, *losses.KINDS, *models.KINDS, *data.KINDS)


def mutants_of(text: str) -> Iterator[Mutant]:
    """Yield every mutant of a program, in a fixed order; nothing for one that does not parse."""
    try:
        file = File(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for kind in KINDS:
        for site in kind.sites(file):
            draft = Draft(text)
            try:
                kind.edit(draft, site)
                yield draft.finish(kind.name, kind.codes)
            except NoMutant:
                continue
