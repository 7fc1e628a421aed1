"""Statements that compare where they are meant to assign: ``p.requires_grad == False``.

What is looked at is the text: what a comparison gives is thrown away.
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

_WORTH: Final = re.compile(r"^\s*[\w.\[\]'\"]+ *==", re.M)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
# At the end of a test, and of a cell of a notebook, a comparison is to be seen.
_TESTS: Final = re.compile(r"(^|_)tests?(_|$)")


@surveys
def equating(m: Machine, block: Block) -> None:
    """``equated`` of what a statement compares with something, and does nothing more."""
    for module, node in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        name, other = syntax.unparse(node.left), syntax.unparse(node.comparators[0])
        tell(block, "equated", place, name=name, other=other)


def _in_module(module: Module) -> Iterator[syntax.Compare]:
    for one in statements_in(module.tree):
        inside = isinstance(one, (*_DEFINES, syntax.For, syntax.While, syntax.If, syntax.With))
        if inside and not _TESTS.search(getattr(one, "name", "")):
            for part in ("body", "orelse"):
                for held in getattr(one, part, ()):
                    if isinstance(held, syntax.Expr) and _is_meant(held.value):
                        assert isinstance(held.value, syntax.Compare)
                        yield held.value


def _is_meant(value: syntax.expr) -> bool:
    """Whether what is compared may be assigned to, and one value is compared with it."""
    if not isinstance(value, syntax.Compare) or len(value.ops) != 1:
        return False
    plain = isinstance(value.ops[0], syntax.Eq)
    return plain and isinstance(value.left, syntax.Name | syntax.Attribute | syntax.Subscript)
