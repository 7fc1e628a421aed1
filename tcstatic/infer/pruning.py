"""Invariants that another one implies are dropped: same claim under a narrower precondition, or a
weaker claim under the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tcstatic.infer.learning import Learned
from tcstatic.infer.smt import implies
from tcstatic.invariants.conditions import to_text


def pruned(found: Sequence[Learned]) -> list[Learned]:
    """Return those that no other one implies; of two that imply each other the first stays."""
    claims = {_claim(one): one for one in reversed(found)}
    kept: list[Learned] = []
    for one in claims.values():
        stronger = [other for other in claims.values() if other is not one and _says(other, one)]
        if not any(_covers(other, one) for other in stronger):
            kept.append(one)
    order = {id(one): index for index, one in enumerate(found)}
    return sorted(kept, key=lambda one: (one.hypothesis.relation, order[id(one)]))


def _claim(one: Learned) -> str:
    hypothesis = one.hypothesis
    return repr(
        (hypothesis.relation, sorted(hypothesis.params.items()), hypothesis.when, _text(one))
    )


def _text(one: Learned) -> str:
    return to_text(one.when) if one.when is not None else ""


def _says(strong: Learned, weak: Learned) -> bool:
    """Whether a claim makes another one redundant, preconditions aside."""
    first, second = strong.hypothesis, weak.hypothesis
    if first.relation != second.relation or first.when != second.when:
        return False
    ours, theirs = dict(first.params), dict(second.params)
    for key, stronger, weaker in (("need", "all", "some"), ("quantifier", "each", "some")):
        if ours.get(key) == stronger and theirs.get(key) == weaker:
            return _without(ours, key) == _without(theirs, key)
    return False


def _without(params: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name != key}


def _covers(strong: Learned, weak: Learned) -> bool:
    """Whether one applies wherever the other does."""
    if strong.when is None:
        return True
    return weak.when is not None and implies(weak.when, strong.when)
