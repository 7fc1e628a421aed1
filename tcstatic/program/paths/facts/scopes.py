"""What the text of one function binds its names to, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.project import Module, statements_in
from tcstatic.program.source import syntax


@final
@dataclass(frozen=True, slots=True)
class Scope:
    """A function, or the text of a module outside of functions, with what it binds: by name the
    statements in order, and the values."""

    node: Any
    module: Module
    outer: Scope | None = None
    binds: dict[str, list[tuple[syntax.stmt, syntax.expr]]] = field(default_factory=dict)

    @property
    def own(self) -> list[syntax.stmt]:
        """Its statements, without those of functions and classes within."""
        return list(wording.own(self.node.body))

    @property
    def parameters(self) -> list[str]:
        """What it is given, by name and in order."""
        given = getattr(self.node, "args", None)
        return [one.arg for one in (*given.posonlyargs, *given.args)] if given is not None else []

    def bound(self, name: str, line: int) -> syntax.expr | None:
        """What a name was last bound to above a line; of a name from outside, at all."""
        before = [value for one, value in self.binds.get(name, ()) if one.lineno < line]
        if before or name in self.parameters:
            return before[-1] if before else None
        return None if self.outer is None else self.outer.bound(name, 10**9)


def scopes(module: Module) -> list[Scope]:
    """The module itself and all functions in it."""
    first = _scope(module.tree, module, None)
    return [
        first,
        *(
            _scope(one, module, first)
            for one in statements_in(module.tree)
            if isinstance(one, syntax.FunctionDef | syntax.AsyncFunctionDef)
        ),
    ]


def _scope(node: Any, module: Module, outer: Scope | None) -> Scope:
    made = Scope(node, module, outer)
    for one in made.own:
        for name, value in _bindings(one):
            made.binds.setdefault(name, []).append((one, value))
    return made


def _bindings(one: syntax.stmt) -> Iterator[tuple[str, syntax.expr]]:
    yield from wording.pairs(one)
    if isinstance(one, syntax.AugAssign) and wording.name(one.target):
        # What stood there before does not matter to what is asked of it.
        yield wording.name(one.target), one.value
    if isinstance(one, syntax.AnnAssign) and one.value is not None and wording.name(one.target):
        yield wording.name(one.target), one.value
    targets: list[Any] = list(getattr(one, "targets", ()))
    value: Any = getattr(one, "value", None)
    if len(targets) == 1 and not isinstance(value, syntax.Tuple):
        for part in getattr(targets[0], "elts", ()):
            if wording.name(part):
                yield wording.name(part), value
