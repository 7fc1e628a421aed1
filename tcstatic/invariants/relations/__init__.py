"""Relations: templates of invariants, one file each; an invariant -> a monitor."""

import difflib

from tcstatic.invariants.relations import (  # noqa: F401  (each registers itself)
    argument,
    count,
    effect,
    equal,
    flow,
    member,
    order,
    result,
)
from tcstatic.invariants.relations.base import RELATIONS, Monitor, Params, Relation, Remembering
from tcstatic.invariants.relations.reading import Reading, Reads, Recalling
from tcstatic.model import Invariant, Needs

__all__ = [
    "RELATIONS",
    "Monitor",
    "Reading",
    "Reads",
    "Recalling",
    "Relation",
    "Remembering",
    "check_params",
    "monitor_of",
    "needs_of",
]


def check_params(relation: str, params: Params) -> None:
    """Raise ValueError if there is no such relation, or it cannot have these parameters."""
    if relation not in RELATIONS:
        near = difflib.get_close_matches(relation, RELATIONS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"unknown relation {relation!r}; expected one of {', '.join(sorted(RELATIONS))}{hint}"
        )
    RELATIONS[relation].check(params)


def monitor_of(invariant: Invariant) -> Monitor:
    """Return a fresh monitor for an invariant."""
    return RELATIONS[invariant.relation].monitor(invariant.params)


def needs_of(invariant: Invariant) -> Needs:
    """Return what the monitor of an invariant must be fed."""
    return RELATIONS[invariant.relation].needs(invariant.params)
