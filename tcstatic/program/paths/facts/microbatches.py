"""Schedules that are as long as there are batches, and advance once for several of these.

The text of a program tells all of it: a schedule and its optimizer are stepped under ``if (i + 1) %
n == 0``, and the schedule was told a length that comes of ``len(loader)``, not divided by anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"%")
_SCHEDULE: Final = re.compile(r"sched|(^|_)lr_?s$|annealer")
_OPTIMIZER: Final = re.compile(r"optim|(^|_)opt$|scaler")
# Who wraps schedules may count batches for them.
_ELSEWHERE: Final = re.compile(r"accelerat|deepspeed|lightning|fabric|(?<![a-z])engine\.step")
_LENGTHS: Final[dict[str, tuple[str, ...]]] = {
    "OneCycleLR": ("total_steps", "steps_per_epoch"),
    "CosineAnnealingLR": ("T_max",),
    "LinearLR": ("total_iters",),
    "PolynomialLR": ("total_iters",),
}
_NAMED: Final = frozenset(
    """num_training_steps t_total num_train_steps total_steps max_steps total_iters
    t_initial""".split()
)
_MADE: Final = re.compile(r"schedul", re.IGNORECASE)
_LOADER: Final = re.compile(r"loader|(^|[._])dl$|dataloader|batches$")
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_DEEP: Final = 8


@surveys
def microbatches(m: Machine, block: Block) -> None:
    """``counts_batches`` of the length of a schedule that advances once for several batches."""
    for module, (node, each) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "counts_batches", place, name=syntax.unparse(node)[:60], each=each)


def _in_module(module: Module) -> Iterator[tuple[syntax.expr, str]]:
    if _ELSEWHERE.search(module.text.text):
        return
    every = list(statements_in(module.tree))
    sizes = {size for one in every if (size := _window(one, every)) and not _is_one(module, size)}
    if len(sizes) != 1:
        return
    size = sizes.pop()
    bound: dict[str, list[syntax.expr]] = {}
    for one in every:
        for name, value in wording.pairs(one):
            bound.setdefault(name, []).append(value)
    for one in every:
        for call in wording.calls(one):
            for given in _lengths(call):
                found = _counted(given, bound, _DEEP)
                if found is not None and not _is_divided(given, bound, size):
                    yield found, size


def _window(statement: syntax.stmt, every: list[syntax.stmt]) -> str:
    """How many batches an ``if`` waits for that steps an optimizer and its schedule; '' if it
    is none, or schedules are stepped elsewhere as well."""
    if not isinstance(statement, syntax.If):
        return ""
    inside = list(wording.own(statement.body))
    steps = [name for one in inside for name in _stepped(one)]
    if not any(map(_SCHEDULE.search, steps)) or not any(map(_OPTIMIZER.search, steps)):
        return ""
    within = {id(one) for one in inside}
    others = [name for one in every if id(one) not in within for name in _stepped(one)]
    if any(map(_SCHEDULE.search, others)) or any(map(_OPTIMIZER.search, others)):
        return ""
    for part in syntax.walk(statement.test):
        if isinstance(part, syntax.BinOp) and isinstance(part.op, syntax.Mod):
            return syntax.unparse(part.right)
    return ""


def _stepped(statement: syntax.stmt) -> Iterator[str]:
    for call in wording.calls(statement):
        if wording.called(call) == "step":
            yield wording.name(getattr(call.func, "value", None)).rpartition(".")[2].lower()


def _is_one(module: Module, size: str) -> bool:
    """Whether a window is a single batch unless somebody asks for more."""
    last = re.escape(size.rpartition(".")[2])
    dashed = last.replace("_", "[-_]")
    one = rf"\b{last}\b[^\n=]*=\s*1\b|['\"]-*{dashed}['\"][^\n]*(default\s*=|,|:)\s*1\b"
    return size == "1" or re.search(one, module.text.text) is not None


def _lengths(call: syntax.Call) -> Iterator[syntax.expr]:
    """The lengths that a schedule is told."""
    name = wording.called(call)
    for one in call.keywords:
        known = one.arg in _LENGTHS.get(name, ()) or (one.arg in _NAMED and _MADE.search(name))
        if known:
            yield one.value
    if name in ("CosineAnnealingLR", "get_linear_schedule_with_warmup") or (
        name.endswith("schedule_with_warmup")
    ):
        yield from call.args[1:2] if name == "CosineAnnealingLR" else call.args[2:3]


def _counted(value: Any, bound: dict[str, list[syntax.expr]], depth: int) -> syntax.expr | None:
    """The expression within a length that has the number of batches in it."""
    for part in syntax.walk(value):
        counts = isinstance(part, syntax.Call) and wording.called(part) == "len"
        counted = " ".join(map(wording.name, getattr(part, "args", ())))
        if counts and _LOADER.search(counted.lower()):
            found: syntax.expr = value
            return found
    for name in sorted(wording.names(value)) if depth else ():
        if len(bound.get(name, ())) == 1:
            inner = _counted(bound[name][0], bound, depth - 1)
            if inner is not None:
                return inner
    return None


def _is_divided(value: Any, bound: dict[str, list[syntax.expr]], size: str) -> bool:
    """Whether a length is divided by anything, or has the window in it."""
    waiting, seen = [value], 0
    while waiting and seen < 40:
        one = waiting.pop()
        seen += 1
        text = syntax.unparse(one)
        if re.search(r"/|>>|accum", text) or size in text or "step_size" in text:
            return True
        known = wording.names(one)
        if any(len(bound.get(name, ())) > 1 for name in known):
            return True
        waiting.extend(bound[name][0] for name in sorted(known) if name in bound)
    return False
