"""Statements that part the rows of a table into some to train on and some to evaluate with."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.source import syntax

_PARTS: Final = frozenset({"train_test_split", "random_split"})
_SPLITTERS: Final = re.compile(r"(KFold|ShuffleSplit|LeaveOneOut|LeavePOut|TimeSeriesSplit)$")
_TRAINS: Final = re.compile(r"(^|_)(train(ing)?|trn?)(_|\d|$)|^tr$", re.IGNORECASE)
_HOLDS_OUT: Final = re.compile(
    r"(^|_)(test(ing)?|val(id|idation)?|eval|held|hold_?out|dev|tst|te)(_|\d|$)", re.IGNORECASE
)


@final
class Divisions:
    """The divisions of one function.

    `_splitters` are names of what tells the rows of each fold, `_indexes` by which the rows of
    each name are taken.
    """

    def __init__(self, statements: list[syntax.stmt]) -> None:
        self._statements = statements
        self._splitters = {
            name
            for one in statements
            for name, value in wording.pairs(one)
            if _SPLITTERS.search(wording.called(value))
        }
        self._indexes: dict[str, set[str]] = {}
        for one in statements:
            for name, index in _taken(one):
                self._indexes.setdefault(name, set()).add(index)

    @staticmethod
    def parts(statement: syntax.stmt) -> bool:
        """Whether a statement binds names to parts by a function for that."""
        return any(wording.called(call) in _PARTS for call in wording.calls(statement))

    def at(
        self, statement: syntax.stmt, names: Collection[str], columns: Collection[str]
    ) -> Iterator[tuple[str, int]]:
        """The names among some that a statement begins to part, each with the line of that; some
        of them are about `columns`, and have no rows of their own."""
        line = statement.lineno
        for call in wording.calls(statement):
            if not self._divides(call):
                continue
            given = [*call.args, *(one.value for one in call.keywords)]
            for name in sorted({n for one in given for n in wording.names(one)} & set(names)):
                if self._is_used(statement):
                    yield name, line
        kept = not isinstance(statement, syntax.Assert | syntax.Expr)
        for name, index in _taken(statement) if kept else ():
            if name in names and name not in columns and index and self._other_part(name, index):
                yield name, line

    def _divides(self, call: syntax.Call) -> bool:
        if wording.called(call) in _PARTS:
            return True
        holder = getattr(call.func, "value", None)
        known = wording.name(holder) in self._splitters
        folds = known or _SPLITTERS.search(wording.called(holder)) is not None
        return wording.called(call) == "split" and folds

    def _is_used(self, statement: syntax.stmt) -> bool:
        """Whether the second part of a division is looked at."""
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        elements: list[Any] = getattr(targets[0], "elts", []) if len(targets) == 1 else []
        if len(elements) < 2:
            return True
        name = wording.name(elements[1])
        return any(
            name in wording.names(one)
            for other in self._statements
            if other.lineno > statement.lineno or isinstance(statement, syntax.For)
            for one in wording.expressions(other)
            if isinstance(getattr(one, "ctx", None), syntax.Load)
        )

    def _other_part(self, name: str, index: str) -> bool:
        """Whether the rows that an index leaves out are taken as well."""
        return any(_complement(index, rest) for rest in self._indexes.get(name, ()))


def _taken(statement: syntax.stmt) -> Iterator[tuple[str, str]]:
    """The names whose rows a statement takes, each with the text of the index."""
    for one in wording.expressions(statement):
        if isinstance(one, syntax.Subscript) and isinstance(one.ctx, syntax.Load):
            index: Any = one.slice
            if isinstance(index, syntax.Tuple) and index.elts:
                index = index.elts[0]
            yield wording.name(one.value), syntax.unparse(index)
        elif isinstance(one, syntax.Call) and (wording.called(one), len(one.args)) == ("Subset", 2):
            yield wording.name(one.args[0]), syntax.unparse(one.args[1])


def _complement(index: str, other: str) -> bool:
    """Whether two indexes take the rows to train on, and those to evaluate with."""
    if _TRAINS.search(index) and _HOLDS_OUT.search(other):
        return True
    if other in (f"~{index}", f"~({index})"):
        return True
    # ``x[:n]`` and ``x[n:]``; ``x[order[:n]]`` and ``x[order[n:]]``
    stop = re.fullmatch(r"(.*?)\[?:([^:\[\]]+)\]?", index)
    if stop is None:
        return False
    holder, number = stop[1], stop[2]
    rest = f"{holder}[{number}:" if holder else f"{number}:"
    return other.startswith(rest)
