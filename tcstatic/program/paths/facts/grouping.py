"""Parameters that are sorted into groups for an optimizer, one by one, and of which some kind comes
into none: a chain of ``if`` and ``elif`` without an ``else``.

The chain is gone through with what a parameter of each kind is called, and how many dimensions it
has; nothing is told where a condition asks for anything else.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"named_parameters\(")
# Each kind of parameter: who has some, what they are called, whichever way that is, and dimensions.
_KINDS: Final[tuple[tuple[str, re.Pattern[str], tuple[str, ...], int], ...]] = (
    (
        "weights of normalisation layers",
        re.compile(r"LayerNorm\(|BatchNorm\dd\(|GroupNorm\(|RMSNorm\(|Transformer\w*Layer\("),
        tuple(
            f"layers.0.{one}.weight"
            for one in "norm norm1 ln_1 ln1 layer_norm layernorm LayerNorm bn1 batch_norm".split()
        ),
        1,
    ),
    ("biases", re.compile(r"Linear\(|Conv\dd\("), ("layers.0.fc1.bias", "head.bias"), 1),
    ("weights of linear layers", re.compile(r"Linear\("), ("layers.0.fc1.weight",), 2),
    ("weights of convolutions", re.compile(r"Conv2d\("), ("layers.0.conv1.weight",), 4),
)
_COMPARES: Final[dict[type[Any], Callable[[Any, Any], Any]]] = {
    syntax.Lt: operator.lt,
    syntax.LtE: operator.le,
    syntax.Gt: operator.gt,
    syntax.GtE: operator.ge,
    syntax.Eq: operator.eq,
    syntax.NotEq: operator.ne,
}
_FROZEN: Final = re.compile(r"requires_grad\s*=\s*False|requires_grad_\(False|\.freeze")
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@surveys
def grouping(m: Machine, block: Block) -> None:
    """``in_no_group`` of the last condition of a chain that parameters fall through."""
    found = list(wording.found(block, _WORTH, _in_module))
    text = "\n".join(one.text.text for one in wording.in_use(block)) if found else ""
    for module, (node, kinds) in found:
        left = [kind for kind, known, _, _ in _KINDS if kind in kinds and known.search(text)]
        if left and not _FROZEN.search(text):
            place = Place(module, node, title_around(module.tree, node.lineno))
            tell(block, "in_no_group", place, name=" and ".join(left))


def _in_module(module: Module) -> Iterator[tuple[syntax.expr, tuple[str, ...]]]:
    bodies = [one.body for one in statements_in(module.tree) if isinstance(one, _DEFINES)]
    for body in (module.tree.body, *bodies):
        statements = list(wording.own(body))
        held = {name for one in statements for name in _groups(one)}
        loops = [one for one in statements if isinstance(one, syntax.For) and _is_over(one)]
        lists = [name for one in loops for name in _appended(one.body)]
        # all groups are filled here, by this loop
        if len(loops) != 1 or not held or set(lists) != held:
            continue
        target = loops[0].target
        assert isinstance(target, syntax.Tuple)
        names = wording.name(target.elts[0]), wording.name(target.elts[1])
        left = []
        for kind, _, written, dimensions in _KINDS:
            went = {_Sorting(*names, one, dimensions).goes(loops[0].body) for one in written}
            if went == {False}:
                left.append(kind)
        tests = [one.test for one in wording.own(loops[0].body) if isinstance(one, syntax.If)]
        if 0 < len(left) < len(_KINDS) - 1 and tests:
            yield tests[-1], tuple(left)


def _groups(one: syntax.stmt) -> Iterator[str]:
    """The lists that are groups of an optimizer."""
    for part in wording.expressions(one):
        if isinstance(part, syntax.Dict):
            for key, value in zip(part.keys, part.values, strict=True):
                if getattr(key, "value", None) == "params":
                    yield wording.name(value)


def _is_over(one: syntax.For) -> bool:
    pair = isinstance(one.target, syntax.Tuple) and len(one.target.elts) == 2
    return pair and wording.called(one.iter) == "named_parameters"


def _appended(body: list[syntax.stmt]) -> Iterator[str]:
    for one in wording.own(body):
        for call in wording.calls(one):
            if wording.called(call) == "append":
                yield wording.name(getattr(call.func, "value", None))


class _UnknownError(Exception):
    """A condition asks for something else than a name or dimensions."""


class _Sorting:
    """Follows one parameter through a chain of conditions."""

    __slots__ = ("dimensions", "name", "parameter", "written")

    def __init__(self, name: str, parameter: str, written: str, dimensions: int) -> None:
        self.name, self.parameter = name, parameter
        self.written, self.dimensions = written, dimensions

    def goes(self, body: list[syntax.stmt]) -> bool | None:
        """Whether it comes into some list; None if that is not known."""
        try:
            return self._run(body) == "in"
        except (_UnknownError, TypeError):
            return None

    def _run(self, body: list[syntax.stmt]) -> str:
        for one in body:
            if isinstance(one, syntax.Continue | syntax.Break):
                return "out"
            if isinstance(one, syntax.If):
                ended = self._run(one.body if self._value(one.test) else one.orelse)
                if ended:
                    return ended
            elif isinstance(one, syntax.Expr) and any(_appended([one])):
                return "in"
            elif not isinstance(one, syntax.Expr | syntax.Pass):
                raise _UnknownError
        return ""

    def _value(self, node: Any) -> Any:
        text = syntax.unparse(node)
        if text == self.name:
            return self.written
        if text == f"{self.parameter}.requires_grad":
            return True
        ways = ("{}.ndim", "{}.dim()", "len({}.shape)", "len({}.size())", "{}.ndimension()")
        if text in [one.format(self.parameter) for one in ways]:
            return self.dimensions
        if isinstance(node, syntax.Constant):
            return node.value
        if isinstance(node, syntax.Tuple | syntax.List | syntax.Set):
            return tuple(self._value(one) for one in node.elts)
        if isinstance(node, syntax.UnaryOp) and isinstance(node.op, syntax.Not):
            return not self._value(node.operand)
        if isinstance(node, syntax.BoolOp):
            parts = [bool(self._value(one)) for one in node.values]
            return all(parts) if isinstance(node.op, syntax.And) else any(parts)
        return self._asked(node)

    def _asked(self, node: Any) -> Any:
        if isinstance(node, syntax.Compare) and len(node.ops) == 1:
            return self._compare(node)
        method = wording.called(node)
        if method in ("endswith", "startswith") and not node.keywords and len(node.args) == 1:
            held = self._value(getattr(node.func, "value", None))
            return getattr(held, method)(self._value(node.args[0]))
        raise _UnknownError

    def _compare(self, node: syntax.Compare) -> Any:
        left, right = self._value(node.left), self._value(node.comparators[0])
        kind = type(node.ops[0])
        if kind is syntax.In:
            return left in right
        if kind is syntax.NotIn:
            return left not in right
        if kind in _COMPARES:
            return _COMPARES[kind](left, right)
        raise _UnknownError
