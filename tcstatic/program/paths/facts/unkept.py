"""A best that is compared with each epoch and never takes its value: each one is the best.

What is looked at is the text: what is saved where something is better than the best so far, whose
only value is the one that it began with.
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

_BEST: Final = re.compile(r"(?<![a-z])(best|lowest|highest)(?![a-z])", re.IGNORECASE)
_SAVES: Final = re.compile(r"save|deepcopy|state_dict|checkpoint", re.IGNORECASE)
# Where a search begins; any other number may well be a mark that is to be passed.
_START: Final = re.compile(
    r"-?(0|0\.0*|1|1\.0*|9+|9+\.0*|100|1000+|1e\d+|1\.0*e\d+|float\(['\"][+-]?inf(inity)?['\"]\)"
    r"|(np|numpy|math|torch)\.inf|sys\.maxsize)"
)
# What nothing measured is worse than, whatever the name.
_INFINITE: Final = re.compile(
    r"-?(float\(['\"][+-]?inf(inity)?['\"]\)|(np|numpy|math|torch)\.inf|sys\.maxsize)",
    re.IGNORECASE,
)
_LOOPS: Final = (syntax.For, syntax.While, syntax.AsyncFor)


@surveys
def unkept(m: Machine, block: Block) -> None:
    """``never_kept`` of the comparison with a best that keeps the value it began with."""
    for module, (test, name) in wording.found(block, _SAVES, _in_module):
        place = Place(module, test, title_around(module.tree, test.lineno))
        tell(block, "never_kept", place, name=name, compared=syntax.unparse(test))


def _in_module(module: Module) -> Iterator[tuple[syntax.expr, str]]:
    every = list(statements_in(module.tree))
    for one in every:
        if not isinstance(one, syntax.If) or not isinstance(one.test, syntax.Compare):
            continue
        saves = any(_SAVES.search(syntax.unparse(held)) for held in one.body)
        if not saves or not _is_ordered(one.test):
            continue
        sides = (one.test.left, one.test.comparators[0])
        for name in {wording.name(side) for side in sides if len(one.test.ops) == 1} - {""}:
            called_best = _BEST.search(name.rpartition(".")[2]) is not None
            start = _START if called_best else _INFINITE
            if _is_constant(every, name, one, start):
                yield one.test, name


def _is_ordered(test: syntax.Compare) -> bool:
    return isinstance(test.ops[0], syntax.Lt | syntax.LtE | syntax.Gt | syntax.GtE)


def _is_constant(
    every: list[syntax.stmt], name: str, asked: syntax.If, start: re.Pattern[str]
) -> bool:
    """Whether a name is given one value, where a search begins, and in a round of which it is
    asked it is not given that anew."""
    last = name.rpartition(".")[2]
    given = [one for one in every if _gives(one, last)]
    if len(given) != 1 or not isinstance(given[0], syntax.Assign | syntax.AnnAssign):
        return False
    held = dict(wording.pairs(given[0])).get(name, getattr(given[0], "value", None))
    first = held is not None and start.fullmatch(syntax.unparse(held)) is not None
    return first and not any(
        isinstance(one, _LOOPS) and given[0] in _inside(one) and asked in _inside(one)
        for one in every
    )


def _gives(one: syntax.stmt, last: str) -> bool:
    """Whether a statement may give a value to anything of this name: by assignment, as a global,
    a parameter, or in the words of a call."""
    if isinstance(one, syntax.FunctionDef | syntax.AsyncFunctionDef):
        every = (*one.args.posonlyargs, *one.args.args, *one.args.kwonlyargs)
        return any(parameter.arg == last for parameter in every)
    if isinstance(one, syntax.Global | syntax.Nonlocal | syntax.Import | syntax.ImportFrom):
        return False
    bound = {text.rpartition(".")[2] for text in wording.bound(one)}
    words = {word.arg for call in wording.calls(one) for word in call.keywords}
    walrus = {
        wording.name(part.target)
        for part in wording.expressions(one)
        if isinstance(part, syntax.NamedExpr)
    }
    texts = {
        str(part.value)
        for call in wording.calls(one)
        if wording.called(call) == "setattr"
        for part in call.args
        if isinstance(part, syntax.Constant)
    }
    return last in bound | words | walrus | texts


def _inside(one: syntax.stmt) -> list[syntax.stmt]:
    return list(statements_in(one))
