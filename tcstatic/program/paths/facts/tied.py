"""Weights that are to be tied, and are copied: from then on each of them is trained on its own.

That they are to be tied, the name of the function or a comment says. A copy that is made again and
again keeps them alike, and is no finding.
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

_WORTH: Final = re.compile(r"(\b|_)(tie[ds]?|tying|share)(\b|_)", re.IGNORECASE)
_TIES: Final = re.compile(r"(^|_)(re)?tie(_|$)|^share_(weights?|embeddings?)$")
_SAID: Final = re.compile(r"\b(tie[ds]?|tying)\b", re.IGNORECASE)
_NOT: Final = re.compile(r"\b(not?|un-?tied?|init\w*|start\w*|never|instead|first)\b|n't", re.I)
_PARAMETER: Final = re.compile(r"(^|[._])weight$")
_COPIES: Final = frozenset({"clone", "deepcopy", "copy", "tensor"})
_WRAPS: Final = frozenset("detach data cpu to float contiguous Parameter".split())
_OFTEN: Final = re.compile(r"forward|step|epoch|hook|update|sync|train")
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_LOOPS: Final = (syntax.For, syntax.AsyncFor, syntax.While)


@surveys
def tied(m: Machine, block: Block) -> None:
    """``copied_to_tie`` of the copy of a weight."""
    for module, (node, one, other) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "copied_to_tie", place, name=one, other=other)


def _in_module(module: Module) -> Iterator[tuple[syntax.stmt, str, str]]:
    every = list(statements_in(module.tree))
    bodies = [("", module.tree.body)]
    bodies += [(one.name, one.body) for one in every if isinstance(one, _DEFINES)]
    again = _called_again(every)
    same = {pair for one in every if (pair := _shared(one)) is not None}
    for name, body in bodies:
        if _OFTEN.search(name) or name in again:
            continue
        loops = [one for one in wording.own(body) if isinstance(one, _LOOPS)]
        looped = {id(held) for one in loops for held in wording.own([one])}
        for one in wording.own(body):
            pair = _copied(one)
            if pair is None or id(one) in looped or {pair, pair[::-1]} & same:
                continue
            said = wording.comments(module, one)
            meant = _SAID.search(said) and not _NOT.search(said)
            if (_TIES.search(name) or meant) and not _is_frozen(module, pair[0]):
                yield one, *pair


def _called_again(every: list[syntax.stmt]) -> set[str]:
    """The functions that are called in loops, or from what runs again and again, or handed on."""
    found: set[str] = set()
    for one in every:
        if not isinstance(one, _LOOPS) and not (
            isinstance(one, _DEFINES) and _OFTEN.search(one.name)
        ):
            continue
        for part in syntax.walk(one):
            if isinstance(part, syntax.Call):
                found.add(wording.called(part))
    for one in every:
        for call in wording.calls(one):
            found |= {wording.name(given).rpartition(".")[2] for given in call.args} - {""}
    return found


def _copied(one: syntax.stmt) -> tuple[str, str] | None:
    """The weight that a statement writes to, and the one that it copies."""
    value: Any = getattr(one, "value", None)
    if isinstance(one, syntax.Expr) and isinstance(value, syntax.Call):
        holder = getattr(value.func, "value", None)
        if wording.called(value) == "copy_" and len(value.args) >= 1:
            return _pair(_bare(holder), _bare(value.args[0]))
        if wording.called(value) == "load_state_dict" and value.args:
            given: Any = value.args[0]
            if wording.called(given) == "state_dict" and not given.args:
                source = wording.name(given.func.value)
                return _pair(f"{wording.name(holder)}.weight", f"{source}.weight")
        return None
    if isinstance(one, syntax.Assign) and len(one.targets) == 1:
        calls = {wording.called(part) for part in syntax.walk(value)}
        if calls & _COPIES:
            return _pair(_bare(one.targets[0]), _bare(value))
    return None


def _shared(one: syntax.stmt) -> tuple[str, str] | None:
    """Two weights that a statement makes one."""
    if not isinstance(one, syntax.Assign) or len(one.targets) != 1:
        return None
    return _pair(wording.name(one.targets[0]), wording.name(one.value))


def _pair(one: str, other: str) -> tuple[str, str] | None:
    both = _PARAMETER.search(one) and _PARAMETER.search(other) and one != other
    return (one, other) if both and "." in one and "." in other else None


def _bare(node: Any) -> str:
    """The name of a weight, without what copies it, or is a view of it."""
    for _ in range(8):
        if isinstance(node, syntax.Attribute) and node.attr == "data":
            node = node.value
        elif isinstance(node, syntax.Call) and wording.called(node) in _COPIES | _WRAPS:
            receiver = getattr(node.func, "value", None)
            node = node.args[0] if node.args else receiver
        else:
            break
    return wording.name(node)


def _is_frozen(module: Module, name: str) -> bool:
    """Whether a weight is taken out of training."""
    holder = re.escape(name.rpartition(".")[0])
    return bool(re.search(rf"{holder}(\.weight)?\.requires_grad", module.text.text))
