"""What a function's text says of random orders: where they are made, and what is put into them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, final

from tcstatic.program.paths import wording
from tcstatic.program.source import syntax

_ORDERS: Final = frozenset({"randperm", "permutation"})
_COUNTS: Final = frozenset({"arange", "range", "list"})
_PARTS: Final = frozenset("array_split batched enumerate iter tqdm chunk split".split())
_MOVES: Final = frozenset({"shuffle", "index_select", "take", *_ORDERS})
_READS: Final = frozenset({"len", "print", "range", "index_select", "take", *_PARTS})
_UNTRACKED: Final = re.compile(r"\b(no_grad|inference_mode)\b")
Definition = syntax.Module | syntax.FunctionDef | syntax.AsyncFunctionDef | syntax.ClassDef


class Order(NamedTuple):
    """A random order, or a part of one: the name it was first bound to ('' for none), the text of
    the part, the line."""

    root: str
    text: str
    line: int


class Part(NamedTuple):
    """A statement, or one value of a tuple that it binds: the names that are read and bound, and
    whether something is moved. `method` is the number of the body that it stands in."""

    statement: syntax.stmt
    method: int
    read: frozenset[str]
    bound: frozenset[str]
    value: syntax.expr | None
    moves: bool


@final
@dataclass(slots=True)
class Scope:
    """One function, the statements of a module, or all methods of a class, which run in any order
    (`whole`).

    `put` are the names that were put into an order, each with the statement, the name that the
    items were taken from, and the order ('' for one of its own). `mixed` are the parts that use
    what was made with the help of an order, `escaped` orders that others may use as well, `tested`
    the statements that no training reads, `rounds` the names of what a loop goes through.
    """

    node: Definition
    bodies: list[list[syntax.stmt]]
    whole: bool = False
    statements: list[syntax.stmt] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    put: dict[str, tuple[syntax.stmt, str, str]] = field(default_factory=dict)
    mentions: dict[str, list[Part]] = field(default_factory=dict)
    mixed: set[int] = field(default_factory=set)
    rounds: set[str] = field(default_factory=set)
    escaped: set[str] = field(default_factory=set)
    tested: set[int] = field(default_factory=set)
    trains: bool = False

    def arguments(self) -> set[str]:
        """The parameters of a function."""
        held = getattr(self.node, "args", None)
        if held is None:
            return set()
        return {one.arg for one in (*held.posonlyargs, *held.args, *held.kwonlyargs)}


def scope_of(node: Definition) -> Scope:
    """A definition with all that is said of random orders in it."""
    if isinstance(node, syntax.ClassDef):
        bodies = [one.body for one in node.body if isinstance(one, syntax.FunctionDef)]
    else:
        bodies = [node.body]
    scope = Scope(node, bodies, isinstance(node, syntax.ClassDef))
    scope.statements = [one for body in bodies for one in wording.own(body)]
    loops = (one for one in scope.statements if isinstance(one, syntax.For))
    scope.rounds = {name for one in loops for name in wording.bound(one)}
    parts = scope.parts = _all_parts(scope)
    for part in parts:
        for name in part.read | part.bound:
            scope.mentions.setdefault(name, []).append(part)
    for statement in scope.statements:
        _note(scope, statement)
    mixed: set[str] = set()
    for part in parts:
        if part.read & (scope.orders.keys() | mixed):
            scope.mixed.add(id(part))
            mixed |= part.bound - scope.orders.keys()
    for statement in scope.statements if scope.orders else ():
        scope.escaped.update(_escaping(scope, statement))
    for body in bodies:
        _note_tests(scope, body)
    return scope


def _all_parts(scope: Scope) -> list[Part]:
    """The parts of all statements, in order."""
    return [
        part
        for number, body in enumerate(scope.bodies)
        for statement in wording.own(body)
        for part in _parts(statement, number)
    ]


def _parts(statement: syntax.stmt, number: int) -> Iterator[Part]:
    target = statement.targets[0] if isinstance(statement, syntax.Assign) else None
    value = getattr(statement, "value", None)
    if isinstance(target, syntax.Tuple) and isinstance(value, syntax.Tuple):
        for one, held in zip(target.elts, value.elts, strict=False):
            inside = [*syntax.walk(one), *syntax.walk(held)]
            bound = frozenset({wording.name(one)} - {""})
            yield Part(statement, number, _read(inside), bound, held, _moves(inside))
        return
    inside = list(wording.expressions(statement))
    bound = frozenset(wording.bound(statement) - {""})
    plain = isinstance(statement, syntax.Assign | syntax.AnnAssign)
    yield Part(statement, number, _read(inside), bound, value if plain else None, _moves(inside))


def _read(inside: list[syntax.AST]) -> frozenset[str]:
    kept = (one for one in inside if not isinstance(getattr(one, "ctx", None), syntax.Store))
    return frozenset(map(wording.name, kept)) - {""}


def _moves(inside: list[syntax.AST]) -> bool:
    return any(isinstance(one, syntax.Call) and wording.called(one) in _MOVES for one in inside)


def _note(scope: Scope, statement: syntax.stmt) -> None:
    """Note what a statement puts into order, and which order it makes."""
    for target, value in wording.pairs(statement):
        made = order_in(scope, value)
        if made is not None:
            root = made.root or ("" if made.text else target)
            scope.orders[target] = Order(root, made.text, made.line or statement.lineno)
        source, order = taken(scope, value)
        if source and ("self." in target) == scope.whole and target not in scope.put:
            scope.put[target] = (statement, source, order)
    if isinstance(statement, syntax.For) and isinstance(statement.target, syntax.Tuple):
        made = order_in(scope, statement.iter)
        if made is not None:
            scope.orders.update({one: made for one in wording.bound(statement)})
    held = _shuffled(statement)
    if not held:
        return
    if _is_count(scope, held):
        scope.orders[held] = Order(held, "", statement.lineno)
    else:
        scope.put[held] = (statement, held, "")


def _shuffled(statement: syntax.stmt) -> str:
    """The name whose items a statement shuffles where they are: ``random.shuffle(x)``."""
    call = getattr(statement, "value", None)
    if not isinstance(statement, syntax.Expr) or not isinstance(call, syntax.Call):
        return ""
    if wording.called(call) != "shuffle" or len(call.args) != 1 or not _is_first(call.keywords):
        return ""
    return wording.name(call.args[0])


def _is_first(keywords: list[syntax.keyword]) -> bool:
    """Whether keywords say no more than that it is the first axis."""
    return all(
        one.arg in ("axis", "dim") and getattr(one.value, "value", None) == 0 for one in keywords
    )


def order_in(scope: Scope, value: syntax.expr) -> Order | None:
    """The order that a value is, or is a part of."""
    value = wording.bare(value)
    if isinstance(value, syntax.Call):
        name = wording.called(value)
        if name in _ORDERS and _is_of_number(scope, value):
            return Order("", "", 0)
        holder = getattr(value.func, "value", None)
        if name in _PARTS:
            held = [one for one in (holder, *value.args[:1]) if one is not None]
            return next((one for part in held if (one := _part(scope, part, "split"))), None)
    if isinstance(value, syntax.Subscript):
        return _part(scope, value.value, syntax.unparse(value.slice))
    return scope.orders.get(wording.name(value))


def _part(scope: Scope, holder: syntax.expr, text: str) -> Order | None:
    known = scope.orders.get(wording.name(holder))
    if known is None and isinstance(holder, syntax.Call | syntax.Subscript):
        known = order_in(scope, holder)
    return None if known is None else known._replace(text=text)


def _is_of_number(scope: Scope, call: syntax.Call) -> bool:
    """Whether the order is one of positions: numpy's ``permutation`` also takes the data itself."""
    given = call.args[0] if call.args else None
    if wording.called(call) == "randperm" or given is None:
        return True
    return not wording.name(given) or not _is_data(scope, wording.name(given))


