"""What failed: which of it is a cause, and which a consequence."""

from __future__ import annotations

from tcstatic.check.working import LEARNT, Rule
from tcstatic.model import Event, Observation

# With how often it was seen.
Failure = tuple[Rule, Observation, tuple[Event, ...], int]


def follows(rule: Rule, observation: Observation, cause: Rule, event: Event) -> bool:
    """Whether what was learnt fails as a consequence: of a fault with a name, or of what differed
    first in the same step."""
    if rule.invariant.status != LEARNT or rule is cause:
        return False
    return cause.invariant.status != LEARNT or event.step == observation.event.step


def is_of(rule: Rule, event: Event, cause: Event) -> bool:
    """Whether what fails at an event is about what a cause is about: an optimizer, if any."""
    mine, theirs = (set(one.subjects.get("optimizer", ())) for one in (event, cause))
    return rule.invariant.severity == "note" or not mine or not theirs or bool(mine & theirs)


def rank(rule: Rule, failed: list[Failure]) -> int:
    """Return how many of the failed rules may explain this one: causes come first."""
    if rule.invariant.status == LEARNT:
        return len(failed) + 1  # faults that have a name come first
    others = {other.invariant.code: other.explains for other, *_ in failed}
    return sum(rule.invariant.code in explains for explains in others.values())


def is_given(rule: Rule, observation: Observation, *others: object) -> bool:
    """Whether a failure is not about what a function of the user's own does: that comes first."""
    does = rule.invariant.relation in ("result", "effect")
    return not (does and "home" in observation.event.values)
