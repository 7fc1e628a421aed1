"""Events that say the same, but for where and when, are one with a count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.invariants.relations.proposing import is_passing
from tcstatic.model import Event, Member, Scalar

SCALARS: Final = (bool, int, float, str, type(None))
Fields = Mapping[str, Scalar]


@final
@dataclass(slots=True, eq=False)
class Distinct:
    """An event, what of it a precondition may ask, and how often each run said it."""

    event: Event
    fields: Fields
    members: tuple[tuple[Member, Fields], ...]
    runs: Counter[str] = field(default_factory=Counter)


def askable(fields: Mapping[str, Any]) -> dict[str, Scalar]:
    """What a precondition may ask: scalars that tell neither place nor time."""
    return {
        name: value
        for name, value in fields.items()
        if isinstance(value, SCALARS) and not is_passing(name)
    }
