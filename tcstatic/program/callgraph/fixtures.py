"""Tests of pytest: who gives them their arguments."""

from __future__ import annotations

from pathlib import Path
from typing import final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.operations import Unit
from tcstatic.program.callgraph.testing_calls import MONKEY_PATCH
from tcstatic.program.callgraph.values import Kind


@final
class Fixtures:
    """Arguments of tests and fixtures that are results of fixtures."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._linked: set[int] = set()

    def link(self) -> bool:
        """Link what fixtures give to who asks for it by name; return whether anything is new."""
        units = [unit for unit in self._machine.program.units if unit.is_function]
        fixtures: dict[str, list[Unit]] = {}
        for unit in units:
            if any(_last(one) == "fixture" for one in unit.decorators):
                fixtures.setdefault(_last(unit.name), []).append(unit)
        found = False
        for unit in units:
            is_test = _last(unit.name).startswith("test") or unit in fixtures.get(
                _last(unit.name), ()
            )
            if is_test:
                for instance in tuple(self._machine.by_unit.get(unit.index, ())):
                    found = self._ask(instance, fixtures) or found
        return found

    def _ask(self, instance: Instance, fixtures: dict[str, list[Unit]]) -> bool:
        if instance.index in self._linked:
            return False
        self._linked.add(instance.index)
        found = False
        for name, node in instance.unit.parameters.positional:
            if name == "monkeypatch" and name not in fixtures:
                values = self._machine.values
                self._machine.add(instance.at(node), values.get(Kind.RESULT, MONKEY_PATCH, 0))
                found = True
            for fixture in self._nearest(instance.unit, fixtures.get(name, [])):
                for given in self._machine.by_unit.get(fixture.index, ()):
                    source = ops.YIELDED if fixture.is_generator else ops.RESULT
                    self._machine.link(given.at(source), instance.at(node))
                    for passed in fixture.passes:
                        self._machine.link(given.at(passed), instance.at(node))
                    found = True
        return found

    def _nearest(self, unit: Unit, fixtures: list[Unit]) -> list[Unit]:
        """Fixtures of the same class go before those of the module, and those before others."""
        others = [one for one in fixtures if one is not unit]
        same_class = [one for one in others if one.shape is unit.shape and unit.shape]
        same_module = [one for one in others if one.module == unit.module]
        nearest = same_class or [one for one in same_module if one.shape is None]
        if nearest:
            return nearest
        folder = self._path(unit).parent
        above = [one for one in others if self._path(one).parent in (folder, *folder.parents)]
        return above or others

    def _path(self, unit: Unit) -> Path:
        return self._machine.program.modules.all[unit.module].path


def _last(name: str) -> str:
    return name.removesuffix("()").rpartition(".")[2]
