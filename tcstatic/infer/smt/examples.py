"""What goes into learning a precondition, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from tcstatic.invariants.conditions import Condition
from tcstatic.model import Scalar


@final
@dataclass(frozen=True, slots=True)
class Example:
    """A context in which a hypothesis held (positive) or did not, `count` times, in these runs.

    Equal contexts are one example: the caller has counted them.
    """

    fields: Mapping[str, Scalar]
    positive: bool
    count: int = 1
    runs: frozenset[str] = frozenset()


@final
@dataclass(frozen=True, slots=True)
class Learned:
    """A precondition, from both ends of the version space.

    `general` is true in no negative example and excludes nothing else that it need not exclude;
    None is always true. `specific` says all that the positive examples under `general` have in
    common: what meets `general` and not `specific` was never seen. `covered` and `uncovered` count
    observations that held, by `count`; `rejected` counts those that did not hold. `exact`: it is
    proved that no other formula of the atoms does better; `reason` says what was, or why not.
    """

    general: Condition | None
    specific: Condition | None
    covered: int
    uncovered: int
    rejected: int
    exact: bool
    reason: str
