"""Noise that is scaled by a variance, where the same program takes it for one.

What is looked at is the text: the logarithm of a variance has no factor in front of it in the
divergence from a normal distribution, ``1 + v - mean ** 2 - exp(v)``, and that of a deviation has.
"""

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

_WORTH: Final = re.compile(r"\brandn(_like)?\(|\bnormal_?\(|\bNormal\(")
_NOISE: Final = frozenset("randn randn_like normal_ normal randn_like_".split())
_GIVEN: Final = {"normal": 1, "Normal": 1}  # which argument is the deviation
_MOVES: Final = frozenset("to cuda cpu type_as detach double float".split())
# The name of a logarithm of a variance, whichever part of a name that is.
_NAMED: Final = re.compile(r"log_?(var|v$|sigma_?(sq|2)|s2)|^lv$|^lnvar", re.IGNORECASE)
_TERMS: Final = 4  # of the divergence
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@surveys
def deviations(m: Machine, block: Block) -> None:
    """``unrooted`` of the exponential that is to be a deviation, and is the variance."""
    modules = wording.modules(m, block)
    worth = [one for one in modules if _WORTH.search(one.text.text)]
    if not worth:
        return
    known = {name for module in modules for name in wording.once(module, _variances)}
    for module in worth:
        for call, name in wording.once(module, _spreads):
            alike = any(map(_NAMED.search, known)) and _NAMED.search(name)
            if (name in known or alike) and name not in wording.once(module, _scaled):
                place = Place(module, call, title_around(module.tree, call.lineno))
                tell(block, "unrooted", place, name=name)


def _variances(module: Module) -> frozenset[str]:
    """The names of logarithms of variances, by the divergences that are computed."""
    if "exp" not in module.text.text:
        return frozenset()
    found: set[str] = set()
    for one in statements_in(module.tree):
        for node in wording.expressions(one):
            found |= _in_divergence(node)
    return frozenset(found)


def _scaled(module: Module) -> frozenset[str]:
    """The names that some call is given a multiple of: what it makes of that is not known."""
    return frozenset(
        _last(part)
        for one in statements_in(module.tree)
        for call in wording.calls(one)
        if len(call.args) > 1
        for given in call.args
        if isinstance(given, syntax.BinOp) and isinstance(given.op, syntax.Mult | syntax.Div)
        for part in (given.left, given.right)
        if wording.name(part)
    )


def _in_divergence(node: syntax.AST) -> set[str]:
    """The name of v in a sum of 1, v, -mean ** 2, and -exp(v), or in that with all signs turned."""
    if not isinstance(node, syntax.BinOp):
        return set()
    terms = list(_terms(node, 1))
    ones = {sign for sign, one in terms if getattr(one, "value", None) in (1, 1.0)}
    if len(terms) != _TERMS or len(ones) != 1:
        return set()
    turned = ones.pop()
    plain = {_last(one) for sign, one in terms if sign == turned and wording.name(one)}
    powers = {_last(_exponent(one)) for sign, one in terms if sign != turned}
    return (plain & powers) - {""}


def _terms(node: Any, sign: int) -> Iterator[tuple[int, Any]]:
    """The terms of a sum, each with its sign."""
    if isinstance(node, syntax.BinOp) and isinstance(node.op, syntax.Add | syntax.Sub):
        yield from _terms(node.left, sign)
        yield from _terms(node.right, sign if isinstance(node.op, syntax.Add) else -sign)
    elif isinstance(node, syntax.UnaryOp) and isinstance(node.op, syntax.USub):
        yield from _terms(node.operand, -sign)
    else:
        yield sign, node


def _exponent(node: Any) -> Any:
    """What an exponential is taken of."""
    if not isinstance(node, syntax.Call) or wording.called(node) not in ("exp", "exp_"):
        return None
    if node.args:
        return node.args[0]
    return node.func.value if isinstance(node.func, syntax.Attribute) else None


def _last(node: Any) -> str:
    return wording.name(node).rpartition(".")[2]


def _spreads(module: Module) -> tuple[tuple[syntax.Call, str], ...]:
    """The exponentials of a name alone that noise is multiplied by, or that are given for a
    deviation."""
    bodies = [module.tree.body]
    bodies += [one.body for one in statements_in(module.tree) if isinstance(one, _DEFINES)]
    return tuple(dict.fromkeys(found for body in bodies for found in _in_body(body)))


def _in_body(body: list[syntax.stmt]) -> Iterator[tuple[syntax.Call, str]]:
    statements = list(wording.own(body))
    bound: list[str] = []
    once: dict[str, syntax.expr] = {}
    for one in statements:
        bound += wording.bound(one)
        once.update(wording.pairs(one))
    known = {name: value for name, value in once.items() if bound.count(name) == 1}
    for one in statements:
        for node in wording.expressions(one):
            for value in _as_deviation(node, known):
                value = known.get(wording.name(value), value)
                name = _last(_exponent(value))
                own = name in once and name in {_last(one) for one in syntax.walk(once[name])}
                if name and not own and isinstance(value, syntax.Call):
                    yield value, name


def _as_deviation(node: syntax.AST, known: dict[str, syntax.expr]) -> Iterator[syntax.expr]:
    """What is taken for a deviation: it is multiplied by noise, or stands for one in a call."""
    pair: list[syntax.expr] = []
    if isinstance(node, syntax.BinOp) and isinstance(node.op, syntax.Mult):
        pair = [node.left, node.right]
    elif isinstance(node, syntax.Call) and wording.called(node) in ("mul", "mul_", "addcmul"):
        pair = [*_receiver(node), *node.args][-2:]
    elif isinstance(node, syntax.Call) and wording.called(node) in _GIVEN:
        yield from node.args[_GIVEN[wording.called(node)] :][:1]
    for one, other in (pair, pair[::-1]) if len(pair) > 1 else ():
        if _is_noise(other, known):
            yield one


def _receiver(call: syntax.Call) -> list[syntax.expr]:
    return [call.func.value] if isinstance(call.func, syntax.Attribute) else []


def _is_noise(value: Any, known: dict[str, syntax.expr]) -> bool:
    value = known.get(wording.name(value), value)
    while isinstance(value, syntax.Call) and wording.called(value) in _MOVES:
        value = getattr(value.func, "value", None)
    return isinstance(value, syntax.Call) and wording.called(value) in _NOISE
