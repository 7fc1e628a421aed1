"""Counters that a training loop asks, and that nothing advances."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tcstatic.program.paths import lookup, wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in
from tcstatic.program.paths.tree import Block, Branch, Called, Loop, happenings, loops
from tcstatic.program.paths.values import Class, Const, External, Node, Value
from tcstatic.program.source import syntax

# What is counted. An epoch may be the only one of a run, a rank or a fold is chosen.
_COUNTERS: Final = re.compile(
    r"step|iter|count|cnt|update|tick|episode|frame|since|elapsed|calls|learned|^[itn]$"
)
_CHOSEN: Final = re.compile(
    r"rank|fold|epoch|every|freq|interval|period|per_|max|min|num_(?!upd)|accum|start|resume|skip"
    r"|stack|warm|offset|local|(?<![a-z])n_step|task|first|init|seed"
)
# At the top of a script stand its settings as well: there, what is called a counter in so many
# words is one.
_SAID: Final = re.compile(
    r"^((global|total|train|n|num|env|learn)_)?(step|iteration|iter|update|tick|counter|count)s?"
    r"(_?(done|so_far|count|counter|num|no))?$"
)
# Libraries whose classes advance no counter of a class that derives from them.
_KNOWN: Final = ("torch", "typing", "abc", "builtins", "object", "collections", "enum")
_LIMITS: Final = frozenset({">=", ">", "=="})
_MOST_STARTS: Final = 2  # a counter begins at 0, or at 1


@surveys
def standing(m: Machine, block: Block) -> None:
    """``stands_still`` at a condition of a loop that trains, which asks a counter that is the same
    in every round."""
    seen: set[syntax.AST] = set()
    for loop, _ in loops(block):
        for one in _branches(loop.body) if loop.role == "training" else ():
            place = one.place
            if place is None or place.node in seen or not isinstance(place.node, syntax.If):
                continue
            seen.add(place.node)
            counter = _counter(place.node, one.condition)
            if counter and any(happenings(side) for side in one.alternatives):
                modules = list(dict.fromkeys([place.module, *m.globals.values()]))
                if _may_be_set(place.module, counter) or _is_inherited(m, modules, counter):
                    continue
                if not any(_is_advanced(module, counter) for module in modules):
                    tell(block, "stands_still", place, counter=syntax.unparse(counter))


def _branches(block: Block) -> Iterator[Branch]:
    for step in block.steps:
        if isinstance(step, Branch):
            yield step
            for side in step.alternatives:
                yield from _branches(side)
        elif isinstance(step, Called | Loop):
            yield from _branches(step.body)


def _counter(node: syntax.If, condition: Value | None) -> syntax.expr | None:
    """What an ``if`` asks whether it is a multiple of something, or has reached a limit and is to
    begin anew, where that is one number in all rounds."""
    if not isinstance(condition, Node):
        return None
    for part in syntax.walk(node.test):
        asked: Any = None
        if isinstance(part, syntax.BinOp) and isinstance(part.op, syntax.Mod):
            asked = part.left if _is_still(condition, frozenset({"%"})) else None
        elif isinstance(part, syntax.Compare) and _is_still(condition, _LIMITS):
            asked = part.left if _begins_anew(node, part.left) else None
        asked = _plain(asked)
        if asked is not None and _COUNTERS.search(_name(asked)):
            return None if _CHOSEN.search(_name(asked)) else asked
    return None


def _plain(asked: Any) -> syntax.expr | None:
    """A name or an attribute, past what is added to it."""
    if isinstance(asked, syntax.BinOp) and isinstance(asked.op, syntax.Add):
        asked = asked.left if isinstance(asked.right, syntax.Constant) else None
    return asked if isinstance(asked, syntax.Name | syntax.Attribute) else None


def _name(asked: syntax.AST) -> str:
    return str(getattr(asked, "attr", getattr(asked, "id", "")))


def _may_be_set(module: Module, counter: syntax.expr) -> bool:
    """Whether a number may be a setting: it stands at the top of its script, or is compared with
    what a loop goes through."""
    name = _name(counter)
    top = module.bindings.get(name) if isinstance(counter, syntax.Name) else None
    if top is not None and not _SAID.match(name):
        return True
    return name in wording.once(module, _compared)


def _compared(module: Module) -> frozenset[str]:
    """The names that are compared with what a loop goes through."""
    every = list(syntax.walk(module.tree))
    goes = {
        part.id
        for node in every
        if isinstance(node, syntax.For)
        for part in syntax.walk(node.target)
        if isinstance(part, syntax.Name)
    }
    found: set[str] = set()
    for node in every:
        if isinstance(node, syntax.Compare):
            named = {_name(part) for part in syntax.walk(node)}
            found |= {name for name in named if goes & (named - {name})}
    return frozenset(found)


def _is_inherited(m: Machine, modules: Iterable[Module], counter: syntax.expr) -> bool:
    """Whether an attribute may be advanced by a class of a library, which its own derives from."""
    if not isinstance(counter, syntax.Attribute):
        return False
    for node, made in m.classes.items():
        if not isinstance(made, Class) or made.module not in modules:
            continue
        if counter.attr in wording.once(made.module, _stored).get(node, ()):
            for base in lookup.ancestry(made):
                known = isinstance(base, External) and base.path.startswith(_KNOWN)
                if not known and not isinstance(base, Class):
                    return True
    return False


def _stored(module: Module) -> dict[syntax.AST, set[str]]:
    """The names of each class, and the attributes that its methods store."""
    return {
        node: {
            _name(part)
            for part in syntax.walk(node)
            if isinstance(getattr(part, "ctx", None), syntax.Store)
        }
        for node in statements_in(module.tree)
        if isinstance(node, syntax.ClassDef)
    }


def _is_still(condition: Value, operations: frozenset[str]) -> bool:
    """Whether one of these operations is done on a number that is known, and small."""
    waiting = [condition]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, Node):
            continue
        first = one.inputs[0] if one.inputs else None
        if one.op in operations and isinstance(first, Const) and _is_start(first.value):
            other = one.inputs[1]
            return not isinstance(other, Const) or (
                isinstance(other.value, int) and other.value > _MOST_STARTS
            )
        waiting += one.inputs
    return False


def _is_start(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST_STARTS


def _begins_anew(node: syntax.If, asked: syntax.expr) -> bool:
    """Whether a branch sets what it asked for to zero."""
    text = syntax.unparse(asked)
    return any(
        isinstance(one, syntax.Assign)
        and isinstance(one.value, syntax.Constant)
        and one.value.value == 0
        and [syntax.unparse(target) for target in one.targets] == [text]
        for one in node.body
    )


def _is_advanced(module: Module, counter: syntax.expr) -> bool:
    """Whether anything in a module may give a name, or an attribute of any object, another value
    than a number that is written there."""
    name = _name(counter)
    if name not in module.text.text:
        return False
    names, attributes, spoken = wording.once(module, _advanced)
    plain = isinstance(counter, syntax.Name) and name in names
    return plain or name in attributes or name in spoken


def _advanced(module: Module) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The names, and the attributes, that are given more than a number that is written there; and
    the words that a module names something by as a parameter, as a key, or for another scope."""
    every = list(syntax.walk(module.tree))
    plain: set[syntax.AST] = set()
    for node in every:
        if isinstance(node, syntax.Assign | syntax.AnnAssign):
            targets = node.targets if isinstance(node, syntax.Assign) else [node.target]
            if isinstance(node.value, syntax.Constant) and _is_start(node.value.value):
                plain.update(targets)
    stored = [
        node
        for node in every
        if isinstance(node, syntax.Name | syntax.Attribute)
        and not isinstance(node.ctx, syntax.Load)
        and node not in plain
    ]
    spoken = (word for node in every for word in _spoken(node) if isinstance(word, str))
    return (
        frozenset(_name(one) for one in stored if isinstance(one, syntax.Name)),
        frozenset(_name(one) for one in stored if isinstance(one, syntax.Attribute)),
        frozenset(spoken),
    )


def _spoken(node: syntax.AST) -> Iterable[object]:
    if isinstance(node, syntax.Constant):
        return (node.value,)
    if isinstance(node, syntax.Global | syntax.Nonlocal):
        return node.names
    return (getattr(node, "arg", None), getattr(node, "asname", None))
