"""Places of largest values that are taken for the values: ``q.max(1)[1]`` for ``q.max(1)[0]``.

What is looked at is the text: a discount is multiplied by where the largest value stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"argm(ax|in)\(|\)\[1\]|\.indices\b")
_DISCOUNT: Final = re.compile(r"gamma|discount", re.IGNORECASE)
_THROUGH: Final = frozenset(
    """detach float squeeze unsqueeze view reshape flatten to cpu data type double""".split()
)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@surveys
def indices(m: Machine, block: Block) -> None:
    """``place_as_value`` of the place of a largest value that is discounted."""
    for module, node in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "place_as_value", place, written=syntax.unparse(node))


def _in_module(module: Module) -> Iterator[syntax.expr]:
    for scope in (module.tree, *statements_in(module.tree)):
        if not isinstance(scope, (syntax.Module, *_DEFINES)):
            continue
        made: dict[str, syntax.expr | None] = {}
        for one in wording.own(scope.body):
            for part in wording.expressions(one):
                if isinstance(part, syntax.BinOp) and isinstance(part.op, syntax.Mult):
                    for side, other in ((part.left, part.right), (part.right, part.left)):
                        found = _place(other, made)
                        if found is not None and _DISCOUNT.search(wording.name(side)):
                            yield found
            for name, value in wording.pairs(one):
                made[name] = _place(value, made)


def _place(value: syntax.expr, made: dict[str, syntax.expr | None]) -> syntax.expr | None:
    """The expression by which a value is the place of a largest or smallest one."""
    while isinstance(value, syntax.Call) and wording.called(value) in _THROUGH:
        holder: syntax.expr | None = getattr(value.func, "value", None)
        if holder is None:
            return None
        value = holder
    if wording.called(value) in ("argmax", "argmin"):
        return value
    if isinstance(value, syntax.Attribute) and value.attr == "indices":
        return value if _is_largest(value.value) else None
    if isinstance(value, syntax.Subscript):
        second = isinstance(value.slice, syntax.Constant) and value.slice.value == 1
        return value if second and _is_largest(value.value) else None
    return made.get(wording.name(value))


def _is_largest(value: syntax.expr) -> bool:
    """Whether a value is what ``max`` gives over one dimension: values, and their places."""
    if not isinstance(value, syntax.Call) or wording.called(value) not in ("max", "min"):
        return False
    of_torch = wording.name(getattr(value.func, "value", None)) == "torch"
    return len(value.args) + len(value.keywords) > (1 if of_torch else 0)
