"""Hooks that each turn of a training loop, or each forward, registers on what was there before.

What is looked at is the text of the loop, or of the method.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_REGISTERS: Final = frozenset(
    "register_hook register_forward_hook register_forward_pre_hook register_backward_hook "
    "register_full_backward_hook register_full_backward_pre_hook "
    "register_post_accumulate_grad_hook".split()
)
# What takes a hook back, somewhere in a module.
_TAKEN_BACK: Final = re.compile(r"\.remove\(\s*\)|_hooks\.(clear|pop|popitem)\(")
# Names of what stays from step to step, of all that ``register_hook`` may be called on.
_PARAMETERS: Final = re.compile(r"(^|[._])(weight|bias|param(eter)?s?|kernel|embeddings?)\d*$")
_WORTH: Final = re.compile(r"\bregister_\w*hook\(")
_REMOVED: Final = re.compile(r"\.(remove|clear|pop|popitem)\b|_hooks\b\s*=")
# What goes over the parts of a module that was there before.
_PARTS: Final = frozenset("modules children parameters named_modules named_parameters".split())
# Managers that take no hook back.
_PLAIN: Final = frozenset(
    "no_grad enable_grad autocast set_grad_enabled profile record_function".split()
)
_Found = tuple[syntax.Call, str, str]


@surveys
def piling(m: Machine, block: Block) -> None:
    """``piles_up`` of the call that registers."""
    for module, (call, function, often) in wording.found(block, _WORTH, _in_module):
        place = Place(module, call, function)
        tell(block, "piles_up", place, method=wording.called(call), hooks=often)


def _in_module(module: Module) -> Iterator[_Found]:
    if _TAKEN_BACK.search(module.text.text):
        return
    made = _Makers(module)
    told: set[tuple[int, int]] = set()
    for statement in (module.tree, *statements_in(module.tree)):
        if isinstance(statement, syntax.Module | syntax.FunctionDef):
            found = _in_function(statement, made)
        else:
            found = iter(())
        for call, function, often in found:
            if (call.lineno, call.col_offset) not in told:
                told.add((call.lineno, call.col_offset))
                yield call, function, often


@final
class _Makers:
    """What the functions of a module bind, by their names; `parameters` are names of those."""

    def __init__(self, module: Module) -> None:
        self._bound: dict[str, set[str]] = {}
        self.parameters: set[str] = set()
        for one in statements_in(module.tree):
            if isinstance(one, syntax.FunctionDef):
                self._bound.setdefault(one.name, set()).update(_bound(one.body))
            for name, value in wording.pairs(one):
                if wording.called(value) == "Parameter":
                    self.parameters.add(name)

    def bound_by(self, loop: Any) -> set[str]:
        """The attributes that are bound by what a loop calls."""
        calls = (call for one in wording.own(loop.body) for call in wording.calls(one))
        names = set().union(*(self._bound.get(wording.called(call), ()) for call in calls))
        return {name for name in names if "." in name}


def _in_function(scope: Any, made: _Makers) -> Iterator[_Found]:
    name = getattr(scope, "name", "")
    arguments = [one.arg for one in scope.args.args] if name else []
    if name == "forward" and arguments[:1] == ["self"] and not _removes(scope.body):
        found = _each_time(scope.body, _bound(scope.body) | set(arguments[1:]), made.parameters)
        for call in found:
            yield call, name, "each forward"
    for loop in wording.own(scope.body):
        if not isinstance(loop, syntax.For | syntax.While) or not _trains(loop):
            continue
        if _removes(loop.body) or _removes(scope.body) or _ends_at_once(loop) or _is_stage(loop):
            continue
        bound = _bound(loop.body) | wording.bound(loop) | made.bound_by(loop)
        for call in _each_time(loop.body, bound, made.parameters):
            yield call, name, "each turn"


def _trains(loop: Any) -> bool:
    calls = [call for one in wording.own(loop.body) for call in wording.calls(one)]
    return {"backward", "step"} <= {wording.called(call) for call in calls}


def _is_stage(loop: Any) -> bool:
    """Whether each turn of a loop is a training of its own, with an optimizer of its own."""
    return any(
        wording.called(call) == "parameters"
        for one in loop.body
        if isinstance(one, syntax.Assign) and wording.called(one.value)[:1].isupper()
        for call in wording.calls(one)
    )


def _removes(body: Sequence[syntax.stmt]) -> bool:
    if any(
        wording.name(item.context_expr)
        for one in wording.own(body)
        if isinstance(one, syntax.With)
        for item in one.items
    ):
        return True
    return any(_REMOVED.search(syntax.unparse(one)) for one in body)


def _ends_at_once(loop: Any) -> bool:
    return any(isinstance(one, syntax.Break | syntax.Return) for one in loop.body)


def _bound(body: Sequence[syntax.stmt]) -> set[str]:
    """The names that are bound in a body, but for those of the parts of a module."""
    found: set[str] = set()
    for one in wording.own(body):
        if not _is_over_parts(one):
            found |= wording.bound(one)
        for part in wording.expressions(one):
            if isinstance(part, syntax.comprehension):
                found |= {wording.name(held) for held in syntax.walk(part.target)} - {""}
    return found


def _is_over_parts(one: syntax.stmt) -> bool:
    return isinstance(one, syntax.For) and wording.called(one.iter) in _PARTS


def _each_time(
    body: Sequence[syntax.stmt], bound: set[str], known: set[str]
) -> Iterator[syntax.Call]:
    """The calls that register a hook whenever a body is run, on nothing that it has bound; on a
    tensor only if it is known to be a parameter."""
    for one in body:
        if isinstance(one, syntax.For) and _is_over_parts(one):
            held = getattr(getattr(one.iter, "func", None), "value", None)
            parts = bound | (wording.bound(one) if _is_bound(wording.name(held), bound) else set())
            yield from _each_time(one.body, parts, known | wording.bound(one))
        elif isinstance(one, syntax.With):
            names = {wording.called(item.context_expr) for item in one.items}
            yield from _each_time(one.body, bound, known) if names <= _PLAIN else ()
        elif isinstance(one, syntax.For):
            yield from _each_time(one.body, bound, known)
        elif isinstance(one, syntax.Expr | syntax.Assign):
            for call in wording.calls(one):
                held = getattr(call.func, "value", None)
                if wording.called(call) not in _REGISTERS or _is_bound(_holder(held), bound):
                    continue
                if _is_picked(held, bound) or _keeps_own(call, bound):
                    continue
                name = wording.name(held)
                stays = name in known or _PARAMETERS.search(_holder(held))
                if wording.called(call) != "register_hook" or stays:
                    yield call


def _is_picked(node: Any, bound: set[str]) -> bool:
    """Whether what is looked into is picked by something that is bound here."""
    return any(
        wording.names(one.slice) & bound
        for one in syntax.walk(node)
        if isinstance(one, syntax.Subscript)
    )


def _keeps_own(call: syntax.Call, bound: set[str]) -> bool:
    """Whether a hook is made with something of this turn: ``lambda g, mask=mask: g * mask``."""
    return any(
        wording.names(default) & bound
        for one in call.args
        if isinstance(one, syntax.Lambda)
        for default in (*one.args.defaults, *one.args.kw_defaults)
        if default is not None
    )


def _holder(node: Any) -> str:
    """The dotted name of what is looked into, without what is picked from it by number."""
    if isinstance(node, syntax.Subscript):
        return _holder(node.value)
    if isinstance(node, syntax.Attribute):
        holder = _holder(node.value)
        return f"{holder}.{node.attr}" if holder else ""
    return wording.name(node)


def _is_bound(name: str, bound: set[str]) -> bool:
    """Whether a dotted name, or what it is an attribute of, is bound here; so is any other."""
    parts = name.split(".")
    return not name or any(".".join(parts[:count]) in bound for count in range(1, len(parts) + 1))
