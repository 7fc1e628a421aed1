"""What is no longer told apart where there is a lot of it: each value has one that stands for it.

A crowded node takes no second function with the same code and no second object of the same class.
What the one that is turned away encloses, is bound to or has in its attributes is not lost: it
flows to the one that stands for it.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias, final

from tcstatic.program.callgraph.operations import Unit
from tcstatic.program.callgraph.values import Kind, Value, Values

Code: TypeAlias = tuple[int | str, ...]


class _Owner(Protocol):
    @property
    def unit(self) -> Unit: ...
    @property
    def parent(self) -> _Owner | None: ...
    def at(self, node: int) -> int: ...


class Flows(Protocol):
    """What is asked of the machine."""

    values: Values
    fields: dict[Value, dict[str, int]]

    def owner(self, index: int) -> _Owner:
        """Return an instance of a template."""

    def link(self, source: int, target: int) -> None:
        """Have values flow."""

    def field(self, value: Value, name: str) -> int:
        """Return the node of an attribute."""


@final
class Crowds:
    """Who stands for whom."""

    def __init__(self, flows: Flows, units: list[Unit]) -> None:
        self._flows = flows
        self._codes: dict[Value, Code] = {}
        self._first: dict[Code, Value] = {}
        self.merged: dict[Value, Value] = {}
        """What was turned away -> what stands for it."""
        self._joined: set[tuple[int, int]] = set()
        self._enclosed: dict[int, set[int]] = {}
        for unit in units:
            for free in unit.free:
                owner = unit
                for _ in range(free.depth):
                    assert owner.parent is not None
                    owner = owner.parent
                self._enclosed.setdefault(owner.index, set()).add(free.outer)

    def code(self, value: Value) -> Code:
        """Return the code behind a value, whatever it was made with; empty if there is none."""
        code = self._codes.get(value)
        if code is None:
            values = self._flows.values
            kind, data = values.kind[value], values.data[value]
            if kind is Kind.FUNCTION:
                code = (kind, data[0])
            elif kind is Kind.CLASS:
                code = (kind, *data[:-1])
            elif kind is Kind.BOUND:
                code = (kind, *self.code(data[0]), *self.code(data[1]))
            elif kind is Kind.INSTANCE:
                code = (kind, *self.code(data[0]))
            else:
                code = ()
            self._codes[value] = code
        return code

    def codes(self, value: Value) -> tuple[Code, ...]:
        """Return the code behind a value, and last what is told apart where there is most: the
        function of a bound one, whatever it is bound to."""
        code = self.code(value)
        if not code or code[0] != Kind.BOUND:
            return (code,) if code else ()
        return (code, (Kind.BOUND, *self.code(self._flows.values.data[value][0])))

    def stand_in(self, value: Value) -> Value:
        """Return the value that stands for all with the same code, and have it be like this one."""
        code = self.code(value)
        first = self._first.setdefault(code, value)
        self._stand(value, first)
        return first

    def _merge(self, value: Value, first: Value) -> None:
        flows = self._flows
        kind, data = flows.values.kind[value], flows.values.data[value]
        other = flows.values.data[first]
        if kind is Kind.FUNCTION:
            self._join(flows.owner(data[1]), flows.owner(other[1]))
        elif kind is Kind.BOUND:
            for part, standing in zip(data, other, strict=True):
                self._stand(part, standing)
        elif kind is Kind.INSTANCE:
            for name, node in tuple(flows.fields.get(value, {}).items()):
                self.share(value, name, node)

    def _stand(self, value: Value, first: Value) -> None:
        if value != first and value not in self.merged:
            self.merged[value] = first
            self._merge(value, first)

    def share(self, value: Value, name: str, node: int) -> None:
        """Have what an attribute of a value holds flow to what stands for the value."""
        first = self.merged.get(value)
        if first is not None and name[:1] not in "<@.":
            self._flows.link(node, self._flows.field(first, name))

    def _join(self, source: _Owner, target: _Owner) -> None:
        """Have what one instance of a function encloses flow to another one of it."""
        one: _Owner | None = source
        two: _Owner | None = target
        while one is not None and two is not None and one is not two and one.unit is two.unit:
            key = (one.at(0), two.at(0))
            if key in self._joined:
                return
            self._joined.add(key)
            for node in sorted(self._enclosed.get(one.unit.index, ())):
                self._flows.link(one.at(node), two.at(node))
            one, two = one.parent, two.parent
