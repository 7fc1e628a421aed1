"""Which names a body of statements binds, found before it is lowered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, final

from tcstatic.program.callgraph.exports import Listed, added_by, listed_in
from tcstatic.program.source import syntax

_FUNCTIONS = (syntax.FunctionDef, syntax.AsyncFunctionDef)
_BODIES = ("body", "orelse", "handlers", "finalbody", "cases")


@final
@dataclass(slots=True)
class Bindings:
    """Names of one scope. `shared` ones are rebound by functions inside: their versions cannot
    be told apart."""

    bound: set[str] = field(default_factory=set)
    global_names: set[str] = field(default_factory=set)
    nonlocal_names: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    stars: list[syntax.ImportFrom] = field(default_factory=list)
    exported: list[str] | None = None
    exporters: list[str] = field(default_factory=list)
    """Modules whose own lists of what they export are part of this one's."""


def bindings_of(body: Iterable[syntax.stmt], *, whole_module: bool = False) -> Bindings:
    """Return the names that the statements bind in their own scope."""
    found = Bindings()
    for statement in statements_in(body):
        _STATEMENTS.get(type(statement), _nothing)(statement, found)
        if isinstance(statement, (*_FUNCTIONS, syntax.ClassDef)):
            _share(statement, found, whole_module)
    found.bound -= found.global_names | found.nonlocal_names
    return found


def statements_in(body: Iterable[Any]) -> Iterator[Any]:
    """Yield the statements of a body and of the compound ones in it, not those of functions."""
    for statement in body:
        yield statement
        if isinstance(statement, (*_FUNCTIONS, syntax.ClassDef)):
            continue
        for name in _BODIES:
            inner = getattr(statement, name, None)
            if inner:
                yield from statements_in(inner)


def target_names(target: syntax.AST) -> Iterator[str]:
    """Yield the names that an assignment to `target` binds."""
    if isinstance(target, syntax.Name):
        yield target.id
    elif isinstance(target, syntax.Tuple | syntax.List):
        for element in target.elts:
            yield from target_names(element)
    elif isinstance(target, syntax.Starred):
        yield from target_names(target.value)


def pattern_names(pattern: syntax.AST) -> Iterator[str]:
    """Yield the names that a ``case`` binds."""
    for node in syntax.walk(pattern):
        for attribute in ("name", "rest"):
            name = getattr(node, attribute, None)
            if isinstance(name, str):
                yield name


def _nothing(statement: Any, found: Bindings) -> None:
    del statement, found


def _assign(statement: Any, found: Bindings) -> None:
    targets = statement.targets if isinstance(statement, syntax.Assign) else [statement.target]
    for target in targets:
        found.bound.update(target_names(target))
    first = targets[0]
    if isinstance(first, syntax.Name) and first.id == "__all__":
        _export(statement, found)
    _walrus(getattr(statement, "value", None), found)


def _export(statement: Any, found: Bindings) -> None:
    if statement.value is not None:
        _list(listed_in(statement.value), found)


def _expression(statement: Any, found: Bindings) -> None:
    added = added_by(statement.value)
    if added is not None:
        _list(added, found)


def _list(listed: Listed, found: Bindings) -> None:
    found.exported = [*(found.exported or ()), *listed.names]
    found.exporters.extend(listed.parts)


def _for(statement: Any, found: Bindings) -> None:
    found.bound.update(target_names(statement.target))


def _with(statement: Any, found: Bindings) -> None:
    for item in statement.items:
        if item.optional_vars is not None:
            found.bound.update(target_names(item.optional_vars))


def _named(statement: Any, found: Bindings) -> None:
    if statement.name:
        found.bound.add(statement.name)


def _import(statement: Any, found: Bindings) -> None:
    for alias in statement.names:
        if alias.name == "*":
            found.stars.append(statement)
        else:
            found.bound.add(alias.asname or alias.name.partition(".")[0])


def _import_from(statement: Any, found: Bindings) -> None:
    for alias in statement.names:
        if alias.name == "*":
            found.stars.append(statement)
        else:
            found.bound.add(alias.asname or alias.name)


def _global(statement: Any, found: Bindings) -> None:
    found.global_names.update(statement.names)


def _nonlocal(statement: Any, found: Bindings) -> None:
    found.nonlocal_names.update(statement.names)


def _test(statement: Any, found: Bindings) -> None:
    _walrus(statement.test, found)


def _walrus(expression: syntax.AST | None, found: Bindings) -> None:
    """Names bound by ``:=`` in the places where people put it."""
    if expression is None or isinstance(expression, syntax.Constant | syntax.Name):
        return
    for node in syntax.walk(expression):
        if isinstance(node, syntax.NamedExpr):
            found.bound.update(target_names(node.target))


def _case(case: Any, found: Bindings) -> None:
    found.bound.update(pattern_names(case.pattern))


def _share(definition: Any, found: Bindings, whole_module: bool) -> None:
    for statement in statements_in(definition.body):
        if isinstance(statement, syntax.Nonlocal) or (
            whole_module and isinstance(statement, syntax.Global)
        ):
            found.shared.update(statement.names)
        elif isinstance(statement, (*_FUNCTIONS, syntax.ClassDef)):
            _share(statement, found, whole_module)


_STATEMENTS: dict[type, Any] = {
    syntax.Assign: _assign,
    syntax.AnnAssign: _assign,
    syntax.AugAssign: _assign,
    syntax.Expr: _expression,
    syntax.For: _for,
    syntax.AsyncFor: _for,
    syntax.With: _with,
    syntax.AsyncWith: _with,
    syntax.FunctionDef: _named,
    syntax.AsyncFunctionDef: _named,
    syntax.ClassDef: _named,
    syntax.ExceptHandler: _named,
    syntax.Import: _import,
    syntax.ImportFrom: _import_from,
    syntax.Global: _global,
    syntax.Nonlocal: _nonlocal,
    syntax.If: _test,
    syntax.While: _test,
    syntax.match_case: _case,
}
