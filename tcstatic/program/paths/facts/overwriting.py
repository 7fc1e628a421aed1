"""Inputs that are made from a target by writing to it: the loss then compares with the input.

What is looked at is the text: a method that writes in place gives the very tensor that it wrote to,
and so does a function that returns it. Both names are one tensor from there on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

# What puts other numbers in the place of those that were there.
_WRITES: Final = frozenset(
    """add_ sub_ mul_ div_ pow_ masked_fill_ fill_ zero_ clamp_ clip_ where_ copy_ normal_ uniform_
    bernoulli_ index_fill_ masked_scatter_ scatter_ neg_ round_ exp_ sigmoid_""".split()
)
_WORTH: Final = re.compile(r"\.(" + "|".join(_WRITES) + r")\(|^\s+(\w+|\w+\[.*\]) ?[+*/-]?= ", re.M)
_LOSSES: Final = re.compile(r"loss|mse|bce|mae|l1|criterion|crit$|objective|huber|psnr", re.I)
# What spoils inputs on purpose; a bound, a scale or a mask of padding may well be meant for the
# target, too.
_SPOILS: Final = re.compile(
    r"rand|(?<!de)nois|bernoulli|dropout|corrupt|jitter|perturb|cutout|erase|normal_|uniform_", re.I
)
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_SKIPPED: Final = (*_DEFINES, syntax.ClassDef)
_Found = tuple[syntax.expr | syntax.stmt, str, str]


@final
@dataclass(slots=True)
class _Seen:
    """What straight statements have told so far: the names that are what was written to, each with
    the write and the name that it wrote to; and of which names each name was made."""

    written: dict[str, tuple[syntax.Call, str]] = field(default_factory=dict)
    made: dict[str, set[str]] = field(default_factory=dict)


@surveys
def overwriting(m: Machine, block: Block) -> None:
    """``also_target`` of a write to what a loss is given as its target, beside what came of it."""
    modules = wording.modules(m, block)
    writers = {
        name: (module, node)
        for module in modules
        if _WORTH.search(module.text.text)
        for name, node in wording.once(module, _writers).items()
    }
    for module in modules:
        if not any(name in module.text.text for name in writers) and not _WORTH.search(
            module.text.text
        ):
            continue
        for body in _bodies(module):
            for call, name, other in _in_body(body, frozenset(writers)):
                known = writers.get(wording.called(call))
                if known is None and not _SPOILS.search(module.segment(call)):
                    continue
                where, node = known if known is not None else (module, call)
                place = Place(where, node, title_around(where.tree, node.lineno))
                tell(block, "also_target", place, name=name, other=other)


def _bodies(module: Module) -> Iterator[list[syntax.stmt]]:
    yield module.tree.body
    for one in statements_in(module.tree):
        if isinstance(one, _DEFINES):
            yield one.body


def _writers(module: Module) -> dict[str, syntax.expr | syntax.stmt]:
    """The functions that write to their first argument and return it, each with the write."""
    found: dict[str, syntax.expr | syntax.stmt] = {}
    several = [one.name for one in statements_in(module.tree) if isinstance(one, _DEFINES)]
    for one in statements_in(module.tree):
        if not isinstance(one, _DEFINES) or several.count(one.name) > 1:
            continue
        names = [part.arg for part in one.args.args if part.arg != "self"]
        last = one.body[-1]
        if not names or not isinstance(last, syntax.Return) or last.value is None:
            continue
        node: syntax.expr | syntax.stmt | None = _written(last.value, names[0])
        for held in one.body[:-1]:
            if _rebinds(held, names[0]):
                break
            if node is None and wording.name(last.value) == names[0]:
                node = _write(held, names[0])
        else:
            if node is not None and _SPOILS.search(module.segment(one)):
                found[one.name] = node
    return found


def _rebinds(one: syntax.stmt, name: str) -> bool:
    """Whether a statement, or one within it, may make a name another tensor."""
    return any(
        isinstance(part, syntax.stmt)
        and not isinstance(part, syntax.AugAssign)
        and name in wording.bound(part)
        for part in syntax.walk(one)
    )


def _write(one: syntax.stmt, name: str) -> syntax.expr | syntax.stmt | None:
    """The write of a statement to what a name is."""
    if isinstance(one, syntax.AugAssign) and wording.name(one.target) == name:
        return one
    if isinstance(one, syntax.Assign) and isinstance(one.targets[0], syntax.Subscript):
        return one if wording.name(one.targets[0].value) == name else None
    return _written(one.value, name) if isinstance(one, syntax.Expr) else None


def _written(value: Any, name: str) -> syntax.expr | None:
    """The write in place that a value is the result of: ``x.mul_(2).add_(noise)``."""
    first = None
    while isinstance(value, syntax.Call) and isinstance(value.func, syntax.Attribute):
        if value.func.attr not in _WRITES:
            return None
        first, value = value, value.func.value
    return first if first is not None and wording.name(value) == name else None


def _in_body(
    body: list[syntax.stmt], writers: frozenset[str]
) -> Iterator[tuple[syntax.Call, str, str]]:
    """The losses among straight statements that are given what was written to, and what a model
    made of it."""
    seen = _Seen()
    for one in body:
        if isinstance(one, _SKIPPED):
            continue
        inner = [getattr(one, part, None) for part in ("body", "orelse", "finalbody")]
        blocks = [held for held in inner if isinstance(held, list) and held]
        for block in blocks:
            yield from _in_body(block, writers)
        if blocks:
            seen = _Seen()
            continue
        for call in wording.calls(one):
            if _LOSSES.search(wording.called(call)) and len(call.args) > 1:
                for given, target in (call.args[:2], call.args[1::-1]):
                    yield from _in_loss(given, target, seen, writers)
        _note(one, seen, writers)


def _in_loss(
    given: syntax.expr, target: syntax.expr, seen: _Seen, writers: frozenset[str]
) -> Iterator[tuple[syntax.Call, str, str]]:
    """The write to a target that what a loss is given came of."""
    aim = wording.name(target)
    for part in syntax.walk(given):
        if aim and isinstance(part, syntax.Call) and _source(part, writers) == aim:
            yield part, syntax.unparse(part), aim
    names = wording.names(given)
    names |= {part for name in names for part in seen.made.get(name, ())}
    for name, (node, source) in seen.written.items():
        if aim == source and name in names:
            yield node, name, source


def _note(one: syntax.stmt, seen: _Seen, writers: frozenset[str]) -> None:
    """Note what names are made of, and which of them are what was written to."""
    for name in wording.bound(one):
        kept = {key: held for key, held in seen.written.items() if name not in (key, held[1])}
        seen.written = kept
        seen.made[name] = set()
    for name, value in wording.pairs(one):
        read = wording.names(value)
        seen.made[name] = read | {part for held in read for part in seen.made.get(held, ())}
        for part in syntax.walk(value):
            source = _source(part, writers)
            if source and source != name and isinstance(part, syntax.Call):
                seen.written[name] = (part, source)


def _source(value: syntax.AST, writers: frozenset[str]) -> str:
    """The name that a value writes to, and is."""
    if not isinstance(value, syntax.Call):
        return ""
    if wording.name(value.func).removeprefix("self.") in writers and value.args:
        return wording.name(value.args[0])
    held: Any = value
    while isinstance(held, syntax.Call) and isinstance(held.func, syntax.Attribute):
        held = held.func.value
    name = wording.name(held)
    return name if name and _written(value, name) is not None else ""
