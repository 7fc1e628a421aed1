"""Where the arguments of a loss come from: a model, the data, or nobody knows."""

from __future__ import annotations

from tcstatic.program.paths.facts.registry import provides
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import LOSS_PARAMETERS
from tcstatic.program.paths.tree import Happening
from tcstatic.program.paths.values import Const, Node, Unknown, Value
from tcstatic.program.paths.walking import upstream


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
    reduction = one.keywords.get("reduction")
    one.values["reduction"] = reduction.value if isinstance(reduction, Const) else "mean"
