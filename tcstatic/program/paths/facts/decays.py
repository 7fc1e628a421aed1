"""Moving averages of weights in which the share that is kept and the one that is new are swapped.

What is looked at is the text of a loop over the parameters of two models, ``zip(a, b)``, in which
one is written: ``a.mul_(1 - decay).add_(b, alpha=decay)`` with a decay of 0.999 keeps a thousandth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, TypeGuard

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import (
    Module,
    definitions_around,
    function_around,
    statements_in,
    title_around,
)
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Place
from tcstatic.program.source import syntax

_WORTH: Final = re.compile(r"zip\([^\n]*(?:parameters|state_dict|buffers)\b")
_ALIKE: Final = frozenset("data detach to clone float".split())
_DEEP: Final = 4  # functions that are called by functions
_LEAST_KEPT: Final = 0.1  # an average that keeps less is next to no average
_Found = tuple[syntax.stmt, str, float, str]
# What is written, the share of it that is kept, and the share of the other one.
_Update = tuple[syntax.expr, syntax.expr, syntax.expr, syntax.expr]


@surveys
def swapped(m: Machine, block: Block) -> None:
    """``keeps_little`` of an average that keeps next to nothing of what it was."""
    for module, (statement, function, kept, name) in wording.found(block, _WORTH, _in_module):
        place = Place(module, statement, function)
        tell(block, "keeps_little", place, kept=f"{kept:.4g}", name=name)


def _in_module(module: Module) -> Iterator[_Found]:
    for loop in statements_in(module.tree):
        if not isinstance(loop, syntax.For) or not _WORTH.search(syntax.unparse(loop.iter)):
            continue
        if _runs_once(module, loop, 0):
            continue
        names = {one.id for one in syntax.walk(loop.target) if isinstance(one, syntax.Name)}
        for statement, (written, kept, given, other) in _updates(list(wording.own(loop.body))):
            mine, theirs = _plain(written), _plain(other)
            if mine == theirs or not {mine, theirs} <= names:
                continue
            shares = _numbers(module, statement, kept), _numbers(module, statement, given)
            little = [share for share in shares[0] if 0.0 < share <= _LEAST_KEPT]
            whole = {round(a + b, 6) for a, b in zip(*shares, strict=False)} == {1.0}
            if little and len(little) == len(shares[0]) == len(shares[1]) and whole:
                yield statement, title_around(module.tree, statement.lineno), little[0], mine


def _runs_once(module: Module, part: syntax.AST, depth: int) -> bool:
    """Whether something is reached in no loop, as far as the module tells: two models are mixed
    there, and none is averaged over its steps."""
    line = getattr(part, "lineno", 0)
    around = function_around(module.tree, line)
    first = around.lineno if around is not None else 0
    for one in statements_in(module.tree):
        repeats = isinstance(one, syntax.For | syntax.AsyncFor | syntax.While) and one is not part
        if repeats and first < one.lineno <= line <= (one.end_lineno or 0):
            return False
    if around is None or depth == _DEEP:
        return around is None
    calls = [
        one
        for one in syntax.walk(module.tree)
        if isinstance(one, syntax.Call) and wording.called(one) == around.name
    ]
    return bool(calls) and all(_runs_once(module, one, depth + 1) for one in calls)


def _updates(body: list[syntax.stmt]) -> Iterator[tuple[syntax.stmt, _Update]]:
    """The statements by which one of two is moved towards the other."""
    for index, one in enumerate(body):
        found = _in_place(one) or _mixed(one)
        if found is None and index + 1 < len(body):
            found = _in_two(one, body[index + 1])
        if found is not None:
            yield one, found


def _in_place(one: syntax.stmt) -> _Update | None:
    """``a.mul_(kept).add_(b, alpha=given)``."""
    call = _called_alone(one, "add_")
    scaled = call and _receiver(call)
    if call is None or scaled is None or wording.called(scaled) != "mul_":
        return None
    term, mine = _term(call), _receiver(scaled)
    if term is None or mine is None or len(scaled.args) != 1:
        return None
    return mine, scaled.args[0], *term


def _in_two(one: syntax.stmt, following: syntax.stmt) -> _Update | None:
    """``a.mul_(kept)``, and then ``a.add_(b, alpha=given)``."""
    first, second = _called_alone(one, "mul_"), _called_alone(following, "add_")
    if first is None or second is None or len(first.args) != 1:
        return None
    mine, term = _receiver(first), _term(second)
    if mine is None or term is None or _plain(mine) != _plain(_receiver(second)):
        return None
    return mine, first.args[0], *term


def _called_alone(one: syntax.stmt, method: str) -> Any:
    """The call of a method that a statement is, None for any other statement."""
    value = one.value if isinstance(one, syntax.Expr) else None
    return value if wording.called(value) == method else None


def _receiver(call: Any) -> Any:
    """What the method of a call belongs to."""
    return getattr(call.func, "value", None)


def _mixed(one: syntax.stmt) -> _Update | None:
    """``a = kept * a + given * b``, by whatever it is assigned."""
    target: Any = None
    value: Any = None
    if isinstance(one, syntax.Assign) and len(one.targets) == 1:
        target, value = one.targets[0], one.value
    elif (call := _called_alone(one, "copy_")) is not None:
        target, value = _receiver(call), next(iter(call.args), None)
    if target is None or not isinstance(getattr(value, "op", None), syntax.Add):
        return None
    terms = [_product(side, _plain(target)) for side in (value.left, value.right)]
    if None in terms:
        return None
    mine = [term for term in terms if term is not None and term[2]]
    theirs = [term for term in terms if term is not None and not term[2]]
    if len(mine) != 1 or len(theirs) != 1:
        return None
    return target, mine[0][0], theirs[0][0], theirs[0][1]


def _term(call: Any) -> tuple[syntax.expr, syntax.expr] | None:
    """The share and the tensor that a call of ``add_`` adds."""
    share = next((one.value for one in call.keywords if one.arg == "alpha"), None)
    if not call.args:
        return None
    given = call.args[0]
    if share is not None:
        return share, given
    if isinstance(given, syntax.BinOp) and isinstance(given.op, syntax.Mult):
        tensor_first = _plain(given.left) != "" and not isinstance(given.right, syntax.Name)
        return (given.right, given.left) if tensor_first else (given.left, given.right)
    return None


def _product(side: syntax.expr, mine: str) -> tuple[syntax.expr, syntax.expr, bool] | None:
    """The share and the tensor of a product, and whether it is the tensor called `mine`."""
    if not isinstance(side, syntax.BinOp) or not isinstance(side.op, syntax.Mult):
        return None
    for share, tensor in ((side.left, side.right), (side.right, side.left)):
        if _plain(tensor) == mine:
            return share, tensor, True
    return side.left, side.right, False


def _plain(value: Any) -> str:
    """The name of a tensor, however it is looked at."""
    while True:
        if isinstance(value, syntax.Call) and wording.called(value) in _ALIKE:
            value = _receiver(value)
        elif isinstance(value, syntax.Attribute) and value.attr in _ALIKE:
            value = value.value
        else:
            return wording.name(value)


def _numbers(module: Module, statement: syntax.stmt, share: syntax.expr) -> list[float]:
    """All that a share may be, none where that is not written in the module."""
    if isinstance(share, syntax.Constant):
        return [float(share.value)] if _is_number(share.value) else []
    if isinstance(share, syntax.BinOp) and isinstance(share.op, syntax.Sub):
        whole = share.left.value if isinstance(share.left, syntax.Constant) else None
        return [1.0 - one for one in _numbers(module, statement, share.right)] if whole == 1 else []
    name = wording.name(share).rpartition(".")[2]
    return _written(module, name) if name else []


def _written(module: Module, name: str) -> list[float]:
    """The numbers that a name is given anywhere in a module: none if it is given anything else."""
    found: list[float] = []
    for value in _given(module, name):
        if isinstance(value, syntax.Constant) and _is_number(value.value):
            found.append(float(value.value))
        elif wording.name(value).rpartition(".")[2] != name:
            return []
    return sorted(set(found))


def _is_number(value: object) -> TypeGuard[float]:
    return type(value) in (int, float)


def _given(module: Module, name: str) -> Iterator[syntax.expr]:
    """What a name is bound to, by default, by assignment, by a call, or on the command line."""
    places: dict[str, int] = {}
    for one in syntax.walk(module.tree):
        if isinstance(one, syntax.FunctionDef):
            yield from _defaults(one, name)
            named = [a.arg for a in (*one.args.posonlyargs, *one.args.args)]
            if name in named:
                around = [d.name for d in definitions_around(module.tree, one.lineno)]
                known = around[-2] if one.name == "__init__" and len(around) > 1 else one.name
                places[known] = named.index(name) - (named[0] == "self")
        elif isinstance(one, syntax.Assign | syntax.AnnAssign) and one.value is not None:
            targets = one.targets if isinstance(one, syntax.Assign) else [one.target]
            if any(wording.name(target).rpartition(".")[2] == name for target in targets):
                yield one.value
    for one in syntax.walk(module.tree):
        if isinstance(one, syntax.Call):
            yield from _passed(one, name, places)


def _defaults(function: syntax.FunctionDef, name: str) -> Iterator[syntax.expr]:
    held = function.args
    plain = [*held.posonlyargs, *held.args]
    pairs = zip(plain[len(plain) - len(held.defaults) :], held.defaults, strict=True)
    yield from (default for one, default in pairs if one.arg == name)
    more = zip(held.kwonlyargs, held.kw_defaults, strict=True)
    yield from (default for one, default in more if one.arg == name and default is not None)


def _passed(call: syntax.Call, name: str, places: dict[str, int]) -> Iterator[syntax.expr]:
    first = call.args[0] if call.args else None
    option = first.value if isinstance(first, syntax.Constant) else None
    asked = option.lstrip("-").replace("-", "_") if isinstance(option, str) else ""
    for keyword in call.keywords:
        if keyword.arg == name or (keyword.arg == "default" and asked == name):
            yield keyword.value
    place = places.get(wording.called(call), -1)
    if 0 <= place < len(call.args):
        yield call.args[place]
