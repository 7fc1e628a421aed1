"""Shares that each rank has of its own rows, and that are added up over ranks.

What is looked at is the text of one function. A share is a number that was counted divided by the
number of rows that it was counted over; the sum of all ranks' shares is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.rankwise import touches_rank
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.scopes import Scope, scopes
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"all_reduce\(")
_COLLECTIVE: Final = re.compile(r"gather|reduce|sync|average|broadcast|scatter")
_SCALED: Final = re.compile(
    r"[/*][^\n]*(world|get_world_size|n_?proc|nranks|replicas|num_(ranks|workers|gpus)|ngpus)"
    r"|(world\w*|get_world_size\(\)|nranks|replicas|num_(ranks|workers|gpus)|ngpus)\s*\*|\.AVG\b"
)
_MADE: Final = frozenset("tensor as_tensor float FloatTensor Tensor".split())
_CONVERTS: Final = frozenset("item float double to cpu cuda detach clone sum".split())
_SHOWN: Final = frozenset("print round append info log float add_scalar write format item".split())
_DEPTH: Final = 6


@surveys
def added_up(m: Machine, block: Block) -> None:
    """``a_share`` of the collective that adds it up."""
    for module, (node, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "a_share", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[Any, str]]:
    for scope in scopes(module):
        for statement in scope.own:
            for call in wording.calls(statement):
                name = wording.name(call.args[0]) if call.args else ""
                if wording.called(call) != "all_reduce" or not name or not _adds(call):
                    continue
                if _is_share(scope, name, call) and not _is_divided(scope, name, call):
                    yield call, name


def _adds(call: syntax.Call) -> bool:
    how = [*call.args[1:2], *(one.value for one in call.keywords if one.arg == "op")]
    others = [one for one in call.keywords if one.arg not in ("op",)]
    return not others and all(wording.name(one).endswith("SUM") for one in how)


def _is_share(scope: Scope, name: str, call: syntax.Call) -> bool:
    """Whether a name is bound to a share of the rows that this rank has counted."""
    bound = scope.binds.get(name, [])
    if len(bound) != 1 or bound[0][0].lineno >= call.lineno:
        return False
    value = _plain(bound[0][1])
    if not isinstance(value, syntax.BinOp) or not isinstance(value.op, syntax.Div):
        return False
    part, whole = _plain(value.left), _plain(value.right)
    if not wording.name(part) or any(map(_is_shared(scope), (part, whole))):
        return False
    loops = _counts(scope, wording.name(part), call.lineno)
    if wording.name(whole):
        return bool(loops & _counts(scope, wording.name(whole), call.lineno))
    rows = whole.args[0] if wording.called(whole) == "len" and len(whole.args) == 1 else None
    return rows is not None and _goes_over(scope, part, wording.name(rows), call.lineno)


def _plain(value: Any) -> Any:
    """A value without what makes a plain number or a tensor of it."""
    while True:
        if isinstance(value, syntax.List) and len(value.elts) == 1:
            value = value.elts[0]
        elif isinstance(value, syntax.Call) and wording.called(value) in _MADE and value.args:
            value = value.args[0]
        elif isinstance(value, syntax.Call) and wording.called(value) in _CONVERTS:
            value = getattr(value.func, "value", None)
        elif isinstance(value, syntax.Call) and wording.called(value) == "max" and value.args:
            value = value.args[0]
        else:
            return value


def _is_shared(scope: Scope) -> Callable[[Any], bool]:
    """Ask of a value whether some of its names are brought together with those of other ranks."""
    given = {
        name
        for statement in scope.own
        for call in wording.calls(statement)
        if _COLLECTIVE.search(wording.called(call))
        for name in wording.names(call)
    }
    return lambda value: bool(wording.names(value) & given)


def _counts(scope: Scope, name: str, line: int) -> set[int]:
    """The loops, by where they begin, in which something is added to a name, and nothing else."""
    added = {
        loop.lineno
        for loop in scope.own
        if isinstance(loop, syntax.For) and loop.lineno < line
        for one in wording.own(loop.body)
        if isinstance(one, syntax.AugAssign)
        and isinstance(one.op, syntax.Add)
        and wording.name(one.target) == name
    }
    made = [value for one, value in scope.binds.get(name, ()) if isinstance(one, syntax.Assign)]
    return added if len(made) == 1 else set()


def _goes_over(scope: Scope, part: Any, rows: str, line: int) -> bool:
    """Whether a number is counted over all of some rows, which are the same on every rank."""
    made = list(_made_of(scope, part, line, 0))
    loaders: list[Any] = [
        node for one in made for node in syntax.walk(one) if wording.called(node) == "DataLoader"
    ]
    if len({id(one) for one in loaders}) != 1 or len(loaders[0].args) < 1 or not rows:
        return False
    if any(one.arg in ("sampler", "batch_sampler", None) for one in loaders[0].keywords):
        return False
    if rows not in wording.names(loaders[0].args[0]):
        return False
    return not any(touches_rank(scope, one, line) for one in made)


def _made_of(scope: Scope, node: Any, line: int, depth: int) -> Iterator[Any]:
    """An expression, and those that the names in it were bound to."""
    yield node
    for name in sorted(wording.names(node)) if depth < _DEPTH else ():
        value = scope.bound(name, line)
        if value is not None and value is not node:
            yield from _made_of(scope, value, value.lineno, depth + 1)


def _is_divided(scope: Scope, name: str, call: syntax.Call) -> bool:
    """Whether something may make a mean of a sum, or it is handed on, once it is added up."""
    for statement in scope.own:
        if statement.lineno < call.lineno:
            continue
        if isinstance(statement, syntax.Return) and name in wording.names(statement):
            return True
        if isinstance(statement, syntax.AugAssign) and name in wording.names(statement):
            return True
        for node in wording.expressions(statement):
            if node is call or name not in wording.names(node):
                continue
            if isinstance(node, syntax.BinOp):
                return True
            if isinstance(node, syntax.Call) and wording.called(node) not in _SHOWN:
                return True
    last = getattr(scope.node, "end_lineno", None) or len(scope.module.text.lines)
    rest = scope.module.text.lines[call.lineno : last]
    return any(_SCALED.search(one) and "grad" not in one for one in rest)
