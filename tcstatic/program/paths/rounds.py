"""Programs that train in one straight line, again and again: what happens in each round, in order.

Such a program calls ``zero_grad``, ``backward`` and an optimizer's ``step`` in one list of
statements only, one after the other. Nothing leaves the list half-way but an error that ends the
program, nothing in it can come to the same list again, and no gradient is looked at or written by
hand. So all that ever happens to the gradients is this round, over and over: no path is guessed,
and what holds of it holds of every run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, final

from tcstatic.program.paths.spoken import (
    KINDS,
    IsScheduler,
    Spoken,
    gather,
    is_imported,
    is_plain,
    last_name,
)
from tcstatic.program.source import syntax

# What is run when it is called, or gone through, and not where it stands.
_LATER: Final = (
    syntax.FunctionDef, syntax.AsyncFunctionDef, syntax.Lambda, syntax.GeneratorExp,
)  # fmt: skip
_REPEATED: Final = (
    syntax.For, syntax.While, syntax.ListComp, syntax.SetComp, syntax.DictComp,
)  # fmt: skip
# What may be called between a backward and its step: it reads, and writes no gradient.
_READERS: Final = frozenset(
    """item append detach cpu print len float int str round min max sum isfinite isnan
    clip_grad_norm_ clip_grad_value_ parameters get_last_lr""".split()
)
_LEAVING: Final = (
    syntax.Return, syntax.Break, syntax.Continue, syntax.Raise, syntax.Try, syntax.TryStar,
    syntax.Yield, syntax.YieldFrom, syntax.Await, syntax.FunctionDef, syntax.AsyncFunctionDef,
    syntax.ClassDef, syntax.Lambda, syntax.Delete, syntax.Match,
)  # fmt: skip
_NO_OPTIMIZERS: Final = frozenset({"Optimizer", "lr_scheduler"})
# Functions around a call: a program that nests deeper is left to the run.
_DEEPEST: Final = 20


@final
class Round(NamedTuple):
    """What happens in each round, in order; `alone`: to one optimizer, the only one there is."""

    kinds: tuple[str, ...] = ()
    alone: bool = False


def straight_round(
    script: Path,
    files: Mapping[Path, syntax.Module],
    own: frozenset[str],
    is_scheduler: IsScheduler,
) -> Round:
    """The one round of a program, without kinds where it is no such program.

    `own` are the names of its modules; `is_scheduler` tells of a call of ``step`` that it is one of
    a learning-rate scheduler of torch's, each time.
    """
    program = Spoken(is_scheduler, frozenset(one.rpartition(".")[2] for one in own))
    for path, tree in files.items():
        gather(program, path, tree)
    if program.told or not is_imported(files.values(), own, script.stem):
        return Round()
    for tree in files.values():
        if not all(is_plain(program, node) for node in syntax.walk(tree)):
            return Round()
    return Round(_of_calls(program), _has_one_optimizer(program, files.values()))


def _of_calls(program: Spoken) -> tuple[str, ...]:
    """The round that holds all calls of the three methods."""
    names = [last_name(call.func) for call in program.calls]
    counts = [names.count(one) for one in ("zero_grad", "backward", "step")]
    if counts != [1, 1, 1]:
        return ()
    statements = [program.parents[call] for call in program.calls]
    if not all(isinstance(one, syntax.Expr) for one in statements):
        return ()
    if not all(map(_is_given_nothing, program.calls)):
        return ()
    block = _block_of(program, statements[0])
    if block is None or any(one not in block for one in statements):
        return ()
    places = sorted(_place(block, one) for one in statements)
    region = block[places[0] : places[-1] + 1]
    if not _is_straight(region) or not _is_about_one(program, region):
        return ()
    if not _is_read_only(program, block, statements) or not _is_entered_plainly(program, region[0]):
        return ()
    kinds = {statement: KINDS[name] for statement, name in zip(statements, names, strict=True)}
    return tuple(kinds[block[place]] for place in places)


def _is_given_nothing(call: syntax.Call) -> bool:
    """Whether a method is called as it stands; gradients may be set to None, or to nought."""
    given = [*call.args, *(one.value for one in call.keywords if one.arg == "set_to_none")]
    kept = last_name(call.func) == "zero_grad" and len(given) <= 1
    plain = all(isinstance(one, syntax.Constant) for one in given)
    return plain and len(given) == len(call.args) + len(call.keywords) and (kept or not given)


def _block_of(program: Spoken, statement: syntax.AST) -> list[syntax.stmt] | None:
    """The list of statements that a statement stands in."""
    parent = program.parents[statement]
    for _, value in syntax.iter_fields(parent):
        if isinstance(value, list) and statement in value:
            return value
    return None


def _place(block: Sequence[syntax.AST], statement: syntax.AST) -> int:
    return block.index(statement)


def _is_straight(region: Sequence[syntax.stmt]) -> bool:
    """Whether nothing leaves these statements half-way."""
    return not any(isinstance(node, _LEAVING) for one in region for node in syntax.walk(one))


def _is_about_one(program: Spoken, region: Sequence[syntax.stmt]) -> bool:
    """Whether ``zero_grad`` and ``step`` are of the same object: of one name, not bound between."""
    owners = {
        syntax.unparse(call.func.value)
        for call in program.calls
        if isinstance(call.func, syntax.Attribute) and call.func.attr != "backward"
    }
    if len(owners) != 1:
        return False
    owner = next(
        call.func.value
        for call in program.calls
        if isinstance(call.func, syntax.Attribute) and call.func.attr == "step"
    )
    if isinstance(owner, syntax.Attribute):
        if not isinstance(owner.value, syntax.Name) or owner.value.id != "self":
            return False
    elif not isinstance(owner, syntax.Name):
        return False
    name = last_name(owner)
    if name in program.own:
        return False
    stored = [
        node
        for node in program.mentions[name]
        if isinstance(node, syntax.Name | syntax.Attribute) and isinstance(node.ctx, syntax.Store)
    ]
    inside = {node for one in region for node in syntax.walk(one)}
    return not any(node in inside for node in stored) and all(
        _is_own_attribute(program, node) for node in stored if isinstance(node, syntax.Attribute)
    )


def _is_own_attribute(program: Spoken, node: syntax.Attribute) -> bool:
    """Whether an attribute is set where its object is made."""
    around = _function_around(program, node)
    own = isinstance(node.value, syntax.Name) and node.value.id == "self"
    return own and isinstance(around, syntax.FunctionDef) and around.name == "__init__"


def _is_read_only(
    program: Spoken, block: list[syntax.stmt], statements: Sequence[syntax.AST]
) -> bool:
    """Whether gradients are only read, and clipped, between the backward and its step."""
    places = {
        last_name(call.func): _place(block, one)
        for one, call in zip(statements, program.calls, strict=True)
    }
    first, last = places["backward"], places["step"]
    return first < last and all(
        last_name(node.func) in _READERS and last_name(node.func) not in program.own
        for one in block[first + 1 : last]
        for node in syntax.walk(one)
        if isinstance(node, syntax.Call) and one not in statements
    )


def _is_entered_plainly(program: Spoken, node: syntax.AST) -> bool:
    """Whether what a statement stands in is called by name alone, from the program's top, and never
    by itself: it cannot be begun again while it is at work."""
    seen: set[syntax.AST] = set()
    waiting: list[tuple[syntax.AST, frozenset[syntax.AST]]] = [(node, frozenset())]
    while waiting:
        inner, active = waiting.pop()
        around = _function_around(program, inner)
        if around is None:
            continue
        if not isinstance(around, syntax.FunctionDef) or around in active:
            return False
        if around in seen:
            continue
        seen.add(around)
        calls = _callers(program, around)
        if calls is None:
            return False
        waiting.extend((call, active | {around}) for call in calls)
    return True


def _callers(program: Spoken, function: syntax.FunctionDef) -> list[syntax.Call] | None:
    """The calls of a function, if nothing but calls speak of it."""
    name = _called_as(program, function)
    if function.decorator_list or len(program.own.get(name, ())) != 1:
        return None
    if any(isinstance(node, syntax.Yield | syntax.YieldFrom) for node in syntax.walk(function)):
        return None
    calls: list[syntax.Call] = []
    bare = isinstance(program.parents[program.own[name][0]], syntax.Module)
    for node in program.mentions.get(name, ()):
        if isinstance(node, syntax.alias):
            if node.asname not in (None, name):
                return None
        elif not (bare and isinstance(node, syntax.Attribute) and _is_method(program, node)):
            call = program.parents[node]
            if not isinstance(call, syntax.Call) or call.func is not node:
                return None
            calls.append(call)
    return calls or None


def _called_as(program: Spoken, function: syntax.FunctionDef) -> str:
    """The name that a call of a function speaks of; '' where others than the program call it."""
    owner = program.parents[function]
    if function.name == "__init__":
        return owner.name if isinstance(owner, syntax.ClassDef) else ""
    return "" if function.name.startswith("__") or function.name == "forward" else function.name


def _is_method(program: Spoken, node: syntax.Attribute) -> bool:
    """Whether an attribute is none of a module, and so no function of the module's own."""
    name = last_name(node.value)
    return not any(isinstance(one, syntax.alias) for one in program.mentions.get(name, ()))