def _is_data(scope: Scope, name: str) -> bool:
    """Whether a name is cut or indexed somewhere, as no number is."""
    return any(
        isinstance(one, syntax.Subscript) and wording.name(one.value) == name
        for part in scope.mentions.get(name, ())
        for one in wording.expressions(part.statement)
    )


def _is_count(scope: Scope, name: str) -> bool:
    """Whether a name is bound to positions, or is what others are indexed by."""
    for part in scope.mentions.get(name, ()):
        for target, value in wording.pairs(part.statement):
            if target == name and isinstance(wording.bare(value), syntax.Call):
                return wording.called(wording.bare(value)) in _COUNTS
        for one in wording.expressions(part.statement):
            if isinstance(one, syntax.Subscript) and name in wording.names(one.slice):
                return True
    return False


def taken(scope: Scope, value: syntax.expr) -> tuple[str, str]:
    """The name whose items a value takes in some random order, and that order's name; '' for none.

    ``x[order]``, ``x[torch.randperm(n)]``, ``x.index_select(0, order)``, ``[x[i] for i in order]``
    """
    value = wording.bare(value)
    held: Any = None
    index: Any = None
    if isinstance(value, syntax.Subscript):
        held, index = value.value, value.slice
        index = index.elts[0] if isinstance(index, syntax.Tuple) and index.elts else index
    elif isinstance(value, syntax.Call) and wording.called(value) in ("index_select", "take"):
        held, index = _selected(scope, value)
    elif isinstance(value, syntax.ListComp) and isinstance(value.elt, syntax.Subscript):
        held, index = value.elt.value, value.generators[0].iter
    order = whole(scope, index)
    held = wording.name(wording.bare(held)) if held is not None else ""
    return ("", "") if order is None or not held else (held, order)


