"""Losses that are summed up, or listed, over the steps of training together with their graphs.

What is looked at is the text of the loop around a backward: what is done with its loss besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import function_around, statements_in
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

# Methods whose result has the graph of what they are called on.
_KEEPS: Final = frozenset("mean sum clone cpu cuda to float double".split())
_ARITHMETIC: Final = (syntax.Add, syntax.Sub, syntax.Mult, syntax.Div)
_UNRECORDED: Final = frozenset({"no_grad", "inference_mode", "set_grad_enabled"})
# What takes things out of a list, or replaces them.
_TAKES: Final = frozenset({"pop", "popleft", "clear", "remove", "detach_"})
# Turns that are few for each call of a function: those over what was collected last.
_FEW: Final = re.compile(
    r"ppo|^k_?epochs?$|critic|inner|update_(epoch|iter|step)s?$", re.IGNORECASE
)
_SHORT: Final = 8
_MAKES_LISTS: Final = frozenset({"list", "defaultdict"})


@surveys
def kept(m: Machine, block: Block) -> None:
    """``kept_with_graph`` of a statement that adds a loss to a total, or to a list, in each step,
    when the loss itself is what goes back."""
    told: set[int] = set()
    for one in happenings(block):
        if one.kind != "loss.backward" or not one.facts.get("in_training_loop"):
            continue
        name = _loss(one)
        if not name or id(one.place.node) in told:
            continue
        told.add(id(one.place.node))
        found = _Around(one.place)
        for statement, holder in (
            found.keepers(name) if found.is_step and not found.is_short else ()
        ):
            place = Place(one.place.module, statement, one.place.function)
            tell(block, "kept_with_graph", place, name=holder, kept=name)


def _loss(one: Happening) -> str:
    """The name of the loss whose backward a call is; '' where its graph is kept on purpose."""
    call = one.place.node
    if not isinstance(call, syntax.Call) or wording.called(call) != "backward":
        return ""
    if any(given.arg in ("retain_graph", "create_graph", None) for given in call.keywords):
        return ""
    held = wording.name(getattr(call.func, "value", None))
    given = call.args[0] if call.args else None
    if given is None and not held:
        given = _scaled(getattr(call.func, "value", None))
    return wording.name(given) if given is not None else held


def _scaled(value: Any) -> syntax.expr | None:
    """What ``scaler.scale(loss)`` is given."""
    scaled = wording.called(value) == "scale" and isinstance(value, syntax.Call)
    return value.args[0] if scaled and len(value.args) == 1 else None


@final
class _Around:
    """The loop around a backward, and the function around that.

    `_scope` and its `_statements` are those of the function, `_loop` is the innermost loop, None
    where there is none, `_line` that of the backward."""

    def __init__(self, place: Place) -> None:
        line = place.node.lineno
        self._scope = function_around(place.module.tree, line) or place.module.tree
        self._statements = list(wording.own(self._scope.body))
        around = [one for one in self._statements if _is_loop(one) and _spans(one, line)]
        self._loop: Any = around[-1] if around else None
        self._line = line
        self._module = place.module
        # The loops around the innermost one that step as well: a turn of them is one of training.
        self._outer: list[Any] = [one for one in around[:-1] if self._steps(one)]

    def _steps(self, loop: Any) -> bool:
        last = range(self._loop.lineno, (self._loop.end_lineno or self._loop.lineno) + 1)
        calls = (
            call
            for one in wording.own(loop.body)
            if one.lineno not in last
            for call in wording.calls(one)
        )
        return any(wording.called(call) == "step" for call in calls)

    @property
    def is_step(self) -> bool:
        """Whether each turn of the loop takes a step: it is no loop over parts of one."""
        calls = (call for one in self._inside() for call in wording.calls(one))
        return any(wording.called(call) == "step" for call in calls)

    @property
    def is_short(self) -> bool:
        """Whether the loop has a few turns, by what it goes over."""
        over = getattr(self._loop, "iter", None)
        if wording.called(over) != "range" or not isinstance(over, syntax.Call):
            return False
        words = {part for name in wording.names(over) for part in name.split(".")}
        if any(_FEW.search(word) for word in words):
            return True
        return all(self._is_small(one) for one in over.args)

    def _is_small(self, value: syntax.expr) -> bool:
        """Whether a number is small, as it is written, or as an argument is if it is not given."""
        number: Any = value
        taken = getattr(self._scope, "args", None)
        if taken is not None and isinstance(value, syntax.Name):
            last = [*taken.args[len(taken.args) - len(taken.defaults) :], *taken.kwonlyargs]
            defaults = zip(last, [*taken.defaults, *taken.kw_defaults], strict=True)
            number = {one.arg: default for one, default in defaults}.get(value.id)
        number = getattr(number, "value", None)
        return isinstance(number, int) and number <= _SHORT

    def _inside(self) -> Iterator[syntax.stmt]:
        return wording.own(self._loop.body) if self._loop is not None else iter(())

    def keepers(self, loss: str) -> Iterator[tuple[syntax.stmt, str]]:
        """The statements of the loop that keep the loss, each with what it is kept in."""
        last = self._inner_loops()
        for one in self._inside():
            holder = _added_to(one, loss) or self._listed_in(one, loss)
            if not holder or any(_spans(other, one.lineno) for other in last):
                continue
            if self._is_unrecorded(one) or self._is_other_by_then(one, loss):
                continue
            if self._is_bounded(holder, one) or self._goes_back(holder):
                continue
            yield one, holder

    def _inner_loops(self) -> list[syntax.stmt]:
        return [one for one in self._inside() if _is_loop(one)]

    def _listed_in(self, one: syntax.stmt, loss: str) -> str:
        """The list that a statement puts a loss into, where it is known to be one."""
        call = one.value if isinstance(one, syntax.Expr) else None
        if not isinstance(call, syntax.Call) or wording.called(call) != "append":
            return ""
        holder = getattr(call.func, "value", None)
        if len(call.args) != 1 or not _is_graph_of(call.args[0], loss):
            return ""
        bare = holder.value if isinstance(holder, syntax.Subscript) else holder
        name = wording.name(bare)
        values = [value for held, value in self._bindings() if held == name]
        return name if values and all(map(_is_list, values)) else ""

    def _bindings(self) -> Iterator[tuple[str, syntax.expr]]:
        return (pair for one in self._statements for pair in wording.pairs(one))

    def _is_unrecorded(self, one: syntax.stmt) -> bool:
        """Whether a statement lies in a region in which nothing is recorded."""
        around = (w for w in self._inside() if isinstance(w, syntax.With) and _spans(w, one.lineno))
        return any(wording.called(call) in _UNRECORDED for w in around for call in wording.calls(w))

    def _is_other_by_then(self, one: syntax.stmt, loss: str) -> bool:
        """Whether the name stands for something else where it is kept than where it goes back."""
        first, last = sorted((self._line, one.lineno))
        return any(
            loss in wording.bound(held) or any(map(_detaches, wording.calls(held)))
            for held in self._inside()
            if first < held.lineno < last or (held.lineno == last and held is not one)
        )

    def _is_bounded(self, holder: str, keeper: syntax.stmt) -> bool:
        """Whether what is kept is set anew in the loop, or taken out; or does not outlive it."""
        outer = [one for loop in self._outer for one in wording.own(loop.body)]
        if any(holder in wording.bound(one) for one in outer if one.lineno < self._loop.lineno):
            return True
        for one in self._inside():
            if one is keeper or isinstance(one, syntax.AugAssign):
                continue
            deleted = isinstance(one, syntax.Delete) and holder in wording.names(one)
            if holder in wording.bound(one) or deleted or _clears(one, holder):
                return True
            if any(
                _takes(call, holder) or self._is_own(call, holder) for call in wording.calls(one)
            ):
                return True
        before = [one for one in self._statements if one.lineno < keeper.lineno]
        known = any(holder in wording.bound(one) for one in before if one is not self._loop)
        return not known and "." not in holder

    def _is_own(self, call: syntax.Call, holder: str) -> bool:
        """Whether a function of the program's own is handed what is kept, and may empty it."""
        given = [*call.args, *(one.value for one in call.keywords)]
        own = {getattr(one, "name", "") for one in statements_in(self._module.tree)}
        return wording.called(call) in own and any(wording.name(one) == holder for one in given)

    def _goes_back(self, holder: str) -> bool:
        """Whether a backward of what was kept is written anywhere in the function."""
        calls = (part for part in syntax.walk(self._scope) if isinstance(part, syntax.Call))
        return any(
            holder in wording.names(call) and wording.called(call) in ("backward", "grad")
            for call in calls
        )


