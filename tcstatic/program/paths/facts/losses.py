"""Where the arguments of a loss come from: a model, the data, or nobody knows."""

from __future__ import annotations

from tcstatic.program.paths import guesses
from tcstatic.program.paths.facts.registry import provides
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import LOSS_PARAMETERS
from tcstatic.program.paths.tree import Happening
from tcstatic.program.paths.values import Const, Node, Unknown, Value
from tcstatic.program.paths.walking import reach, upstream

# Losses whose two tensors mean different things, and that take floating-point targets.
_ONE_SIDED = frozenset({"cross_entropy", "bce", "bce_with_logits", "nll_loss", "poisson_nll_loss"})


def argument(one: Happening, name: str) -> Value | None:
    """An argument of a loss by the name that torch.nn.functional gives it."""
    if name in one.keywords:
        return one.keywords[name]
    index = LOSS_PARAMETERS.index(name)
    return one.arguments[index] if index < len(one.arguments) else None


def origin(m: Machine, value: Value) -> str:
    """``model`` if a model's output is in it, ``data`` if only what a loader gave, else ''."""
    found: set[str] = set()
    for one in upstream(m, value, lambda v: not (isinstance(v, Node) and v.op == "forward")):
        if isinstance(one, Node) and one.op == "forward":
            return "model"
        if (isinstance(one, Node) and one.op.startswith("call")) or isinstance(one, Unknown):
            found.add("unknown")
    return "" if "unknown" in found else "data"


@provides("loss.forward")
def origins(m: Machine, one: Happening) -> None:
    """``input_from`` and ``target_from``; ``reduction`` if it is written."""
    for name in ("input", "target"):
        value = argument(one, name)
        if value is not None:
            one.values[f"{name}_from"] = origin(m, value)
    _sides(m, one)
    reduction = one.keywords.get("reduction")
    one.values["reduction"] = reduction.value if isinstance(reduction, Const) else "mean"


def _sides(m: Machine, one: Happening) -> None:
    """``swapped``: gradients reach a model through the target, and nothing through the input."""
    given, target = argument(one, "input"), argument(one, "target")
    if one.values.get("operation") not in _ONE_SIDED or given is None or target is None:
        return
    first, second = reach(m, given), reach(m, target)
    opaque = _opaque(m, given)
    if first.unknown or second.unknown or any(guesses.role(v) != "loader" for v in opaque):
        return
    live = bool(second.forwards) and bool(second.tokens)
    cut = any(reach(m, part).tokens for node in first.cuts for part in node.inputs)
    one.values["swapped"] = live and not first.tokens and not first.forwards and not cut
    one.assumed = one.assumed or (one.values["swapped"] and bool(opaque))


def _opaque(m: Machine, value: Value) -> list[Value]:
    """What is behind a value and not told by the source; a batch of a known loader is told, one of
    what is only called a loader is likely to be data."""
    return [one for one in upstream(m, value, lambda _: True) if isinstance(one, Unknown)]
