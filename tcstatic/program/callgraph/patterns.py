"""The patterns of ``match`` -> operations."""

from __future__ import annotations

from typing import Any, final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.describing import constant_key, place_of
from tcstatic.program.callgraph.expressions import Expressions
from tcstatic.program.callgraph.operations import Node
from tcstatic.program.callgraph.scopes import Names, Scope
from tcstatic.program.source import syntax


@final
class Patterns:
    """Lowers what a ``case`` looks at and binds."""

    def __init__(self, names: Names, expressions: Expressions) -> None:
        self._names = names
        self._expressions = expressions

    def lower(self, pattern: Any, subject: Node, scope: Scope) -> None:
        """Bind the names of a pattern to parts of the subject."""
        match pattern:
            case syntax.MatchAs():
                if pattern.pattern is not None:
                    self.lower(pattern.pattern, subject, scope)
                if pattern.name:
                    self._names.write(scope, pattern.name, subject)
            case syntax.MatchOr():
                for one in pattern.patterns:
                    self.lower(one, subject, scope)
            case syntax.MatchValue():
                right = self._expressions.value(pattern.value, scope)
                equal = ("__eq__",)
                place = place_of(pattern)
                operation = ops.Operate(subject, right, equal, equal, scope.unit.node(), place)
                scope.unit.operations.append(operation)
            case syntax.MatchSequence():
                self._sequence(pattern, subject, scope)
            case syntax.MatchMapping():
                self._mapping(pattern, subject, scope)
            case syntax.MatchClass():
                self._class(pattern, subject, scope)

    def _sequence(self, pattern: Any, subject: Node, scope: Scope) -> None:
        parts = [scope.unit.node() for _ in pattern.patterns]
        stars = [i for i, p in enumerate(pattern.patterns) if isinstance(p, syntax.MatchStar)]
        star = stars[0] if stars else -1
        unpacked = ops.Unpack(subject, tuple(parts), star, place_of(pattern))
        scope.unit.operations.append(unpacked)
        for one, part in zip(pattern.patterns, parts, strict=True):
            if isinstance(one, syntax.MatchStar):
                if one.name:
                    self._names.write(scope, one.name, part)
            else:
                self.lower(one, part, scope)

    def _mapping(self, pattern: Any, subject: Node, scope: Scope) -> None:
        for key, one in zip(pattern.keys, pattern.patterns, strict=True):
            node = self._expressions.value(key, scope)
            target = scope.unit.node()
            constant = constant_key(key)
            place = place_of(pattern)
            scope.unit.operations.append(ops.GetItem(subject, node, constant, target, place))
            self.lower(one, target, scope)
        if pattern.rest:
            self._names.write(scope, pattern.rest, subject)

    def _class(self, pattern: Any, subject: Node, scope: Scope) -> None:
        self._expressions.value(pattern.cls, scope)
        place = place_of(pattern)
        for position, one in enumerate(pattern.patterns):
            target = scope.unit.node()
            # solved with the names in __match_args__, or the fields of a dataclass
            load = ops.Load(subject, f"<match {position}>", target, place)
            scope.unit.operations.append(load)
            self.lower(one, target, scope)
        for name, one in zip(pattern.kwd_attrs, pattern.kwd_patterns, strict=True):
            target = scope.unit.node()
            scope.unit.operations.append(ops.Load(subject, name, target, place))
            self.lower(one, target, scope)
