"""Losses that compare what a model gives with data that it was not made of: labels."""

from __future__ import annotations

import re
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.project import Module
from tcstatic.program.source import syntax

_LOSSES: Final = re.compile(r"loss|crit|entropy|objective|mse|mae|nll|bce|(^|_)(ce|l1)$", re.I)
_LIBRARIES: Final = frozenset({"", "torch", "np", "numpy", "F"})


def compares(module: Module) -> bool:
    """Whether a module has such a loss."""
    return wording.once(module, _compares)


def _compares(module: Module) -> bool:
    return any(map(_is_compared, syntax.walk(module.tree)))


def _is_compared(one: syntax.AST) -> bool:
    if not isinstance(one, syntax.Call) or len(one.args) < len(("output", "target")):
        return False
    if not _LOSSES.search(wording.called(one)):
        return False
    target: Any = wording.bare(one.args[1])
    while isinstance(target, syntax.Call | syntax.Subscript):
        target = target.value if isinstance(target, syntax.Subscript) else target.func
        target = target.value if isinstance(target, syntax.Attribute) else target
    name = wording.name(target)
    return name not in _LIBRARIES and name not in wording.names(one.args[0])
