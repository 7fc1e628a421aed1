"""A sum of losses that is only shown, while one of its terms is what goes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import function_around
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.source import syntax

# What only looks at a loss.
_SHOWS: Final = frozenset({"item", "detach", "float", "print", "format", "append", "log"})


@surveys
def totals(m: Machine, block: Block) -> None:
    """``total_unused`` of a backward from a term of a sum that nothing else uses."""
    backwards = [one for one in happenings(block) if one.kind == "loss.backward"]
    for one in backwards:
        call = one.place.node
        subject = _subject(call)
        if subject is None or not one.facts.get("in_training_loop"):
            continue
        scope = function_around(one.place.module.tree, call.lineno) or one.place.module.tree
        calls = [n for n in syntax.walk(scope) if isinstance(n, syntax.Call)]
        if sum(_goes_back(n) for n in calls) == 1 and _total(scope, subject.id, call.lineno):
            tell(block, "total_unused", one.place, subjects=one.subjects)


def _subject(call: syntax.AST) -> syntax.Name | None:
    """The name whose backward is called."""
    function = call.func if isinstance(call, syntax.Call) else None
    if not isinstance(function, syntax.Attribute) or function.attr != "backward":
        return None
    return function.value if isinstance(function.value, syntax.Name) else None


def _goes_back(call: syntax.Call) -> bool:
    text = syntax.unparse(call.func)
    return text.endswith((".backward", "autograd.grad", ".step_loss")) or text == "grad"


def _total(scope: syntax.AST, term: str, line: int) -> bool:
    """Whether a sum with this term among others is made before a line, and then only shown."""
    for node in syntax.walk(scope):
        target = node.targets[0] if isinstance(node, syntax.Assign) else None
        if not isinstance(node, syntax.Assign) or not isinstance(target, syntax.Name):
            continue
        parts = list(_terms(node.value))
        if (
            len(parts) < 2
            or term not in _names(node.value)
            or target.id == term
            or node.lineno >= line
        ):
            continue
        if all(len(_names(part)) > 0 for part in parts) and _only_shown(scope, target.id, node):
            return True
    return False


def _terms(value: syntax.expr) -> Iterator[syntax.expr]:
    if isinstance(value, syntax.BinOp) and isinstance(value.op, syntax.Add):
        yield from _terms(value.left)
        yield from _terms(value.right)
    else:
        yield value


def _names(node: syntax.AST) -> set[str]:
    return {one.id for one in syntax.walk(node) if isinstance(one, syntax.Name)}


def _only_shown(scope: syntax.AST, name: str, made: syntax.Assign) -> bool:
    """Whether every use of a name looks at its number, and it is made in one place alone."""
    shown: set[int] = set()
    for node in syntax.walk(scope):
        looks = isinstance(node, syntax.Call) and _shows(node)
        if looks or isinstance(node, syntax.JoinedStr):
            shown |= {id(part) for part in syntax.walk(node)}
    return all(
        id(node) in shown or any(part is node for part in syntax.walk(made))
        for node in syntax.walk(scope)
        if isinstance(node, syntax.Name) and node.id == name
    )


def _shows(call: syntax.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, syntax.Attribute) else getattr(function, "id", "")
    return name in _SHOWS
