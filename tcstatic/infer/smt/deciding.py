"""What follows from what, decided by Z3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import z3

from tcstatic.errors import Undecided
from tcstatic.infer.smt.encoding import Encoding, constants_of
from tcstatic.infer.smt.examples import Example
from tcstatic.infer.smt.witnesses import guesses
from tcstatic.invariants.conditions import And, Condition, Or, compile_condition, fields_of
from tcstatic.model import Scalar

WORK: Final = 2_000_000
"""Z3's own unit of work, the same on every machine; an implication takes some thousands."""

Domain = Mapping[str, Scalar | frozenset[Scalar]]
"""Of some fields, the only value or values that they can have."""
_Limit = tuple[tuple[Scalar, ...], bool]


def implies(
    first: Condition | None,
    second: Condition | None,
    examples_or_domain: Iterable[Example] | Domain | None = None,
) -> bool:
    """Whether `second` is true wherever `first` is; None is the condition that is always true.

    With a domain, fields have only the values that it says (those it does not name have any). With
    examples, each field has only the values that it has in some example, in any combination, and is
    there if it is there in all.

    Raises Undecided where the work limit is reached.
    """
    if second is None or _is_stated(first, second):
        return True
    if examples_or_domain is None and _is_refuted(first, second):
        return False
    named = fields_of(second) | (fields_of(first) if first else frozenset())
    limits = {name: limit for name, limit in _limits(examples_or_domain) if name in named}
    encoding = _encoding([first, second], limits.values())
    claims = [] if first is None else [encoding.true(first)]
    claims.append(z3.Not(encoding.true(second)))
    return not _possible(encoding, claims, limits)


def equivalent(
    first: Condition | None,
    second: Condition | None,
    examples_or_domain: Iterable[Example] | Domain | None = None,
) -> bool:
    """Whether both are true in the same contexts; see `implies`."""
    given = examples_or_domain
    if given is not None and not isinstance(given, Mapping):
        given = list(given)
    return implies(first, second, given) and implies(second, first, given)


def satisfiable(condition: Condition | None, facts: Domain) -> bool:
    """Whether the condition can be true where each of these fields, if it is there, has that value
    or one of those values (none: it is never there).

    Raises Undecided where the work limit is reached.
    """
    if condition is None:
        return True
    named = fields_of(condition)
    limits = {name: limit for name, limit in _limits(facts, missing=True) if name in named}
    encoding = _encoding([condition], limits.values())
    return _possible(encoding, [encoding.true(condition)], limits)


def _is_stated(first: Condition | None, second: Condition) -> bool:
    """Whether each term of the first has all the literals of some term of the second."""
    if first is None:
        return False
    terms = [frozenset(_items(term, And)) for term in _items(second, Or)]
    return all(any(term.issubset(_items(one, And)) for term in terms) for one in _items(first, Or))


def _items(condition: Condition, kind: type[And] | type[Or]) -> tuple[Condition, ...]:
    return condition.items if isinstance(condition, kind) else (condition,)


def _is_refuted(first: Condition | None, second: Condition) -> bool:
    """Whether a context that was guessed speaks against it, which saves the solver the work."""
    premise = compile_condition(first) if first is not None else None
    conclusion = compile_condition(second)
    contexts = guesses(first) if first is not None else iter(({},))
    return any(
        (premise is None or premise(fields) is True) and conclusion(fields) is not True
        for fields in contexts
    )


def _limits(
    given: Iterable[Example] | Domain | None, *, missing: bool = False
) -> Iterator[tuple[str, _Limit]]:
    """Of each limited field its values, and whether it may be missing."""
    if given is None:
        return
    if isinstance(given, Mapping):
        for name, value in given.items():
            yield name, (tuple(value) if isinstance(value, frozenset) else (value,), missing)
        return
    every = [example.fields for example in given]
    for name in sorted({name for fields in every for name in fields}):
        values = [fields[name] for fields in every if name in fields]
        # In a set, True would be 1.
        distinct = {(type(value), value): value for value in values}
        yield name, (tuple(distinct.values()), len(values) < len(every))


def _encoding(conditions: Iterable[Condition | None], limits: Iterable[_Limit]) -> Encoding:
    constants = [
        constant for one in conditions if one is not None for constant in constants_of(one)
    ]
    for values, _ in limits:
        constants += values
    return Encoding(constants)


def _possible(encoding: Encoding, claims: list[Any], limits: Mapping[str, _Limit]) -> bool:
    for name, (values, missing) in limits.items():
        claims.append(encoding.any_of(name, values, missing=missing))
    solver = z3.Solver()
    solver.set("rlimit", WORK)
    solver.add(*encoding.limits, *claims)
    answer = solver.check()
    if answer == z3.unknown:
        raise Undecided(f"the solver gave up: {solver.reason_unknown()}")
    return bool(answer == z3.sat)