def _clears(one: syntax.stmt, holder: str) -> bool:
    """Whether a statement puts something in the place of what a list holds: ``kept[:] = []``."""
    targets: list[Any] = one.targets if isinstance(one, syntax.Assign) else []
    return any(
        isinstance(part, syntax.Subscript) and wording.name(part.value) == holder
        for part in targets
    )


def _is_loop(one: syntax.stmt) -> bool:
    return isinstance(one, syntax.For | syntax.While | syntax.AsyncFor)


def _spans(one: syntax.stmt, line: int) -> bool:
    return one.lineno <= line <= (one.end_lineno or one.lineno)


def _added_to(one: syntax.stmt, loss: str) -> str:
    """The total that a statement adds a loss to."""
    if isinstance(one, syntax.AugAssign) and isinstance(one.op, syntax.Add):
        holder = wording.name(one.target)
        return holder if holder != loss and _is_graph_of(one.value, loss) else ""
    for holder, value in wording.pairs(one) if isinstance(one, syntax.Assign) else ():
        terms = list(_terms(value))
        own = [term for term in terms if _is_graph_of(term, holder)]
        others = [term for term in terms if _is_graph_of(term, loss)]
        if holder != loss and len(terms) > 1 and own and others:
            return holder
    return ""


def _terms(value: syntax.expr) -> Iterable[syntax.expr]:
    if isinstance(value, syntax.BinOp) and isinstance(value.op, syntax.Add):
        return (*_terms(value.left), *_terms(value.right))
    return (value,)


def _is_graph_of(value: syntax.expr, name: str) -> bool:
    """Whether a value is a number that was computed from a name, with its graph."""
    if wording.name(value) == name:
        return True
    if isinstance(value, syntax.BinOp) and isinstance(value.op, _ARITHMETIC):
        return _is_graph_of(value.left, name) or _is_graph_of(value.right, name)
    if isinstance(value, syntax.Call) and wording.called(value) in _KEEPS:
        held = getattr(value.func, "value", None)
        return held is not None and _is_graph_of(held, name)
    return False


def _is_list(value: syntax.expr) -> bool:
    plain = isinstance(value, syntax.List | syntax.Dict)
    return plain or wording.called(value) in _MAKES_LISTS


def _detaches(call: syntax.Call) -> bool:
    return wording.called(call) == "detach_"


def _takes(call: syntax.Call, holder: str) -> bool:
    held = wording.name(getattr(call.func, "value", None))
    return held == holder and wording.called(call) in _TAKES
