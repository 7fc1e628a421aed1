"""What is known of a program -> the invariants that no run of it can meet, each with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from tcstatic.invariants.conditions import And, Condition, Not, Values, fields_of, parse, possible
from tcstatic.model import Fact, Invariant

MayHold = Callable[[Condition, Values], bool]
"""Whether a condition can hold where fields have these values only."""


def told_cheaply(condition: Condition, values: Values) -> bool:
    """Whether a condition can hold, as far as trying values tells."""
    return possible(condition, values) is not False


def outside_of(
    invariants: Iterable[Invariant], assumed: Sequence[Fact], may_hold: MayHold = told_cheaply
) -> dict[str, str]:
    """Invariants about what does not occur, or whose precondition cannot hold: by code, why."""
    found = {}
    for one in invariants if assumed else ():
        reason = _vain(one, assumed) or _unmet(one, assumed, may_hold)
        if reason:
            found[one.code] = reason
    return found


def _vain(invariant: Invariant, assumed: Iterable[Fact]) -> str:
    """Why no event can occur that the relation is about."""
    words = {word for value in invariant.params.values() for word in _words(value)}
    return next((fact.reason for fact in assumed if words.intersection(fact.words)), "")


def _words(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, tuple | list):
        return ()
    return tuple(one for one in value if isinstance(one, str))


def _unmet(invariant: Invariant, assumed: Sequence[Fact], may_hold: MayHold) -> str:
    """Why the precondition never holds, or never where something was seen."""
    parts = list(_parts(invariant))
    if not parts:
        return ""
    whole = parts[0] if len(parts) == 1 else And(tuple(parts))
    asked = fields_of(whole)
    facts = [fact for fact in assumed if fact.field in asked]
    if not facts or may_hold(whole, _values(facts)):
        return ""
    enough = next((fact for fact in facts if not may_hold(whole, _values([fact]))), None)
    to_blame = facts if enough is None else [enough]
    fields = ", ".join(dict.fromkeys(fact.field for fact in to_blame))
    reasons = ", and ".join(dict.fromkeys(fact.reason for fact in to_blame))
    return f"{reasons}, so that its precondition never holds ({fields})"


def _parts(invariant: Invariant) -> Iterator[Condition]:
    for text in (invariant.when, invariant.seen):
        if text:
            yield parse(text)
    if invariant.unless:
        yield Not(parse(invariant.unless))


def _values(facts: Iterable[Fact]) -> Values:
    return {fact.field: fact.values for fact in facts}
