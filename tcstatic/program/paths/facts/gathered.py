"""Scores of a rank's own rows against those of all ranks, and the labels that go with them.

What is looked at is the text of one file. What ``all_gather`` leaves is in the order of the ranks:
a rank's own rows begin at its number times their count, unless they are put first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.rankwise import is_rank, touches_rank
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.facts.scopes import Scope, scopes
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"all_gather\(")
_JOINS: Final = frozenset({"cat", "concat", "concatenate"})
_TURNED: Final = frozenset({"T", "mT", "t", "transpose", "contiguous", "float"})
_DEPTH: Final = 4
# Who says so knows that what is gathered brings no gradient.
_MEANT: Final = re.compile(r"local_loss|gather_with_grad|with_grad|distributed\.nn\b|stop_?grad")


@surveys
def gathered(m: Machine, block: Block) -> None:
    """``without_offset`` of the labels of scores whose own rows begin elsewhere on each rank."""
    for module, (node, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "without_offset", place, name=name)


@surveys
def ungraded(m: Machine, block: Block) -> None:
    """``without_gradient`` of the call that gathers rows which are learnt, each held against the
    other's rows of all ranks."""
    for module, (node, name) in wording.found(block, _WORTH, _lost_in):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "without_gradient", place, name=name)


def _lost_in(module: Module) -> Iterator[tuple[Any, str]]:
    if _MEANT.search(module.text.text):
        return
    every = scopes(module)
    plain = {getattr(one.node, "name", "") for one in every if _gathers(one) and _is_bare(one)}
    for scope in every:
        # By the name of rows of all ranks, the names of what is held against them.
        held: dict[str, set[str]] = {}
        for statement in scope.own:
            for call in wording.calls(statement):
                if wording.called(call) == "cross_entropy" and call.args:
                    _Scores(scope, plain, held).gathered_in(call.args[0], call.lineno, 0)
        sources = {name: _source(scope, name) for name in held}
        for name, own in held.items():
            mine = sources[name]
            crossed = any(mine in held[other] and sources[other] in own for other in held)
            if mine and crossed and name != mine:
                yield scope.binds[name][0][1], name
                break


def _source(scope: Scope, name: str) -> str:
    """What rows of all ranks were gathered from, unless that was done without gradients."""
    statement, value = scope.binds[name][0]
    given = value.args if isinstance(value, syntax.Call) else []
    for one in scope.own:
        within = one.lineno <= statement.lineno <= (one.end_lineno or 0)
        if isinstance(one, syntax.With) and within and "grad" in syntax.unparse(one.items[0]):
            return ""
    return wording.name(given[0]) if len(given) == 1 else ""


def _is_bare(scope: Scope) -> bool:
    """Whether a function that gathers leaves it at that, and says nothing of gradients."""
    node = scope.node
    said = "\n".join(scope.module.text.lines[node.lineno - 2 : node.end_lineno])
    puts = any(_is_stored(one, name) for name in scope.binds for one in syntax.walk(node))
    return not puts and not node.decorator_list and not re.search("grad|detach|local", said)


def _in_module(module: Module) -> Iterator[tuple[Any, str]]:
    every = scopes(module)
    gathers = {getattr(one.node, "name", "") for one in every if _gathers(one)} - {""}
    told: set[int] = set()
    for scope in every:
        for statement in scope.own:
            for call in wording.calls(statement):
                if wording.called(call) != "cross_entropy" or len(call.args) < 2:
                    continue
                other = _Scores(scope, gathers).gathered_in(call.args[0], call.lineno, 0)
                made = _counted(scope, call.args[1], call.lineno)
                if other and made is not None and id(made) not in told:
                    told.add(id(made))
                    yield made, other


def _gathers(scope: Scope) -> bool:
    """Whether a function gives back what it is given, of all ranks and in their order."""
    last = [one for one in scope.own if isinstance(one, syntax.Return)]
    return len(last) == 1 and len(scope.parameters) == 1 and _is_joined(scope, last[0].value)


def _is_joined(scope: Scope, node: Any) -> bool:
    """Whether this is all that ``all_gather`` has left in one list, one after another."""
    if not isinstance(node, syntax.Call) or wording.called(node) not in _JOINS or not node.args:
        return False
    along = [*node.args[1:], *(one.value for one in node.keywords)]
    name = wording.name(node.args[0])
    if not name or len(scope.binds.get(name, ())) != 1:
        return False
    if any(getattr(one, "value", None) != 0 for one in along) or _is_reordered(scope, name):
        return False
    return any(
        wording.called(call) == "all_gather" and wording.name(call.args[0]) == name
        for statement in scope.own
        for call in wording.calls(statement)
        if call.args
    )


def _is_reordered(scope: Scope, name: str) -> bool:
    """Whether something is done to a list but that a rank's own part is put in its place."""
    for statement in scope.own:
        for one in wording.expressions(statement):
            if wording.name(getattr(getattr(one, "func", None), "value", None)) == name:
                return True
            if _is_stored(one, name) and not _puts_back(statement, name):
                return True
    return False