def _has_one_optimizer(program: Spoken, trees: Iterable[syntax.Module]) -> bool:
    """Whether one class of ``torch.optim`` is named, in one call that is evaluated once."""
    named = [
        alias.asname or alias.name
        for tree in trees
        for node in syntax.walk(tree)
        if isinstance(node, syntax.ImportFrom) and (node.module or "").startswith("torch.optim")
        for alias in node.names
        if alias.name not in _NO_OPTIMIZERS and "lr_scheduler" not in (node.module or "")
    ]
    made = [
        node
        for name in named
        for node in program.mentions.get(name, ())
        if not isinstance(node, syntax.alias)
    ]
    for node in program.mentions.get("optim", ()):
        outer = program.parents[node]
        if isinstance(node, syntax.alias):
            if node.asname not in (None, "optim"):
                return False
        elif not isinstance(outer, syntax.Attribute):
            return False
        elif outer.attr not in _NO_OPTIMIZERS:
            made.append(outer)
    if len(made) != 1:
        return False
    call = program.parents[made[0]]
    return isinstance(call, syntax.Call) and call.func is made[0] and _is_once(program, call)


def _is_once(program: Spoken, node: syntax.AST) -> bool:
    """Whether an expression is evaluated once at most: its function is called in one place, once,
    and so on up to the program's top."""
    inner: syntax.AST | None = node
    for _ in range(_DEEPEST):
        around = _function_around(program, inner)
        while inner is not None and inner is not around:
            if isinstance(inner, _REPEATED):
                return False
            inner = program.parents.get(inner)
        if around is None:
            return True
        calls = _callers(program, around) if isinstance(around, syntax.FunctionDef) else None
        if calls is None or not _are_exclusive(program, calls):
            return False
        inner = calls[0]
    return False


def _are_exclusive(program: Spoken, calls: Sequence[syntax.Call]) -> bool:
    """Whether one of these calls is evaluated at most: there is one, or one in each branch of an
    ``if`` that itself stands at the program's top."""
    if len(calls) == 1:
        return True
    sides: list[tuple[syntax.AST, bool]] = []
    for call in calls:
        inner: syntax.AST = call
        while not isinstance(outer := program.parents[inner], syntax.If | syntax.Module):
            if isinstance(outer, (*_LATER, *_REPEATED)):
                return False
            inner = outer
        if isinstance(outer, syntax.Module):
            return False
        sides.append((outer, inner in outer.body))
    return len(calls) == 2 and sides[0][0] is sides[1][0] and sides[0][1] != sides[1][1]


def _function_around(program: Spoken, node: syntax.AST | None) -> syntax.AST | None:
    """The innermost function, lambda or generator that a node stands in."""
    outer = program.parents.get(node) if node is not None else None
    while outer is not None and not isinstance(outer, _LATER):
        outer = program.parents.get(outer)
    return outer
