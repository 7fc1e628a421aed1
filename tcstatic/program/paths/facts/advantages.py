"""Advantages that let the gradient of a policy's loss through to the critic.

What is looked at is the text of one function: an advantage is a difference with what the critic
gave, its square or distance trains the critic, and it is multiplied by log-probabilities as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, statements_in, title_around
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"log_?p|logp|log_pi", re.IGNORECASE)
_LOGS: Final = re.compile(r"log_?p(rob|i)?s?\b|logp|log_prob\(|log_softmax|\.log\(\)|torch\.log\(")
_ADVANTAGE: Final = re.compile(r"adv|delta|td_?err", re.IGNORECASE)
_VALUES: Final = re.compile(r"value|critic|baseline|(^|_)v(_|$)|(^|_)vs?(_|$)", re.IGNORECASE)
_GIVES: Final = re.compile(r"critic|value|model|net|policy|agent|actor|(^|\.)ac$|forward", re.I)
_CUTS: Final = re.compile(r"detach|\.data\b|\.item\(|no_grad|numpy|tolist|stop_grad")
_DEFINES: Final = (syntax.FunctionDef, syntax.AsyncFunctionDef)


@surveys
def advantages(m: Machine, block: Block) -> None:
    """``trains_critic`` of a product of log-probabilities and an advantage that is not cut off."""
    for module, (product, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, product, title_around(module.tree, product.lineno))
        tell(block, "trains_critic", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.BinOp, str]]:
    for scope in (module.tree, *statements_in(module.tree)):
        if isinstance(scope, (syntax.Module, *_DEFINES)) and not is_bare(scope):
            yield from _in_body(list(wording.own(scope.body)))


def is_bare(scope: syntax.AST) -> bool:
    """Whether a function runs without gradients."""
    return any("no_grad" in syntax.unparse(one) for one in getattr(scope, "decorator_list", ()))


def _in_body(body: list[syntax.stmt]) -> Iterator[tuple[syntax.BinOp, str]]:
    bare = bare_of_gradients(body)
    live: dict[str, bool] = {}
    for one in body:
        for product in _products(one):
            for side, other in ((product.left, product.right), (product.right, product.left)):
                name = wording.name(_bare(side))
                logs = live.get(name) and _LOGS.search(syntax.unparse(other))
                if logs and _is_squared(body, name):
                    yield product, name
        for name, value in wording.pairs(one):
            live[name] = id(one) not in bare and _is_live(name, value, live)


def bare_of_gradients(body: list[syntax.stmt]) -> set[int]:
    """The statements of a function that run without gradients, by their ids."""
    return {id(inner) for one in body if _is_cut(one) for inner in statements_in(one)}


def _is_cut(one: syntax.stmt) -> bool:
    """Whether statements within another run without gradients."""
    items = one.items if isinstance(one, syntax.With) else ()
    return any(re.search(r"no_grad|inference_mode", syntax.unparse(item)) for item in items)


def _products(one: syntax.stmt) -> Iterator[syntax.BinOp]:
    for part in wording.expressions(one):
        if isinstance(part, syntax.BinOp) and isinstance(part.op, syntax.Mult):
            yield part


def _bare(value: syntax.expr) -> syntax.expr:
    return value.operand if isinstance(value, syntax.UnaryOp) else value


def _is_live(name: str, value: syntax.expr, live: dict[str, bool]) -> bool:
    """Whether a value carries the gradient of a critic: what it gave, or an advantage over that."""
    text = syntax.unparse(value)
    if _CUTS.search(text):
        return False
    if _ADVANTAGE.search(name):
        difference = isinstance(value, syntax.BinOp) and isinstance(value.op, syntax.Sub)
        read = (part for part in syntax.walk(value) if isinstance(part, syntax.Name))
        return difference and any(live.get(part.id) for part in read)
    call = value
    while isinstance(call, syntax.Call) and isinstance(call.func, syntax.Attribute):
        if call.func.attr not in ("squeeze", "view", "reshape", "flatten", "to", "float"):
            break
        call = call.func.value
    made = isinstance(call, syntax.Call) and _GIVES.search(syntax.unparse(call.func)) is not None
    return made and _VALUES.search(name) is not None


def _is_squared(body: list[syntax.stmt], name: str) -> bool:
    """Whether the square of an advantage trains the critic: it carries gradients there."""
    word = re.compile(rf"(?<![\w.]){re.escape(name)}(?![\w.]*detach)\b")
    for one in body:
        for part in wording.expressions(one):
            power = isinstance(part, syntax.BinOp) and isinstance(part.op, syntax.Pow)
            if power and wording.name(getattr(part, "left", None)) == name:
                return True
            if isinstance(part, syntax.Call) and wording.called(part) in ("pow", "square"):
                text = syntax.unparse(part)
                if word.search(text) and not _LOGS.search(text):
                    return True
    return False
