"""Optimizers that are made with a learning rate of nothing, and given no other."""

from __future__ import annotations

import re
from typing import Final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Const, Listing, Object, Value

_MULTIPLIES: Final = frozenset(
    """StepLR MultiStepLR ExponentialLR LambdaLR MultiplicativeLR ConstantLR LinearLR
    ReduceLROnPlateau PolynomialLR""".split()
)
# What gives a group another rate by hand.
_SETS: Final = re.compile(
    r"""\[["']lr["']\]\s*[-+*/]?=[^=]|param_groups\s*=|\bin\s+\S*param_groups"""
)
_POSITIONAL: Final = 1  # where torch's optimizers take the rate


@surveys
def rates(m: Machine, block: Block) -> None:
    """``rate_of_nothing`` of an optimizer that a loop steps, and nothing gives another rate."""
    every = list(happenings(block))
    stepped = {
        number
        for one in every
        if one.kind == "optimizer.step" and one.facts.get("in_training_loop") and not one.assumed
        for number in one.subjects.get("optimizer", ())
    }
    driven = {
        number
        for one in every
        if _may_set_rates(one)
        for number in {*one.subjects.get("optimizer", ()), *one.maybe}
    }
    for one in every:
        made = one.result if one.kind == "optimizer.new" else None
        if not isinstance(made, Object) or made.number not in stepped - driven:
            continue
        if _is_nothing(m, made) and not _SETS.search(one.place.module.text.text):
            tell(block, "rate_of_nothing", one.place, subjects={"optimizer": (made.number,)})


def _may_set_rates(one: Happening) -> bool:
    """Whether rates may be others than those an optimizer was made with: most schedules multiply
    them, and nothing stays nothing."""
    if one.kind == "scheduler.new":
        return one.values.get("type") not in _MULTIPLIES
    return one.kind == "optimizer.load" or one.wild


def _is_nothing(m: Machine, made: Object) -> bool:
    """Whether torch's optimizer is given a rate of zero for all of its parameters."""
    library = isinstance(made.type, str) and made.type.startswith("torch.optim.")
    if not library or "**" in made.keywords:
        return False
    positional = made.arguments[_POSITIONAL:][:1]
    rate = made.keywords.get("lr", positional[0] if positional else None)
    given = made.arguments[0] if made.arguments else made.keywords.get("params")
    return _is_zero(rate) and not _has_rates_of_its_own(m, given)


def _is_zero(value: Value | None) -> bool:
    known = isinstance(value, Const) and isinstance(value.value, int | float)
    return known and isinstance(value, Const) and value.value == 0


def _has_rates_of_its_own(m: Machine, given: Value | None) -> bool:
    """Whether groups may have rates of their own: dicts, or what is not known."""
    if isinstance(given, Listing):
        return any(isinstance(item, Listing) for item in lookup.items(m, given))
    return given is None
