"""Schedules that watch a number, and are told which way it is to go.

Which way that is, the number itself says: it counts answers that equal the right ones, or it is a
loss. Its name is asked only where the source does not tell what it is made of.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import LOSSES
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.paths.values import Const, Node, Object, Value
from tcstatic.program.paths.walking import upstream
from tcstatic.program.source import syntax

_PLATEAU: Final = "ReduceLROnPlateau"
_WORD: Final = re.compile(r"[A-Za-z][a-z]+|[A-Z]+|[a-z]+\d?")
# What is the better the higher, or the lower, it is.
_RISES: Final = frozenset(
    "acc accuracy auc auroc f1 iou miou bleu recall precision psnr ssim reward".split()
)
_FALLS: Final = frozenset("loss losses error err mse mae rmse perplexity ppl wer cer nll".split())
# Names of what is turned already, or is the distance to something.
_AWAY: Final = frozenset("neg negative minus one inv inverse gap drop residual delta diff".split())
_TURNS: Final = frozenset({"-", "neg", "negative", "!=", "ne", "unary-", "reciprocal"})
_ADDS: Final = frozenset(
    "item() float int double to detach cpu numpy tolist round + / * sum mean len size item".split()
)
_SAME: Final = frozenset("item() float detach cpu + / * round call".split())
_EQUALS: Final = frozenset({"==", "eq"})


@surveys
def plateaus(m: Machine, block: Block) -> None:
    """``other_direction`` of a schedule that waits for a number to stop falling, and is given one
    that is to rise, or the reverse."""
    told: set[int] = set()
    stepped = [one for one in happenings(block) if one.kind == "scheduler.step"]
    lost = [one.arguments[0] for one in happenings(block) if one.kind == "loss.backward"]
    for one in stepped:
        made = one.receiver
        call = one.place.node
        if not isinstance(made, Object) or one.assumed:
            continue
        if made.type_name != _PLATEAU or made.place is None or not isinstance(call, syntax.Call):
            continue
        metric = next((word for word in call.keywords if word.arg == "metrics"), None)
        given = call.args[0] if call.args else metric.value if metric is not None else None
        value = one.arguments[0] if one.arguments else one.keywords.get("metrics")
        way = _way(m, value, given, lost) if value is not None else 0
        wrong = way != 0 and _is_min(made) is (way > 0)
        if wrong and made.number not in told:
            told.add(made.number)
            mode = "min" if _is_min(made) else "max"
            text = syntax.unparse(given) if given is not None else ""
            more: dict[str, Any] = {"#trail": [("stepped", one.place)]}
            tell(block, "other_direction", made.place, mode=mode, metric=text, **more)


def _way(m: Machine, value: Value, given: syntax.AST | None, lost: list[Value]) -> int:
    """Which way a number is to go: 1 up, -1 down, 0 where that is not known."""
    made = upstream(m, value, lambda one: not _is_answer(one))
    nodes = [one for one in made if isinstance(one, Node)]
    if any(one.op in _TURNS for one in nodes):
        return 0
    rises = any(one.op in _EQUALS for one in nodes if _is_answer(one)) and _counts(m, value)
    falls = any(one.op in LOSSES for one in nodes)
    if rises or falls:
        raised = any(isinstance(one, Node) and one.op in _TURNS for one in lost)
        return 1 if rises and not falls else -1 if falls and not (rises or raised) else 0
    words = _words(given)
    if words & _AWAY or _is_objective(m, value, lost):
        return 0
    return bool(words & _RISES) - bool(words & _FALLS)


def _counts(m: Machine, value: Value) -> bool:
    """Whether all that is done with answers is to count them, or to take their mean."""
    onward = upstream(m, value, lambda one: not _is_answer(one))
    done = [one for one in onward if isinstance(one, Node) and not _is_answer(one)]
    under = [part for one in done if one.op == "/" for part in one.inputs[1:]]
    below = {one for part in under for one in upstream(m, part, lambda _: True)}
    return all(one.op in _ADDS or one in below for one in done) and not any(map(_is_answer, below))


def _is_objective(m: Machine, value: Value, lost: list[Value]) -> bool:
    """Whether a number is a part of what is minimised, or maximised, whatever it is called."""
    parts = {id(one) for one in upstream(m, value, _is_plain)}
    return any(id(one) in parts for made in lost for one in upstream(m, made, lambda _: True))


def _is_plain(value: Value) -> bool:
    """Whether a number is the same one as what it was made of, or a sum of such."""
    return not isinstance(value, Node) or value.op in _SAME


def _is_answer(value: Value) -> bool:
    """Whether a value says which answers are right, or is a loss: what these are made of tells
    nothing of the way."""
    if not isinstance(value, Node):
        return False
    if value.op in _EQUALS:
        return not any(isinstance(one, Const) for one in value.inputs)
    return value.op in LOSSES or value.op == "forward"


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