def _selected(scope: Scope, call: syntax.Call) -> tuple[Any, Any]:
    """What ``index_select`` or ``take`` takes items of, and which; nothing where these are not
    along the first dimension."""
    parts: list[Any] = [getattr(call.func, "value", None), *call.args]
    parts += [one.value for one in call.keywords]
    numbers = [one for one in parts if isinstance(one, syntax.Constant | syntax.UnaryOp)]
    if any(getattr(one, "value", None) != 0 for one in numbers):
        return None, None
    index = next((one for one in parts if whole(scope, one) is not None), None)
    held = next((one for one in parts if one is not index and wording.name(one)), None)
    return held, index


def whole(scope: Scope, index: Any) -> str | None:
    """The name of a whole random order that an index is, '' for one of its own, None for others."""
    made = order_in(scope, index) if isinstance(index, syntax.expr) else None
    return None if made is None or made.text else made.root


def _escaping(scope: Scope, statement: syntax.stmt) -> Iterator[str]:
    """The orders that a statement gives to what is not known, keeps, or indexes something with
    that has no name."""
    if isinstance(statement, syntax.FunctionDef | syntax.AsyncFunctionDef | syntax.ClassDef):
        yield from _used_within(scope, statement)
        return
    indices = set()
    for one in wording.expressions(statement):
        parts: list[Any] = []
        if isinstance(one, syntax.Subscript):
            indices.add(one.slice)
            name = wording.name(wording.bare(one.value))
            known = name and (name not in scope.rounds or name in scope.put)
            parts = [] if known else [one.slice]
        elif isinstance(one, syntax.Call) and wording.called(one) not in _READS:
            given = [*one.args, *(held.value for held in one.keywords)]
            parts = given if wording.bare(one) is one else []
        elif isinstance(one, syntax.Dict):
            parts = list(one.values)
        elif isinstance(one, syntax.Yield):
            parts = [one.value]
        elif isinstance(one, syntax.Tuple | syntax.List) and one not in indices:
            parts = list(one.elts) if isinstance(one.ctx, syntax.Load) else []
        yield from _roots(scope, parts)
    if isinstance(statement, syntax.Return) or _is_kept(scope, statement):
        yield from _roots(scope, [getattr(statement, "value", None)])


def _is_kept(scope: Scope, statement: syntax.stmt) -> bool:
    """Whether a statement stores what it has where others may find it."""
    if not isinstance(statement, syntax.Assign):
        return False
    name = wording.name(statement.targets[0])
    return not name or ("." in name and not scope.whole)


def _used_within(scope: Scope, definition: syntax.stmt) -> Iterator[str]:
    """The orders that a function within may use."""
    inside = [one for one in syntax.walk(definition) if isinstance(one, syntax.Name)]
    bound = {one.id for one in inside if isinstance(one.ctx, syntax.Store)}
    for one in inside:
        if one.id in scope.orders and one.id not in bound:
            yield scope.orders[one.id].root


def _roots(scope: Scope, parts: list[Any]) -> Iterator[str]:
    for part in parts:
        held = part.value if isinstance(part, syntax.Starred) else part
        known = scope.orders.get(wording.name(wording.bare(held))) if held is not None else None
        if known is not None:
            yield known.root


def _note_tests(scope: Scope, body: list[syntax.stmt]) -> None:
    """Note the statements that no training reads: without gradients, or, where this is what
    trains, behind the last loop that does."""
    every = list(wording.own(body))
    steps = [one.lineno for one in every if any(map(_is_backward, wording.calls(one)))]
    scope.trains = scope.trains or bool(steps)
    loops = [_lines(one) for one in every if isinstance(one, syntax.For | syntax.While)]
    ends = [last for first, last in loops if any(first <= step <= last for step in steps)]
    end = max([*steps, *ends], default=None)
    tests = [
        _lines(one)
        for one in every
        if isinstance(one, syntax.With)
        and any(_UNTRACKED.search(syntax.unparse(held.context_expr)) for held in one.items)
    ]
    scope.tested |= {
        id(one)
        for one in every
        if (end is not None and one.lineno > end)
        or any(first <= one.lineno <= last for first, last in tests)
    }


def _lines(one: syntax.stmt) -> tuple[int, int]:
    return one.lineno, one.end_lineno or one.lineno


def _is_backward(call: syntax.Call) -> bool:
    return wording.called(call).endswith("backward")
