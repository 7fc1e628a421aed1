"""Functions of one's own whose backward is not the derivative of their forward.

Both are reckoned with plain numbers, where they are made of nothing but smooth functions of single
elements: a rounding, a clamp or a choice may have any slope that somebody wants it to have.
"""

from __future__ import annotations

import math
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

_WORTH: Final = re.compile(r"autograd|\bFunction\)")
# Slopes that are another one's on purpose.
_MEANT: Final = re.compile(
    r"surrogate|straight|\bste\b|approx|guided|revers|spik|clip|scal(e|ing)\b|fake|biased|hack"
    r"|instead of|on purpose|deliberate|wrong",
    re.IGNORECASE,
)
_POINTS: Final = (-1.7, -0.6, 0.35, 0.9, 1.4, 2.2)
_OTHERS: Final = 0.7  # what stands for a further argument
_STEP: Final = 1e-5
_FAR: Final = 0.02  # how far off a slope is, as a share, that is none
_LEAST: Final = 3
_BINARY: Final[dict[type[Any], Callable[[Any, Any], Any]]] = {
    syntax.Add: operator.add,
    syntax.Sub: operator.sub,
    syntax.Mult: operator.mul,
    syntax.Div: operator.truediv,
    syntax.Pow: operator.pow,
}
_SMOOTH: Final[dict[str, Callable[..., float]]] = {
    **{n: getattr(math, n) for n in "exp log sin cos tanh sinh cosh atan erf sqrt log1p".split()},
    "expm1": math.expm1,
    "arctan": math.atan,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "logsigmoid": lambda x: -math.log1p(math.exp(-x)),
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: x**-0.5,
    "neg": operator.neg,
    "pow": operator.pow,
    "mul": operator.mul,
    "add": operator.add,
    "sub": operator.sub,
    "div": operator.truediv,
    "ones_like": lambda _: 1.0,
    "zeros_like": lambda _: 0.0,
    **dict.fromkeys("clone contiguous float double detach".split(), lambda x: x),
}
_Values = dict[str, Any]


class _UnknownError(Exception):
    """Something is not known as a smooth function of numbers."""


@surveys
def derivatives(m: Machine, block: Block) -> None:
    """``other_slope`` of what a backward returns."""
    for module, (node, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, node, title_around(module.tree, node.lineno))
        tell(block, "other_slope", place, name=name)


def _in_module(module: Module) -> Iterator[tuple[syntax.expr, str]]:
    for one in statements_in(module.tree):
        if not isinstance(one, syntax.ClassDef):
            continue
        if not any(wording.name(base).endswith("Function") for base in one.bases):
            continue
        methods = {part.name: part for part in one.body if isinstance(part, syntax.FunctionDef)}
        above = "\n".join(module.text.lines[max(one.lineno - 4, 0) : one.lineno])
        if "forward" not in methods or "backward" not in methods:
            continue
        if _MEANT.search(module.segment(one)) or _MEANT.search(above):
            continue
        last = methods["backward"].body[-1]
        given = last.value if isinstance(last, syntax.Return) else None
        if given is not None and _is_other(methods["forward"], methods["backward"]):
            yield given, one.name


def _is_other(forward: syntax.FunctionDef, backward: syntax.FunctionDef) -> bool:
    """Whether backward gives something else than the derivative, wherever that is known."""
    wrong, slopes, values = 0, [], []
    for point in _POINTS:
        try:
            known, context = _forward(forward, point)
            before, after = (_forward(forward, point + d)[0] for d in (-_STEP, _STEP))
            told, twice = (_backward(backward, context, g) for g in (1.0, 2.0))
        except (ValueError, OverflowError, ZeroDivisionError):
            continue
        except (_UnknownError, TypeError, KeyError, IndexError):
            return False
        slope = (after - before) / (2 * _STEP)
        if abs(twice - 2 * told) > _FAR * max(abs(told), 1e-3):
            return False
        slopes.append(told)
        values.append(known - point)
        wrong += abs(told - slope) > _FAR * max(abs(slope), abs(told), 0.05)
    if len(slopes) < _LEAST or max(slopes) - min(slopes) < 1e-6:
        return False  # one slope everywhere: a gradient that is handed through
    return wrong == len(slopes) and max(values) - min(values) > 1e-6


