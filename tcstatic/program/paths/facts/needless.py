"""Sums and products that are computed as statements of their own, and dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"\n[ \t]+[\w.\[\]()\"']+ +[-+*/@] ")
_SIGNS: Final[dict[type[Any], str]] = {
    syntax.Add: "+",
    syntax.Sub: "-",
    syntax.Mult: "*",
    syntax.Div: "/",
    syntax.MatMult: "@",
}
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)
# What tells that something is computed to see how long that takes, or whether it can be.
_MEASURED: Final = re.compile(r"time|synchronize|perf_counter|monotonic|elapsed|raises|profile")


@surveys
def needless(m: Machine, block: Block) -> None:
    """``unused`` of arithmetic that stands alone, on a name that is read on afterwards."""
    for module, (value, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, value, title_around(module.tree, value.lineno))
        sign = f"`{_SIGNS[type(value.op)]}`"
        tell(block, "unused", place, name=sign, receiver=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.BinOp, str]]:
    for node in statements_in(module.tree):
        if not isinstance(node, _DEFINES):
            continue
        body = list(wording.own(node.body))
        if any(
            _MEASURED.search(wording.called(call)) for one in body for call in wording.calls(one)
        ):
            continue
        for one in body:
            value = one.value if isinstance(one, syntax.Expr) else None
            if not isinstance(value, syntax.BinOp) or type(value.op) not in _SIGNS:
                continue
            name = wording.name(value.left)
            tried = any(first <= one.lineno <= last for first, last in module.tried)
            if name and not tried and _is_read_on(body, one, name) and _is_tensor(body, name):
                yield value, name


def _is_read_on(body: list[syntax.stmt], one: syntax.stmt, name: str) -> bool:
    """Whether a name is read in the statements behind, by one that is more than such a sum."""
    return any(
        wording.name(part) == name and isinstance(getattr(part, "ctx", None), syntax.Load)
        for other in body
        if other.lineno > (one.end_lineno or one.lineno) and not _stands_alone(other)
        for part in wording.expressions(other)
    )


def _stands_alone(one: syntax.stmt) -> bool:
    return isinstance(one, syntax.Expr) and isinstance(one.value, syntax.BinOp)


def _is_tensor(body: list[syntax.stmt], name: str) -> bool:
    """Whether nothing tells that a name is of an object of one's own, whose operators do things."""
    made = [value for one in body for held, value in wording.pairs(one) if held == name]
    return not any(isinstance(one, syntax.Call) and _is_class(one) for one in made)


def _is_class(call: syntax.Call) -> bool:
    return wording.called(call)[:1].isupper()