def _is_stored(node: Any, name: str) -> bool:
    stored = isinstance(node, syntax.Subscript) and isinstance(node.ctx, syntax.Store)
    return stored and wording.name(getattr(node, "value", None)) == name


def _puts_back(statement: syntax.stmt, name: str) -> bool:
    """Whether a statement puts a rank's own part in its place."""
    targets = statement.targets if isinstance(statement, syntax.Assign) else []
    alone = len(targets) == 1 and _is_stored(targets[0], name)
    return alone and is_rank(getattr(targets[0], "slice", None))


@final
@dataclass(frozen=True, slots=True)
class _Scores:
    """What scores are made of in a scope; `gathers` are the functions that gather, `held` what was
    found so far: by the name of rows of all ranks, what is held against them."""

    scope: Scope
    gathers: set[str]
    held: dict[str, set[str]] = field(default_factory=dict)

    def gathered_in(self, node: Any, line: int, depth: int) -> str:
        """The name of the rows of all ranks that a rank's own are held against."""
        if depth > _DEPTH:
            return ""
        pair = _product(node)
        if pair is not None:
            right = _straight(pair[1])
            other, own = wording.name(right), wording.names(pair[0])
            if isinstance(right, syntax.Call) and wording.name(right.func) in self.gathers:
                other = syntax.unparse(right)
            elif not (other and self._is_gathered(other, line)):
                return ""
            if not own:
                return ""
            if any(self._touches(one, line, 0) for one in own):
                return ""
            if other in self.scope.binds:
                self.held.setdefault(other, set()).update(own)
            return other
        if isinstance(node, syntax.BinOp) and isinstance(node.op, syntax.Mult | syntax.Div):
            left = self.gathered_in(node.left, line, depth + 1)
            return left or self.gathered_in(node.right, line, depth + 1)
        name = wording.name(node)
        bound = self.scope.binds.get(name, []) if name else []
        if len(bound) != 1:
            return ""
        return self.gathered_in(bound[0][1], bound[0][1].lineno, depth + 1)

    def _is_gathered(self, name: str, line: int) -> bool:
        bound = self.scope.binds.get(name, [])
        if len(bound) != 1:
            return False
        value = bound[0][1]
        function = value.func if isinstance(value, syntax.Call) else None
        known = isinstance(function, syntax.Name) and function.id in self.gathers
        return known or _is_joined(self.scope, value)

    def _touches(self, name: str, line: int, depth: int) -> bool:
        """Whether rows of other ranks may be among those of a name."""
        for _, value in self.scope.binds.get(name, []):
            if any(_may_gather(one, self.gathers) for one in syntax.walk(value)):
                return True
            inner = wording.names(value) - {name}
            if depth < _DEPTH and any(self._touches(one, line, depth + 1) for one in inner):
                return True
        return False


def _product(node: Any) -> tuple[syntax.expr, syntax.expr] | None:
    """Both sides of a product of matrices."""
    if isinstance(node, syntax.BinOp) and isinstance(node.op, syntax.MatMult):
        return node.left, node.right
    if isinstance(node, syntax.Call) and wording.name(node.func) in ("torch.mm", "torch.matmul"):
        return (node.args[0], node.args[1]) if len(node.args) == 2 else None
    return None


def _may_gather(node: Any, gathers: set[str]) -> bool:
    text = wording.called(node) if isinstance(node, syntax.Call) else wording.name(node)
    return "gather" in text.lower() or text in gathers


def _straight(node: Any) -> Any:
    """A value without what turns it."""
    while True:
        if isinstance(node, syntax.Call) and wording.called(node) in _TURNED:
            node = getattr(node.func, "value", None)
        elif isinstance(node, syntax.Attribute) and node.attr in _TURNED:
            node = node.value
        else:
            return node


def _counted(scope: Scope, node: Any, line: int) -> syntax.Call | None:
    """The call that makes labels 0, 1, 2 and so on, where nothing else is done to them."""
    name = wording.name(node)
    if name:
        bound = scope.binds.get(name, [])
        if len(bound) != 1 or _is_changed(scope, name):
            return None
        node = bound[0][1]
    while isinstance(node, syntax.Call) and wording.called(node) in ("to", "cuda", "long"):
        node = getattr(node.func, "value", None)
    if not isinstance(node, syntax.Call) or wording.called(node) != "arange":
        return None
    first = [getattr(one, "value", None) for one in node.args[:-1]]
    if not node.args or len(node.args) > 2 or first not in ([], [0]):
        return None
    return None if touches_rank(scope, node, line) else node


def _is_changed(scope: Scope, name: str) -> bool:
    """Whether something is done to a tensor in place."""
    for statement in scope.own:
        for one in wording.expressions(statement):
            holder = wording.name(getattr(getattr(one, "func", None), "value", None))
            if isinstance(one, syntax.Call) and holder == name and wording.called(one)[-1:] == "_":
                return True
            stored = isinstance(one, syntax.Subscript) and isinstance(one.ctx, syntax.Store)
            if stored and wording.name(getattr(one, "value", None)) == name:
                return True
    return False