def _forward(function: syntax.FunctionDef, point: float) -> tuple[float, _Values]:
    names = [one.arg for one in function.args.args]
    if function.args.vararg or function.args.kwarg or len(names) < 2:
        raise _UnknownError
    # whatever context is called, its values lie under that name and a dot
    values: _Values = {name: _OTHERS for name in names[2:]}
    values |= {names[1]: point, "": names[0]}
    given = _run(function.body, values)
    held = f"{names[0]}."
    return given, {key[len(held) :]: value for key, value in values.items() if held in key}


def _backward(function: syntax.FunctionDef, context: _Values, gradient: float) -> float:
    names = [one.arg for one in function.args.args]
    if function.args.vararg or len(names) != 2:
        raise _UnknownError
    values = {f"{names[0]}.{key}": value for key, value in context.items()}
    given = _run(function.body, {**values, names[1]: gradient, "": names[0]})
    return float(given[0] if isinstance(given, tuple) else given)


def _run(body: list[syntax.stmt], values: _Values) -> Any:
    for one in body:
        if isinstance(one, syntax.Return):
            return _value(one.value, values)
        if isinstance(one, syntax.Assign) and len(one.targets) == 1:
            _assign(one.targets[0], _value(one.value, values), values)
        elif isinstance(one, syntax.Expr):
            _expression(one.value, values)
        else:
            raise _UnknownError
    raise _UnknownError


def _assign(target: Any, value: Any, values: _Values) -> None:
    if isinstance(target, syntax.Tuple):
        if not isinstance(value, tuple) or len(value) != len(target.elts):
            raise _UnknownError
        for one, held in zip(target.elts, value, strict=True):
            _assign(one, held, values)
    elif wording.name(target):
        values[wording.name(target)] = value
    else:
        raise _UnknownError


def _expression(node: Any, values: _Values) -> None:
    """A statement that is an expression: something is saved, or it is a text."""
    if isinstance(node, syntax.Constant):
        return
    context = values[""]
    if wording.called(node) == "save_for_backward":
        values[f"{context}.saved_tensors"] = tuple(_value(one, values) for one in node.args)
    elif wording.called(node) not in ("set_materialize_grads",):
        raise _UnknownError


def _value(node: Any, values: _Values) -> Any:
    name = wording.name(node)
    if name:
        if name == f"{values['']}.saved_variables":
            name = f"{values['']}.saved_tensors"
        return values[name]
    if isinstance(node, syntax.Constant) and isinstance(node.value, int | float | None):
        return node.value
    if isinstance(node, syntax.Tuple):
        return tuple(_value(one, values) for one in node.elts)
    if isinstance(node, syntax.UnaryOp) and isinstance(node.op, syntax.USub):
        return -_value(node.operand, values)
    if isinstance(node, syntax.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, syntax.Subscript) and isinstance(node.slice, syntax.Constant):
        held, index = _value(node.value, values), node.slice.value
        known = isinstance(held, tuple) and isinstance(index, int)
        return held[index] if known else _raise()
    if isinstance(node, syntax.Call) and not node.keywords:
        return _called(node, values)
    return _raise()


def _called(node: syntax.Call, values: _Values) -> Any:
    function = _SMOOTH.get(wording.called(node))
    holder = getattr(node.func, "value", None)
    given = [_value(one, values) for one in node.args]
    library = wording.name(holder) in ("torch", "F", "math", "nn.functional", "torch.nn.functional")
    if holder is not None and not library and wording.name(holder) != "torch.special":
        given = [_value(holder, values), *given]
    if function is None or holder is None:
        raise _UnknownError
    return function(*given)


def _raise() -> Any:
    raise _UnknownError
