"""Functional dropout: whether it is told the mode, and which classes have some in train mode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import statements_in
from tcstatic.program.paths.tree import Block, Branch, Called, Exit, Happening, Loop, happenings
from tcstatic.program.paths.values import Const, Node, Phi, Unknown, Value
from tcstatic.program.paths.walking import upstream
from tcstatic.program.source import syntax

_RANDOM: Final = re.compile(
    r"pre_?net|monte|mc_?drop|bayes|always|non.?determin|stochastic|uncertain", re.IGNORECASE
)
_ATTENTION: Final = "torch.nn.functional.scaled_dot_product_attention"
_DROPOUTS: Final = frozenset("dropout dropout1d dropout2d dropout3d alpha_dropout".split())
_UNTOLD: Final = "training= is not given, and its default is True"
_RATE: Final = "its dropout_p asks no mode"


@surveys
def dropouts(m: Machine, block: Block) -> None:
    """``always_on``: functional dropout in a module's forward that is told nothing of the mode."""
    off = {
        id(one.place.node)
        for one in happenings(block)
        if any(_is_nought(rate) for rate in _rates(one))
    }
    evaluated = any(one.kind == "model.eval" for one in happenings(block))
    for one, guards in _guarded(block, ()):
        drops = _is_dropout(one) or (evaluated and _is_attention(one))
        if not drops or not _is_of_forward(one):
            continue
        given = "training" in one.keywords or "**" in one.keywords
        given = given or (_is_dropout(one) and len(one.arguments) > 2)
        rates = _rates(one)
        told = given or any(_asks_mode(m, guard) for guard in (*guards, *rates))
        # one rate for each mode
        told = told or id(one.place.node) in off or any(isinstance(rate, Phi) for rate in rates)
        told = told or _is_wanted(one) or _is_set_elsewhere(one)
        one.values["always_on"] = not told
        one.values["told"] = _RATE if _is_attention(one) else _UNTOLD


def dropping_classes(m: Machine, block: Block) -> frozenset[tuple[int, str]]:
    """The classes with functional dropout that is on in train mode alone: module and name."""
    return frozenset(
        class_key(id(one.place.module), one.place.function.rpartition(".")[0])
        for one in happenings(block)
        if _is_dropout(one)
        and any(_asks_mode(m, value) for value in _modes(one))
        and not any(isinstance(rate, Const) and rate.value == 0 for rate in _rates(one))
    )


def class_key(module: int, name: str) -> tuple[int, str]:
    """What stands for a class of a module."""
    return module, name.rpartition(".")[2]


def _is_dropout(one: Happening) -> bool:
    path = str(one.values.get("path", ""))
    return path.rpartition(".")[2] in _DROPOUTS and ".functional." in path


def _is_attention(one: Happening) -> bool:
    """Whether an attention is given a rate of dropout that is known, and is not 0."""
    if one.values.get("path") != _ATTENTION:
        return False
    return any(isinstance(rate, Const | Phi) and not _is_zero(rate) for rate in _rates(one))


def _is_of_forward(one: Happening) -> bool:
    """Whether a happening lies in a ``forward``, or in a method that it goes through in each
    mode."""
    owner, _, method = one.place.function.rpartition(".")
    if method == "forward" or not owner:
        return bool(owner)
    for node in statements_in(one.place.module.tree):
        if isinstance(node, syntax.ClassDef) and node.name == owner.rpartition(".")[2]:
            methods = {m.name: m for m in node.body if isinstance(m, syntax.FunctionDef)}
            return "forward" in methods and method in _gone_through(methods)
    return False


def _gone_through(methods: dict[str, syntax.FunctionDef]) -> set[str]:
    """The methods that ``forward`` calls, directly or not."""
    waiting, seen = ["forward"], set[str]()
    while waiting:
        name = waiting.pop()
        if name in methods and name not in seen:
            seen.add(name)
            waiting.extend(_used(methods[name]))
    return seen


def _used(node: syntax.AST) -> Iterator[str]:
    """The attributes of ``self`` that a method reads, but for what it reads in train mode alone."""
    for part in syntax.iter_child_nodes(node):
        if isinstance(part, syntax.If | syntax.IfExp) and "train" in syntax.unparse(part.test):
            continue
        if isinstance(part, syntax.Attribute) and isinstance(part.value, syntax.Name):
            yield part.attr if part.value.id == "self" else ""
        yield from _used(part)


def _is_wanted(one: Happening) -> bool:
    """Whether the author says that it is to be random in evaluation as well: in the name of the
    class (Tacotron's prenet, Monte Carlo dropout), or in a comment beside the call."""
    first, last = one.place.node.lineno, one.place.node.end_lineno or one.place.node.lineno
    lines = one.place.module.text.lines[max(first - 2, 0) : last]
    said = (text for line in lines if (text := line.partition("#")[2]))
    return any(_RANDOM.search(text) for text in (one.place.function, *said))


def _is_set_elsewhere(one: Happening) -> bool:
    """Whether the rate is an attribute that something else than ``__init__`` sets: by the mode, it
    may be."""
    call = one.place.node
    if not isinstance(call, syntax.Call):
        return False
    given = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "p")]
    names = {part.attr for part in given if isinstance(part, syntax.Attribute)}
    tree = one.place.module.tree
    begun = {
        id(part)
        for node in statements_in(tree)
        if isinstance(node, syntax.FunctionDef) and node.name == "__init__"
        for part in syntax.walk(node)
    }
    return any(
        isinstance(part, syntax.Attribute)
        and part.attr in names
        and isinstance(part.ctx, syntax.Store)
        and id(part) not in begun
        for part in (syntax.walk(tree) if names else ())
    )


def _is_nought(rate: Value) -> bool:
    """Whether a rate is set to 0; as the default of a parameter it says nothing of the mode."""
    if not isinstance(rate, Const) or rate.value != 0:
        return False
    return rate.place is None or id(rate.place.node) not in rate.place.module.defaults


def _is_zero(rate: Value) -> bool:
    return isinstance(rate, Const) and not (isinstance(rate.value, float) and rate.value > 0.0)


def _rates(one: Happening) -> tuple[Value, ...]:
    if one.values.get("path") == _ATTENTION:
        return (*one.arguments[4:5], *(v for k, v in one.keywords.items() if k == "dropout_p"))
    return (*one.arguments[1:2], *(v for k, v in one.keywords.items() if k == "p"))


def _modes(one: Happening) -> tuple[Value, ...]:
    return (*one.arguments[2:3], *(v for k, v in one.keywords.items() if k == "training"))


def _guarded(
    block: Block, guards: tuple[Value, ...]
) -> Iterator[tuple[Happening, tuple[Value, ...]]]:
    """All happenings, each with the conditions on which it comes about: of the branches that it
    lies in, and of those before it that leave their block on one side."""
    for step in block.steps:
        if isinstance(step, Happening):
            yield step, guards
        elif isinstance(step, Branch):
            asked = (*guards, step.condition) if step.condition is not None else guards
            for alternative in step.alternatives:
                yield from _guarded(alternative, asked)
            sides = [any(isinstance(one, Exit) for one in side.steps) for side in step.alternatives]
            if any(sides):
                guards = asked
        elif isinstance(step, Loop | Called):
            yield from _guarded(step.body, guards)


def _asks_mode(m: Machine, condition: Value) -> bool:
    return any(
        (isinstance(one, Unknown) and "train" in one.name)
        or (isinstance(one, Node) and "train" in one.op)
        for one in upstream(m, condition, lambda _: True)
    )
