"""What a collective gives in vain: to a copy that nobody keeps, before it is there, or to one of
the two numbers of a ratio.

What is looked at is the text of one function: a collective of torch writes to the tensor that it is
given, and returns nothing, or a handle to wait for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_IN_PLACE: Final = frozenset({"all_reduce", "reduce", "broadcast"})
_SHARED: Final = _IN_PLACE | frozenset(
    "all_gather all_gather_into_tensor reduce_scatter reduce_scatter_tensor all_to_all "
    "all_to_all_single gather scatter".split()
)
_WORTH: Final = re.compile(rf"\b({'|'.join(sorted(_SHARED))})\(")
_HOLDER: Final = re.compile(r"(^|[._])dist(ributed)?$")
_FROM: Final = re.compile(r"from torch\.distributed import")
_RANK: Final = re.compile(r"rank|main|master|src|dst|root|local", re.IGNORECASE)
# What a copy may go through and be one still.
_CONVERTS: Final = frozenset("detach float double half to cpu cuda contiguous div mul".split())
_COPIES: Final = frozenset({"clone", "deepcopy"})
# What waits for all that is under way, and where handles are somebody else's affair.
_WAITS: Final = re.compile(r"\b(barrier|monitored_barrier|synchronize|wait\w*)\(")
_ELSEWHERE: Final = re.compile(r"coalesc|stream", re.IGNORECASE)
_WORLD: Final = re.compile(
    r"world|get_world_size|n_?proc|nranks|replicas|num_(ranks|workers|gpus)|ngpus|devices|AVG",
    re.IGNORECASE,
)
_BROUGHT: Final = re.compile(r"gather|reduce|sync|average", re.IGNORECASE)
_SIMPLE: Final = frozenset("item float int max clamp clamp_min clamp_ sum cpu detach".split())
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@final
@dataclass(frozen=True, slots=True)
class Found:
    """What a collective does in vain, at which call or division, and the names that matter."""

    what: str
    at: syntax.expr
    name: str
    other: str = ""


@surveys
def collected(m: Machine, block: Block) -> None:
    """``in_a_copy``, ``unwaited`` and ``half_reduced`` of collectives."""
    for module, one in wording.found(block, _WORTH, _in_module):
        place = Place(module, one.at, title_around(module.tree, one.at.lineno))
        tell(block, one.what, place, name=one.name, other=one.other)


def _in_module(module: Module) -> Iterator[Found]:
    bare = bool(_FROM.search(module.text.text))
    for scope in (module.tree, *statements_in(module.tree)):
        if isinstance(scope, syntax.Module | syntax.FunctionDef | syntax.AsyncFunctionDef):
            calls = list(_collectives(scope.body, bare, (False, False)))
            if calls:
                yield from _in_a_copy(scope, calls)
                yield from _unwaited(module, scope, calls)
                yield from _half_reduced(module, scope, calls)


@final
@dataclass(frozen=True, slots=True)
class _Call:
    """A collective: its statement, whether that is under a condition on the rank, and whether
    somebody else looks after its handle."""

    call: syntax.Call
    statement: syntax.stmt
    one_sided: bool
    elsewhere: bool

    @property
    def given(self) -> syntax.expr | None:
        """The tensor that it writes to."""
        if self.call.args:
            return self.call.args[0]
        return next((one.value for one in self.call.keywords if one.arg == "tensor"), None)

    @property
    def adds(self) -> bool:
        """Whether it adds up what all ranks have."""
        how = [one.value for one in self.call.keywords if one.arg == "op"]
        at = 2 if wording.called(self.call) == "reduce" else 1
        how += self.call.args[at : at + 1]
        return all(wording.name(one).endswith("SUM") for one in how)


def _collectives(body: list[syntax.stmt], bare: bool, around: tuple[bool, bool]) -> Iterator[_Call]:
    for one in body:
        if isinstance(one, (*_DEFINES, syntax.ClassDef)):
            continue
        for call in wording.calls(one):
            holder, _, last = wording.name(call.func).rpartition(".")
            known = _HOLDER.search(holder) if holder else bare
            if known and last in _SHARED:
                yield _Call(call, one, *around)
        inside = around
        if isinstance(one, syntax.If | syntax.While):
            inside = (around[0] or bool(_RANK.search(syntax.unparse(one.test))), around[1])
        elif isinstance(one, syntax.With | syntax.AsyncWith):
            text = " ".join(syntax.unparse(item.context_expr) for item in one.items)
            inside = (around[0], around[1] or bool(_ELSEWHERE.search(text)))
        for part in ("body", "orelse", "finalbody"):
            yield from _collectives(getattr(one, part, None) or [], bare, inside)
        for handler in getattr(one, "handlers", ()):
            yield from _collectives(handler.body, bare, inside)


def _in_a_copy(scope: Any, calls: list[_Call]) -> Iterator[Found]:
    """Collectives that write to a copy, which is given up, or only changed in place, after it."""
    for one in calls:
        operation, given = wording.called(one.call), one.given
        if operation not in _IN_PLACE or given is None:
            continue
        if one.one_sided and operation != "all_reduce":
            continue  # who gives may give a copy
        if _is_copy(given) or _is_reckoned(given):
            yield Found("in_a_copy", one.call, syntax.unparse(given))
        elif isinstance(given, syntax.Name) and _is_given_up(scope, given.id, one.call):
            yield Found("in_a_copy", one.call, given.id)


def _is_copy(value: Any) -> bool:
    """Whether an expression makes a copy of a tensor that has a name."""
    while isinstance(value, syntax.Call) and wording.called(value) in _CONVERTS:
        value = getattr(value.func, "value", None)
    if isinstance(value, syntax.BinOp) and isinstance(value.op, syntax.Div | syntax.Mult):
        return _is_copy(value.left)
    if wording.called(value) not in _COPIES:
        return False
    holder = getattr(value.func, "value", None)
    copied = value.args[0] if value.args else holder
    return bool(wording.name(copied)) or wording.called(copied) == "detach"


def _is_reckoned(value: Any) -> bool:
    """Whether an expression is made anew of something that has a name, like ``gradient / 2``."""
    return isinstance(value, syntax.BinOp) and bool(wording.name(value.left))


def _is_given_up(scope: Any, name: str, call: syntax.Call) -> bool:
    """Whether a name is only ever bound to copies, and read for nothing but to change them."""
    bound = [
        value
        for one in wording.own(scope.body)
        for other, value in wording.pairs(one)
        if other == name
    ]
    bindings = sum(name in wording.bound(one) for one in wording.own(scope.body))
    augmented = [
        one
        for one in wording.own(scope.body)
        if isinstance(one, syntax.AugAssign) and wording.name(one.target) == name
    ]
    fresh = [one for one in bound if name not in wording.names(one)]
    if not fresh or bindings != len(bound) + len(augmented) or not all(map(_is_copy, fresh)):
        return False
    harmless = {id(part) for one in bound if one not in fresh for part in syntax.walk(one)}
    harmless |= {id(part) for part in syntax.walk(call)}
    for one in wording.own(scope.body):
        changed = one.value if isinstance(one, syntax.Expr) else None
        if isinstance(changed, syntax.Call) and wording.called(changed).endswith("_"):
            harmless.add(id(getattr(changed.func, "value", None)))
    reads = [
        one
        for one in syntax.walk(scope)
        if isinstance(one, syntax.Name) and one.id == name and isinstance(one.ctx, syntax.Load)
    ]
    return all(id(one) in harmless for one in reads)


def _unwaited(module: Module, scope: Any, calls: list[_Call]) -> Iterator[Found]:
    """Collectives that go on in the background, for which nothing in the function waits."""
    for one in calls:
        if one.elsewhere or not any(_is_true(word, "async_op") for word in one.call.keywords):
            continue
        dropped = isinstance(one.statement, syntax.Expr) and one.statement.value is one.call
        kept = [name for name, value in wording.pairs(one.statement) if value is one.call]
        if kept and "." not in kept[0]:
            dropped = not any(
                isinstance(part, syntax.Name)
                and part.id == kept[0]
                and isinstance(part.ctx, syntax.Load)
                for part in syntax.walk(module.tree)
            )
        if dropped and not _WAITS.search(_text(module, scope, one.call.lineno)):
            given = one.given
            yield Found("unwaited", one.call, "" if given is None else syntax.unparse(given))


def _is_true(word: syntax.keyword, name: str) -> bool:
    return word.arg == name and getattr(word.value, "value", None) is True


def _text(module: Module, scope: Any, first: int) -> str:
    """The text of a function from a line on."""
    last = getattr(scope, "end_lineno", None) or len(module.text.lines)
    return "\n".join(module.text.lines[first - 1 : last])


def _half_reduced(module: Module, scope: Any, calls: list[_Call]) -> Iterator[Found]:
    """Divisions of a number that all ranks have added up by one that is this rank's own, or the
    other way round, where both were counted in one loop."""
    added = {
        wording.name(one.given): one.call
        for one in calls
        if wording.called(one.call) in ("all_reduce", "reduce") and one.adds and one.given
    }
    added.pop("", None)
    first = min((one.lineno for one in added.values()), default=0)
    if not added or _WORLD.search(_text(module, scope, first)):
        return
    counted = _counted(scope)
    for one in wording.own(scope.body):
        for part in wording.expressions(one):
            if not isinstance(part, syntax.BinOp) or not isinstance(part.op, syntax.Div):
                continue
            names = (_number(part.left), _number(part.right))
            for ours, own in (names, names[::-1]):
                if ours not in added or own in added or part.lineno <= added[ours].lineno:
                    continue
                together = counted.get(ours, set()) & counted.get(own, set())
                if together and not _is_brought(scope, own):
                    yield Found("half_reduced", part, ours, own)


def _counted(scope: Any) -> dict[str, set[int]]:
    """By name the loops, by where they begin, in which something is added to it."""
    found: dict[str, set[int]] = {}
    for loop in wording.own(scope.body):
        if isinstance(loop, syntax.For | syntax.AsyncFor | syntax.While):
            for one in wording.own(loop.body):
                if isinstance(one, syntax.AugAssign) and isinstance(one.op, syntax.Add):
                    found.setdefault(wording.name(one.target), set()).add(loop.lineno)
    found.pop("", None)
    return found


def _is_brought(scope: Any, name: str) -> bool:
    """Whether something else may bring a number of this rank's together with others', or replaces
    it once it is counted."""
    own = list(wording.own(scope.body))
    counted = [
        one.lineno
        for one in own
        if isinstance(one, syntax.AugAssign) and wording.name(one.target) == name
    ]
    if any(
        name in wording.bound(one) and not isinstance(one, syntax.AugAssign)
        for one in own
        if one.lineno > min(counted)
    ):
        return True
    return any(
        _BROUGHT.search(wording.called(call)) and name in wording.names(call)
        for one in own
        for call in wording.calls(one)
    )


def _number(value: Any) -> str:
    """The name of a number, without what makes a plain one of it or keeps it from nought."""
    while True:
        if wording.name(value):
            return wording.name(value)
        if isinstance(value, syntax.Call) and wording.called(value) in _SIMPLE:
            named = isinstance(value.func, syntax.Name)
            first = value.args[0] if value.args else None
            value = first if named else getattr(value.func, "value", None)
        elif isinstance(value, syntax.BinOp) and isinstance(value.right, syntax.Constant):
            value = value.left
        else:
            return ""
