"""A graph whose nodes are parted by masks, and a loss over all of them.

What is looked at is the text: one object has labels and masks for training and for testing, what
is measured goes by the masks, and what is trained on does not.
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

_WORTH: Final = re.compile(r"train_mask")
_LOSSES: Final = re.compile(r"loss|criterion|cross_entropy|nll")
_LABELS: Final = frozenset({"y", "label", "labels"})
# Graphs that hold the nodes of one part alone, or of which parts are drawn.
_PARTED: Final = re.compile(
    r"subgraph|inductive|Neighbor|Cluster|SAINT|batch_size|\bbatch\.|RandomLink|num_parts|pseudo"
)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@surveys
def nodes(m: Machine, block: Block) -> None:
    """``over_all_nodes`` of a loss that goes by no mask."""
    for module, (node, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "over_all_nodes", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.Call, str]]:
    text = module.text.text
    if _PARTED.search(text):
        return
    every = list(statements_in(module.tree))
    taken = {
        wording.name(part)
        for one in every
        if isinstance(one, syntax.For)
        for part in syntax.walk(one.target)
    }
    bodies = [one.body for one in every if isinstance(one, _DEFINES)]
    for body in (module.tree.body, *bodies):
        statements = list(wording.own(body))
        if not any(
            wording.called(c) == "backward" for one in statements for c in wording.calls(one)
        ):
            continue
        if any(_is_masked(one) for one in statements):
            continue
        for one in statements:
            for call in wording.calls(one):
                holder = _whole(call)
                told = holder and holder not in taken and _has_masks(text, holder)
                if told and not _is_used_in_part(statements, one):
                    yield call, f"{holder}.train_mask"


def _whole(call: syntax.Call) -> str:
    """What the labels belong to that a loss is given as a whole; '' for any other call."""
    if not _LOSSES.search(wording.name(call.func).lower()) or len(call.args) < 2:
        return ""
    if any(one.arg == "reduction" for one in call.keywords):
        return ""
    given, labels = call.args[:2]
    if not isinstance(labels, syntax.Attribute) or labels.attr not in _LABELS:
        return ""
    return "" if isinstance(given, syntax.Subscript) else wording.name(labels.value)


def _has_masks(text: str, holder: str) -> bool:
    name = re.escape(holder)
    own = re.search(rf"\b{name}(\.|\[['\"])train_mask\b", text)
    return (
        bool(own) and re.search(rf"\b{name}(\.|\[['\"])(val|valid|test)_mask\b", text) is not None
    )


def _is_masked(statement: syntax.stmt) -> bool:
    """Whether a statement takes the nodes of a part, but to measure something."""
    for part in wording.expressions(statement):
        if isinstance(part, syntax.Subscript) and "train_mask" in syntax.unparse(part.slice):
            return True
    return False


def _is_used_in_part(statements: list[syntax.stmt], loss: syntax.stmt) -> bool:
    """Whether a part is taken of what a statement binds, or it is weighed by something."""
    bound = wording.bound(loss)
    for one in statements:
        for part in wording.expressions(one):
            whole: Any = (
                getattr(part, "value", None) if isinstance(part, syntax.Subscript) else None
            )
            weighed = isinstance(part, syntax.BinOp) and "mask" in syntax.unparse(part)
            if wording.name(whole) in bound or (weighed and bound & wording.names(part)):
                return True
    return False
