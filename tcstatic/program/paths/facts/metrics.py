"""Schedules that watch a number, and what is done to groups of an optimizer by hand."""

from __future__ import annotations

import re
from typing import Any, Final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Happening, happenings, loops
from tcstatic.program.paths.values import Const, Listing, Node, Object, Value
from tcstatic.program.source import syntax

_PLATEAU: Final = "ReduceLROnPlateau"
_WORD: Final = re.compile(r"[A-Za-z][a-z]+|[A-Z]+|[a-z]+\d?")
# What is the better the higher, or the lower, it is.
_RISES: Final = frozenset(
    "acc accuracy auc auroc f1 iou miou bleu recall precision psnr ssim reward".split()
)
_FALLS: Final = frozenset("loss losses error err mse mae rmse perplexity ppl wer cer nll".split())
_TURNS: Final = frozenset({"-", "neg", "negative", "!=", "ne", "unary-"})
_FIRST: Final = re.compile(r"^(.+)\.param_groups\[0\]\[['\"]lr['\"]\]$")
_RATE: Final = re.compile(r"\[['\"]lr['\"]\]")


@surveys
def plateaus(m: Machine, block: Block) -> None:
    """``other_direction`` of a schedule that waits for a number to stop falling, and is given one
    that is to rise, or the reverse."""
    told: set[int] = set()
    for one in happenings(block):
        made = one.receiver
        call = one.place.node
        if one.kind != "scheduler.step" or not isinstance(made, Object) or one.assumed:
            continue
        if made.type_name != _PLATEAU or made.place is None or not isinstance(call, syntax.Call):
            continue
        given = call.args[0] if call.args else None
        value = one.arguments[0] if one.arguments else None
        words = _words(given)
        wrong = _is_min(made) is True and words & _RISES and not words & _FALLS
        wrong = wrong or (_is_min(made) is False and words & _FALLS and not words & _RISES)
        if wrong and not _is_turned(value) and made.number not in told:
            told.add(made.number)
            mode = "min" if _is_min(made) else "max"
            metric = syntax.unparse(given) if given is not None else ""
            more: dict[str, Any] = {"#trail": [("stepped", one.place)]}
            tell(block, "other_direction", made.place, mode=mode, metric=metric, **more)


def _is_min(made: Object) -> bool | None:
    """Whether a schedule waits for a number to fall; None where that is not known."""
    given = made.arguments[1] if len(made.arguments) > 1 else made.keywords.get("mode")
    if given is None and "**" not in made.keywords:
        return True
    if isinstance(given, Const) and given.value in ("min", "max"):
        return bool(given.value == "min")
    return None


def _words(given: syntax.AST | None) -> set[str]:
    """The words of the name of what is given: of a variable, an attribute, or a key."""
    while isinstance(given, syntax.Call) and isinstance(given.func, syntax.Attribute):
        if given.func.attr not in ("item", "mean", "detach", "cpu") or given.args:
            return set()
        given = given.func.value
    text = getattr(given, "id", getattr(given, "attr", ""))
    if isinstance(given, syntax.Subscript) and isinstance(given.slice, syntax.Constant):
        text = given.slice.value
    return {word.lower() for word in _WORD.findall(text)} if isinstance(text, str) else set()


def _is_turned(value: Value | None) -> bool:
    return isinstance(value, Node) and value.op in _TURNS


@surveys
def first_groups(m: Machine, block: Block) -> None:
    """``other_groups`` of a rate that training sets in the first of several like groups alone."""
    writes = [one for one in happenings(block) if _sets_rate(one)]
    inside = {id(one) for loop, _ in loops(block) for one in happenings(loop.body)}
    trains = any(one.kind == "optimizer.step" and id(one) in inside for one in happenings(block))
    if not trains or any(one.kind == "scheduler.new" for one in happenings(block)):
        return
    if not writes or not all(_FIRST.match(_text(one)) and id(one) in inside for one in writes):
        return
    optimizers = [one for one in m.objects.values() if one.role == "optimizer"]
    if len(optimizers) == 1 and (count := _like_groups(m, optimizers[0])) > 1:
        about = {"optimizer": (optimizers[0].number,)}
        tell(block, "other_groups", writes[0].place, subjects=about, groups=count)


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
    return len(groups) if plain and not own else 0
