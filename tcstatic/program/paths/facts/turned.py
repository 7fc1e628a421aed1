"""Layers that take the first dimension for the places of a sequence, and whose output is read, or
reduced, as if that were the examples of a batch.

What is looked at is the text of one class, or function: how a layer is made, and which dimension of
what it gives is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from tcstatic.program.paths.facts import written
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

# The position at which each layer takes batch_first.
_LAYERS: Final = {
    "RNN": 5,
    "LSTM": 4,
    "GRU": 4,
    "TransformerEncoderLayer": 6,
    "TransformerDecoderLayer": 6,
    "MultiheadAttention": 8,
}
_STACKS: Final = frozenset({"TransformerEncoder", "TransformerDecoder"})
_RECURRENT: Final = frozenset({"RNN", "LSTM", "GRU"})
_WORTH: Final = re.compile(r"\b(RNN|LSTM|GRU|Transformer(En|De)coderLayer|MultiheadAttention)\(")
_SHAPED: Final = re.compile(r"\b(unsqueeze|view|reshape)\(|\bNone\b")
_REDUCES: Final = frozenset("mean sum max amax min amin logsumexp".split())
_Found = tuple[syntax.stmt, str, tuple[str, int]]
_known: WeakKeyDictionary[Module, tuple[_Found, ...]] = WeakKeyDictionary()


@surveys
def turned(m: Machine, block: Block) -> None:
    """``turned`` of the statement that makes such a layer."""
    every = happenings(block)
    if not any(one.kind == "loss.backward" for one in every):
        return
    for module in dict.fromkeys(one.place.module for one in every):
        known = _known.get(module)
        if known is None:
            known = tuple(_in_module(module)) if _WORTH.search(module.text.text) else ()
            _known[module] = known
        for statement, function, (name, line) in known:
            place = Place(module, statement, function)
            tell(block, "turned", place, name=name, read=line)


def _in_module(module: Module) -> Iterator[_Found]:
    for node in (module.tree, *statements_in(module.tree)):
        if isinstance(node, syntax.ClassDef):
            methods = [one for one in node.body if isinstance(one, syntax.FunctionDef)]
            bodies = [list(written.own(one.body)) for one in methods]
        elif isinstance(node, syntax.Module | syntax.FunctionDef):
            bodies = [list(written.own(node.body))]
        else:
            continue
        in_class = isinstance(node, syntax.ClassDef)
        made = _made(module, [one for body in bodies for one in body], in_class=in_class)
        for body in bodies if made else ():
            for name, line in _read(body, {name: kind for name, (_, kind) in made.items()}):
                yield made[name][0], getattr(node, "name", ""), (made[name][1], line)


def _made(
    module: Module, statements: Sequence[syntax.stmt], *, in_class: bool
) -> dict[str, tuple[syntax.stmt, str]]:
    """The layers that are made sequence first, by the name that each is kept under."""
    found: dict[str, tuple[syntax.stmt, str]] = {}
    doubtful: set[str] = set()
    parts: dict[str, tuple[syntax.stmt, str]] = {}
    for statement in statements:
        for name, value in written.pairs(statement):
            kind = written.called(value)
            if kind in _STACKS and isinstance(value, syntax.Call) and value.args:
                inner = value.args[0]
                made = _kind(module, inner)
                held = parts.get(written.name(inner), (statement, made))
                statement_of, kind = held if held[1] else (statement, "")
            else:
                statement_of, kind = statement, _kind(module, value)
            if kind:
                parts[name] = (statement_of, kind)
            if kind and name.startswith("self.") == in_class and name not in found:
                found[name] = (statement_of, kind)
            elif not kind:
                doubtful.add(name)
    return {name: held for name, held in found.items() if name not in doubtful}


def _kind(module: Module, value: Any) -> str:
    """Which of torch's layers a call makes, sequence first; '' for all others."""
    kind = written.called(value)
    if kind not in _LAYERS or not isinstance(value, syntax.Call):
        return ""
    holder = written.name(getattr(value.func, "value", None))
    imported = rf"from torch\.nn(\.modules\.\w+)? import [^#\n]*\b{kind}\b"
    if holder not in ("nn", "torch.nn") and not re.search(imported, module.text.text):
        return ""
    told = [one for one in value.keywords if one.arg in (None, "batch_first")]
    starred = any(isinstance(one, syntax.Starred) for one in value.args)
    if starred or len(value.args) > _LAYERS[kind]:
        return ""
    first = all(isinstance(one.value, syntax.Constant) and not one.value.value for one in told)
    return kind if first else ""


