"""Inputs and labels that are parted: one of them is put into a random order, the other is not.

What is looked at is the text of one function: which name is put into which order, and which names
are cut into batches, or handed on, side by side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.comparing import compares
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.permuting import Part, Scope, order_in, scope_of, taken
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"\b(randperm|permutation|shuffle)\(")
_TOGETHER: Final = frozenset({"TensorDataset", "StackDataset", "zip", "train_test_split"})
# A label's name says so at its end; what follows it says of which part, or of which kind it is.
LABELS: Final = re.compile(
    r"(^|_)(ys?|labels?|lbls?|targets?|tgts?|class(es)?|tags?|truth|answers?|wanted)"
    r"(_?(train\w*|tr|all|full|data|tensor|np|arr|array|list|batch|raw|b|t|\d+))*$",
    re.IGNORECASE,
)
# Inputs of a target domain, which has no labels.
_DOMAIN: Final = re.compile(
    r"^(xs?|inputs?|images?|imgs?|data|features?|feats?|samples?|unlabell?ed)_(targets?|tgts?)",
    re.IGNORECASE,
)
# Words for what takes inputs and labels apart on purpose.
_MEANT: Final = re.compile(
    r"null|baseline|chance|control|corrupt|negativ|mismatch|unpair|unrelated|scrambl|marginal"
    r"|independ|permut\w*_?test|importance|ablat|memori[sz]"
    r"|(random|shuffled?)[_ ]?(labels?|targets?|y\b)",
    re.IGNORECASE,
)
_ALIKE: Final = frozenset("ones zeros full ones_like zeros_like full_like".split())
_DRAWN: Final = frozenset("randn rand randn_like rand_like normal uniform standard_normal".split())
# What gives two permutations the same numbers.
_SEEDED: Final = re.compile(r"seed|state|[gG]enerator|default_rng|Random\(")
_Found = tuple[syntax.stmt, str, tuple[str, str]]


class _Cut(NamedTuple):
    """Names that are cut alike, or handed on together; `loosely`, if it may be by
    chance, and not `each`, if these may be one example and its label."""

    statement: syntax.stmt
    names: dict[str, None]
    loosely: bool
    each: bool = True


@surveys
def parted(m: Machine, block: Block) -> None:
    """``parted`` of a statement that puts inputs or labels into a random order, alone."""
    modules = wording.modules(m, block)
    worth = [module for module in modules if _WORTH.search(module.text.text)]
    if not worth or not any(map(compares, modules)):
        return
    for module in worth:
        for node, function, names in wording.once(module, _found):
            place = Place(module, node, function)
            tell(block, "parted", place, name=names[0], other=names[1])


def _found(module: Module) -> tuple[_Found, ...]:
    return tuple(_in_module(module))


def _in_module(module: Module) -> Iterator[_Found]:
    for node in (module.tree, *statements_in(module.tree)):
        if not isinstance(
            node, syntax.Module | syntax.FunctionDef | syntax.AsyncFunctionDef | syntax.ClassDef
        ):
            continue
        name = getattr(node, "name", "")
        if not _WORTH.search(module.segment(node) if name else module.text.text):
            continue
        above = (
            "" if isinstance(node, syntax.Module) else wording.comments(module, node, node.lineno)
        )
        if _MEANT.search(f"{name} {_said(node)} {above}"):
            continue
        scope = scope_of(node)
        for statement, names in _in_scope(scope):
            meant = _MEANT.search(wording.comments(module, statement, _end(statement)))
            if not meant and not _is_asked_for(scope, statement, names[0]):
                yield statement, name, names


def _end(statement: syntax.stmt) -> int | None:
    return statement.lineno if isinstance(statement, syntax.For) else statement.end_lineno


def _said(node: Any) -> str:
    """The docstring of a definition."""
    first = node.body[0] if node.body else None
    told = getattr(getattr(first, "value", None), "value", None)
    return told if isinstance(first, syntax.Expr) and isinstance(told, str) else ""


def _in_scope(scope: Scope) -> Iterator[tuple[syntax.stmt, tuple[str, str]]]:
    cuts = list(_cuts(scope))
    if scope.put:
        for one, (statement, source, order) in scope.put.items():
            if order in scope.escaped - {""}:
                continue
            if _is_domain(scope, source):
                continue
            if source != one and (_is_label(source) or not _is_trained(scope, statement)):
                continue
            other = _partner(scope, one, cuts)
            if other:
                yield statement, (one, other)
    elif not scope.whole:
        yield from _cut_otherwise(scope)


def _cuts(scope: Scope) -> Iterator[_Cut]:
    """What is cut alike, or handed on together, where it is trained on."""
    alike: dict[str, _Cut] = {}
    for held in scope.statements:
        if id(held) in scope.tested:
            continue
        for part in wording.expressions(held):
            if isinstance(part, syntax.Subscript) and wording.name(part.value):
                if isinstance(part.slice, syntax.Slice | syntax.Name):
                    loosely = isinstance(part.slice, syntax.Name)
                    cut = alike.setdefault(syntax.unparse(part.slice), _Cut(held, {}, loosely))
                    cut.names[wording.name(part.value)] = None
            elif isinstance(part, syntax.Call) and wording.called(part) in _TOGETHER:
                loosely = wording.called(part) == "zip"
                yield _Cut(held, dict.fromkeys(_given(scope, held, part)), loosely)
        yield from _handed_on(scope, held)
    yield from alike.values()


def _given(scope: Scope, held: syntax.stmt, call: syntax.Call) -> Iterator[str]:
    """What a call is given: names, and what is put into an order only there, as it is written."""
    for one in map(_unsplit, call.args):
        name = wording.name(one)
        source, order = taken(scope, one)
        if source and not name:
            name = syntax.unparse(one)
            scope.put[name] = (held, source, order)
        yield name


def _is_trained(scope: Scope, statement: syntax.stmt) -> bool:
    """Whether what is made of another name is certainly there to be trained on."""
    calls = (wording.called(call) for call in wording.calls(statement))
    return scope.trains or "TensorDataset" in calls


def _unsplit(value: syntax.expr) -> syntax.expr:
    """A value, past what only cuts it into batches."""
    value = wording.bare(value)
    if isinstance(value, syntax.Call) and wording.called(value) in ("split", "chunk"):
        holder: Any = getattr(value.func, "value", value)
        return wording.bare(value.args[0] if wording.name(holder) == "torch" else holder)
    return value


def _handed_on(scope: Scope, held: syntax.stmt) -> Iterator[_Cut]:
    given = getattr(held, "value", None)
    given = given.value if isinstance(given, syntax.Yield) else given
    if isinstance(held, syntax.Return | syntax.Expr) and isinstance(given, syntax.Tuple):
        names = [wording.name(wording.bare(part)) for part in given.elts]
        known = scope.arguments()
        yield _Cut(held, dict.fromkeys(name for name in names if name in known), False, each=False)


def _partner(scope: Scope, one: str, cuts: list[_Cut]) -> str:
    """The name that goes with another one which was put into an order, and was not; '' for none."""
    statement, source, order = scope.put[one]
    paired = {
        name
        for name, (where, _, other) in scope.put.items()
        if name != one and (other == order != "" or where is statement)
    }
    for cut in cuts:
        names = list(dict.fromkeys(_first_name(scope, name, statement) for name in cut.names))
        behind = cut.statement.lineno > statement.lineno or scope.whole
        if (
            one not in names
            or not (behind or cut.statement is statement)
            or (cut.loosely and _is_label(one))
        ):
            continue
        if not _is_label(one) and any(not (_is_label(name) or name in scope.put) for name in names):
            continue  # the labels may be those of others, which are as they are stored
        for other in names:
            if other in ("", one, source) or not (_is_label(other) or _is_label(one)):
                continue
            if other in scope.put:
                if not paired and _is_apart(scope, one, other):
                    return other
            elif (
                cut.each
                and (_is_label(other) or not paired)
                and not _follows(scope, one, other, cut)
            ):
                return other
    return ""


def _first_name(scope: Scope, name: str, statement: syntax.stmt) -> str:
    """The name under which what a name stands for was known at a statement."""
    bound = [part for part in scope.mentions.get(name, ()) if name in part.bound]
    if len(bound) != 1 or bound[0].statement.lineno <= statement.lineno:
        return name
    value = bound[0].value
    return (wording.name(wording.bare(value)) if value is not None else "") or name


def _is_apart(scope: Scope, one: str, other: str) -> bool:
    """Whether two names are put into two orders that have nothing to do with one another."""
    first, _, order = scope.put[one]
    second, _, another = scope.put[other]
    if any(
        not _is_label(name) and (where is second or held == another != "")
        for name, (where, _, held) in scope.put.items()
        if _is_label(other) and name != one
    ):
        return False  # the labels have come with other inputs, and these belong to no labels
    assigned = isinstance(first, syntax.Assign) and isinstance(second, syntax.Assign)
    if not assigned or second.lineno <= first.lineno or (order == another != ""):
        return False
    if another in scope.escaped - {""}:
        return False
    begin = min([first.lineno, *(scope.orders[name].line for name in (order, another) if name)])
    between = (held for held in scope.statements if begin - 1 <= held.lineno <= second.lineno)
    return not any(_SEEDED.search(syntax.unparse(held)) for held in between)


def _follows(scope: Scope, one: str, other: str, cut: _Cut) -> bool:
    """Whether a name may be in the order of another one all the same: it is put into one, bound
    anew behind it, or made of what is in it."""
    statement, source, _ = scope.put[one]
    at_once = one not in scope.mentions  # put into order where it is handed on
    number = next(part.method for part in scope.mentions[source] if part.statement is statement)
    before = scope.whole or other in scope.arguments()
    for part in scope.mentions.get(other, ()):
        own = part.statement is statement
        ordered = bool(part.read & scope.orders.keys()) or (part.moves and not own)
        if other in part.read and ordered and not (own and at_once):
            return True
        ordered = ordered or id(part) in scope.mixed
        if other not in part.bound or _is_itself(part, other):
            continue
        line = part.statement.lineno
        here = line >= statement.lineno and part.method == number
        if isinstance(part.statement, syntax.For) and line > cut.statement.lineno:
            continue
        if here or ordered or (scope.whole and one in part.read):
            return True
        before = before or line < statement.lineno
    return not before or _is_idle(scope, source, other)


def _is_idle(scope: Scope, one: str, other: str) -> bool:
    """Whether labels are all the same, or inputs no more than random numbers, that nothing is made
    of: then no example has a label that is its own."""
    if any(part.value is not None and _is_made_by(part, _ALIKE) for part in _binding(scope, other)):
        return True
    made = _binding(scope, one)
    drawn = any(_is_made_by(part, _DRAWN) for part in made) and one not in scope.arguments()
    return drawn and not any(one in part.read for part in _binding(scope, other))


def _is_made_by(part: Part, makers: frozenset[str]) -> bool:
    value = None if part.value is None else wording.bare(part.value)
    if isinstance(value, syntax.BinOp) and isinstance(value.left, syntax.List):
        return makers is _ALIKE  # ``[0] * count``
    return isinstance(value, syntax.Call) and wording.called(value) in makers


def _is_itself(part: Part, name: str) -> bool:
    return part.value is not None and wording.name(wording.bare(part.value)) == name


def _cut_otherwise(scope: Scope) -> Iterator[tuple[syntax.stmt, tuple[str, str]]]:
    """Where inputs are taken by a part of a random order, and labels from the same part of the
    data as it is stored, and nothing else from there."""
    mixed: dict[str, str] = {}
    stored: dict[str, tuple[syntax.stmt, str]] = {}
    for held in scope.statements:
        for part in wording.expressions(held) if id(held) not in scope.tested else ():
            if not isinstance(part, syntax.Subscript):
                continue
            name, index = wording.name(part.value), syntax.unparse(part.slice)
            made = order_in(scope, part.slice)
            if name in scope.orders:
                continue
            if made is not None and made.text:
                mixed[name] = "" if made.root in scope.escaped else made.text
            elif isinstance(part.slice, syntax.Slice):
                stored[name] = (held, index)
    for name, (held, index) in stored.items():
        ordered = any(part.read & scope.orders.keys() for part in _binding(scope, name))
        if name in mixed or ordered or not _is_label(name):
            continue
        others = [one for one, text in mixed.items() if text == index and one]
        beside = [one for one, (_, text) in stored.items() if text == index and one != name]
        if others and not any(map(_is_label, others)) and all(map(_is_label, beside)):
            yield held, (others[0], name)


def _binding(scope: Scope, name: str) -> list[Part]:
    return [part for part in scope.mentions.get(name, ()) if name in part.bound]


def _is_asked_for(scope: Scope, statement: syntax.stmt, one: str) -> bool:
    """Whether a condition chooses labels without their inputs."""
    branches = [held for held in scope.statements if isinstance(held, syntax.If)]
    inside = any(
        held.lineno <= statement.lineno <= (held.end_lineno or held.lineno) for held in branches
    )
    return inside and _is_label(one)


def _is_domain(scope: Scope, name: str) -> bool:
    """Whether a name is of the target domain, beside a source domain that has labels."""
    return "target" in name.lower() and any(
        "source" in other.lower() and _is_label(other) for other in scope.mentions
    )


def _is_label(name: str) -> bool:
    last = name.rpartition(".")[2]
    return LABELS.search(last) is not None and not _DOMAIN.search(last)
