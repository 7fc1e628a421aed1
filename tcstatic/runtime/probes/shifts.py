"""How far targets are shifted against the tokens that a model is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.runtime.probes.tokens import Inputs, Targets

_LEAST: Final = 32  # tokens that are compared, and of how many kinds
_KINDS: Final = 3


@final
@dataclass(frozen=True, slots=True)
class Match:
    """Each target is the token `distance` places on from where it is predicted; `places` of all
    `length` are those whose targets count in every row."""

    distance: int
    length: int
    places: tuple[int, ...]


def matches(targets: Targets, inputs: Inputs) -> Iterator[Match]:
    """How many places before each target the same token stands among the inputs, where that is so
    of all of them: 1 for the next token, 0 for the token itself."""
    ids, labels = inputs.ids.host, targets.labels.host
    if targets.start is None or inputs.moved:
        return
    for one, other in ((ids, by_row(labels, len(ids))), (ids.t(), _turned(labels, ids))):
        if other is None or other.shape[1] > one.shape[1]:
            continue
        if (targets.length or other.shape[1]) != one.shape[1]:
            continue
        for distance in range(3):
            first = targets.start + distance
            common = min(other.shape[1], one.shape[1] - first)
            if common < 2:
                continue
            wanted = other[:, :common]
            counts = wanted != targets.ignored
            told = wanted[counts]
            telling = len(told) >= _LEAST and len(told.unique()) >= _KINDS
            if telling and bool((told == one[:, first : first + common][counts]).all()):
                every = counts.all(0).nonzero().flatten().tolist()
                places = tuple(targets.start + place for place in every)
                yield Match(distance, one.shape[1], places)


def by_row(labels: Any, rows: int) -> Any:
    """Labels of sequences by row, None where they are none of so many."""
    return labels.reshape(rows, -1) if rows and not labels.numel() % rows else None


def _turned(labels: Any, ids: Any) -> Any:
    """Labels by example, where those of one place stand together."""
    return labels.reshape(ids.shape).t() if labels.numel() == ids.numel() else None
