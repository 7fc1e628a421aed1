"""Learning rates by hand: of nothing, and of the first group of several alone."""

from __future__ import annotations

import re
from typing import Final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.facts.orders import guards, tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings, loops
from tcstatic.program.paths.values import Const, Listing, Object, Value
from tcstatic.program.source import syntax

_MULTIPLIES: Final = frozenset(
    """StepLR MultiStepLR ExponentialLR LambdaLR MultiplicativeLR ConstantLR LinearLR
    ReduceLROnPlateau PolynomialLR""".split()
)
# What gives a group another rate by hand.
_SETS: Final = re.compile(
    r"""\[["']lr["']\]\s*[-+*/]?=[^=]|param_groups\s*=|\bin\s+\S*param_groups"""
)
_FIRST: Final = re.compile(r"^(.+)\.param_groups\[0\]\[['\"]lr['\"]\]$")
# Groups that are looked at besides the first: they may be set in a way that is not seen.
_OTHERS: Final = re.compile(r"param_groups(?!\[0\])")
_RATE: Final = re.compile(r"\[['\"]lr['\"]\]")
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


@surveys
def first_groups(m: Machine, block: Block) -> None:
    """``other_groups`` of a rate that training sets in the first of several like groups alone."""
    writes = [one for one in happenings(block) if _sets_rate(one)]
    inside = {id(one) for loop, _ in loops(block) for one in happenings(loop.body)}
    trains = any(one.kind == "optimizer.step" and id(one) in inside for one in happenings(block))
    if not trains or any(one.kind == "scheduler.new" for one in happenings(block)):
        return
    if not writes or not all(_is_first(one) and id(one) in inside for one in writes):
        return
    rounds = [loop.body for loop, _ in loops(block)]
    always = any(_is_in(body, one) and not guards(body, one) for body in rounds for one in writes)
    if not always or any(_OTHERS.search(one.place.module.text.text) for one in writes):
        return
    optimizers = [one for one in m.objects.values() if one.role == "optimizer"]
    if len(optimizers) == 1 and (count := _like_groups(m, optimizers[0])) > 1:
        about = {"optimizer": (optimizers[0].number,)}
        tell(block, "other_groups", writes[0].place, subjects=about, groups=count)


def _is_in(body: Block, wanted: Happening) -> bool:
    return any(one is wanted for one in happenings(body))


def _is_first(one: Happening) -> bool:
    """Whether a rate is set in the first group, also where that has a name of its own."""
    text = _text(one)
    holder, tree = _RATE.sub("", text), one.place.module.tree
    named = [
        syntax.unparse(node.value)
        for node in (syntax.walk(tree) if holder.isidentifier() else ())
        if isinstance(node, syntax.Assign) and holder in map(syntax.unparse, node.targets)
    ]
    return all(_FIRST.match(f"{value}['lr']") for value in named or [holder])


def _sets_rate(one: Happening) -> bool:
    sets = one.values.get("operation") in ("set-item", "augmented")
    return sets and _RATE.search(_text(one)) is not None


def _text(one: Happening) -> str:
    node = one.place.node
    if isinstance(node, syntax.Assign):
        node = node.targets[0]
    if isinstance(node, syntax.AugAssign):
        node = node.target
    return syntax.unparse(node)


def _like_groups(m: Machine, optimizer: Object) -> int:
    """How many groups an optimizer is given, if none has a rate of its own."""
    given = optimizer.arguments[0] if optimizer.arguments else optimizer.keywords.get("params")
    if not isinstance(given, Listing) or given.kind not in ("list", "tuple"):
        return 0
    groups = list(lookup.items(m, given))
    plain = all(isinstance(one, Listing) and one.kind == "dict" for one in groups)
    own = any("lr" in text for one in groups for text in getattr(one, "attributes", ()))
    filled = [one for one in groups if not _is_empty(m, one)]
    return len(filled) if plain and not own else 0


def _is_empty(m: Machine, group: Value) -> bool:
    held = m.attribute(group, "['params']")
    return isinstance(held, Listing) and not held.attributes