def _read(body: Iterable[syntax.stmt], kinds: dict[str, str]) -> Iterator[tuple[str, int]]:
    """The layers whose output is read batch first, each with the line that does so."""
    outputs: dict[str, str] = {}
    for statement in body:
        for one in written.expressions(statement):
            layer = _layer_of(_held(one), outputs, kinds)
            if layer and _leaves_second(one, recurrent=kinds[layer] in _RECURRENT):
                yield layer, statement.lineno
        bound = written.bound(statement)
        outputs = {name: layer for name, layer in outputs.items() if name not in bound}
        target = _output(statement)
        layer = written.name(getattr(_called_layer(statement, kinds), "func", None))
        if target and layer:
            outputs[target] = layer


def _held(one: syntax.AST) -> Any:
    """What an expression takes a part of, or reduces."""
    if isinstance(one, syntax.Subscript):
        return one.value
    if isinstance(one, syntax.Call) and written.called(one) in _REDUCES:
        holder = getattr(one.func, "value", None)
        return one.args[0] if written.name(holder) == "torch" and one.args else holder
    return None


def _layer_of(held: Any, outputs: dict[str, str], kinds: dict[str, str]) -> str:
    """The layer whose output an expression is."""
    if isinstance(held, syntax.Subscript) and _constant(held.slice) == 0:
        held = held.value if isinstance(held.value, syntax.Call) else None
        return _if_known(written.name(getattr(held, "func", None)), kinds)
    if isinstance(held, syntax.Call):
        name = _if_known(written.name(held.func), kinds)
        return name if name and kinds[name].startswith("Transformer") else ""
    return outputs.get(written.name(held), "")


def _if_known(name: str, kinds: dict[str, str]) -> str:
    return name if name in kinds else ""


def _leaves_second(one: syntax.AST, *, recurrent: bool) -> bool:
    """Whether the second of three dimensions goes, and the first stays."""
    if isinstance(one, syntax.Subscript):
        parts = one.slice.elts if isinstance(one.slice, syntax.Tuple) else []
        if recurrent or len(parts) not in (2, 3):
            return False  # ``[:, -1]`` of a recurrent layer is a rule of its own
        rest = [syntax.unparse(part) for part in (parts[0], *parts[2:])]
        return set(rest) == {":"} and _constant(parts[1]) is not None
    if not isinstance(one, syntax.Call):
        return False
    given = [keyword.value for keyword in one.keywords if keyword.arg in ("dim", "axis")]
    plain = one.args[1:] if written.name(getattr(one.func, "value", None)) == "torch" else one.args
    return [_constant(value) for value in (*given, *plain)][:1] == [1]


def _constant(node: Any) -> int | None:
    """A whole number that is written out."""
    sign = 1
    if isinstance(node, syntax.UnaryOp) and isinstance(node.op, syntax.USub):
        node, sign = node.operand, -1
    value = getattr(node, "value", None)
    plain = isinstance(node, syntax.Constant) and type(value) is int
    return sign * int(str(value)) if plain else None


def _called_layer(statement: syntax.stmt, kinds: dict[str, str]) -> syntax.Call | None:
    """The call of a layer that a statement binds the output of."""
    value = getattr(statement, "value", None)
    if isinstance(value, syntax.Subscript) and _constant(value.slice) == 0:
        value = value.value
    if not isinstance(value, syntax.Call) or written.name(value.func) not in kinds:
        return None
    # One sequence of its own may be made a batch, of whichever kind.
    shaped = any(_SHAPED.search(syntax.unparse(one)) for one in value.args)
    return None if shaped else value


def _output(statement: syntax.stmt) -> str:
    """The name that a statement binds to the output of a layer, not to its state."""
    if not isinstance(statement, syntax.Assign) or len(statement.targets) != 1:
        return ""
    target = statement.targets[0]
    if isinstance(target, syntax.Tuple):
        return written.name(target.elts[0]) if target.elts else ""
    called = written.name(getattr(statement.value, "func", None))
    return written.name(target) if called or isinstance(statement.value, syntax.Subscript) else ""
