"""Files -> the call graph: lower, solve, and ask again until nothing is new."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import final

from tcstatic.program.callgraph.attributes import Attributes
from tcstatic.program.callgraph.binding import Binding
from tcstatic.program.callgraph.calls import Calls
from tcstatic.program.callgraph.classes import Classes
from tcstatic.program.callgraph.construction import Construction
from tcstatic.program.callgraph.conversions import Conversions
from tcstatic.program.callgraph.descriptors import Descriptors
from tcstatic.program.callgraph.effects import Effects
from tcstatic.program.callgraph.entries import Entries
from tcstatic.program.callgraph.graph import CallGraph, Function, Unknown
from tcstatic.program.callgraph.guesses import Guesses
from tcstatic.program.callgraph.items import Items
from tcstatic.program.callgraph.iteration import Iteration
from tcstatic.program.callgraph.library import Library
from tcstatic.program.callgraph.lowering import lower
from tcstatic.program.callgraph.machine import Instance, Machine
from tcstatic.program.callgraph.modules import Modules
from tcstatic.program.callgraph.operations import (
    Invoke,
    MakeClass,
    MakeFunction,
    Making,
    Place,
    Unit,
)
from tcstatic.program.callgraph.operators import Operators
from tcstatic.program.callgraph.pickling import Pickling
from tcstatic.program.callgraph.program import Program
from tcstatic.program.callgraph.subscripts import Subscripts
from tcstatic.program.callgraph.values import Kind

MOST_ROUNDS = 40
"""Rounds of settling what the fixpoint left open; two or three are usual."""


def build(files: Sequence[Path], root: Path) -> CallGraph:
    """Return the call graph of the program that the files are.

    Names are dotted from `root`. The order of the files makes no difference, and nothing is kept
    between calls. A file that cannot be read is in `CallGraph.skipped`, with the reason.
    """
    with _uncollected():
        modules = Modules(files, root)
        program = lower(modules)
        solution = _Solution(program)
        solution.solve()
        return solution.graph()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Syntax trees are millions of objects that all live: looking for garbage in them again and
    again takes longer than all the rest."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@final
class _Solution:
    """The machine with all that is plugged into it."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._machine = machine = Machine(program)
        self._classes = classes = Classes(machine)
        items = Items(machine)
        self._attributes = attributes = Attributes(machine, classes)
        attributes.items = items
        items.member_added = classes.added
        binding = Binding(machine, items)
        calls = attributes.calls = Calls(machine, classes, attributes, binding)
        iteration = binding.iteration = Iteration(machine, classes, items, attributes, calls)
        subscripts = Subscripts(machine, classes, items, iteration, attributes, calls)
        construction = Construction(machine, classes, attributes, calls, items, subscripts)
        calls.construction = construction
        Descriptors(machine, classes, attributes, calls)
        Operators(machine, attributes, calls, items, iteration, subscripts, construction)
        effects = Effects(
            machine, classes, attributes, calls, items, iteration, subscripts, construction
        )
        Conversions(effects)
        Pickling(effects)
        calls.library = Library(effects)
        self._subscripts = subscripts
        self._entries = Entries(machine, classes, attributes, construction)
        self._guesses = Guesses(machine, classes, self._entries)
        machine.make = self._make

    def solve(self) -> None:
        """Find all values of all nodes."""
        machine = self._machine
        for unit in self._program.units:
            if not unit.is_function:
                machine.shared(unit, None)
        self._settle()
        for _ in range(MOST_ROUNDS):
            if not self._entries.enter() and not self._guesses.make():
                break
            self._settle()

    def _settle(self) -> None:
        self._machine.solve()
        while True:
            made = self._classes.settle()
            missing = self._attributes.settle()
            unkeyed = self._subscripts.settle()
            if not made and not missing and not unkeyed:
                return
            self._machine.solve()

    def _make(self, made: Making, instance: Instance) -> None:
        machine = self._machine
        target = instance.at(made.target)
        if isinstance(made, MakeFunction):
            value = machine.values.get(Kind.FUNCTION, made.unit.index, instance.index)
            machine.closures.setdefault(made.unit.index, []).append((value, instance.index))
            machine.add(target, value)
        elif isinstance(made, MakeClass):
            value = self._classes.make(made, instance)
            machine.add(target, value)
            self._entries.made(value, instance)
        else:
            machine.add(target, self._subscripts.make(made, instance))

    def graph(self) -> CallGraph:
        """Return what was found."""
        machine, modules = self._machine, self._program.modules
        functions: dict[str, Function] = {}
        edges: dict[str, set[str]] = {}
        unknown: dict[str, list[Unknown]] = {}
        for unit in self._program.units:
            path = modules.all[unit.module].path
            class_ = unit.shape.name if unit.shape is not None else None
            found = Function(unit.name, path, unit.line, unit.end_line, class_)
            functions.setdefault(unit.name, found)
            edges.setdefault(unit.name, set()).update(machine.edges.get(unit.index, ()))
            for call in unit.operations:
                if isinstance(call, Invoke):
                    reason = self._reason(unit, call)
                    if reason:
                        unknown.setdefault(unit.name, []).append((call.place[0], reason))
        sites: dict[Path, dict[Place, tuple[str, ...]]] = {}
        for (module, place), names in machine.places.items():
            by_place = sites.setdefault(modules.all[module].path, {})
            by_place[place] = tuple(sorted(names))
        classes = {shape.name: modules.all[shape.path].path for shape in self._program.shapes}
        return CallGraph(functions, edges, unknown, sites, modules.skipped, classes)

    def _reason(self, unit: Unit, call: Invoke) -> str:
        """Why it is not known what a call calls; empty where it is."""
        machine, place = self._machine, (unit.module, call.place)
        if place in machine.reasons:
            return machine.reasons[place]
        if place not in machine.places:
            return f"nothing is known of `{call.text}`"
        instances = machine.by_unit.get(unit.index, ())
        if any(instance.at(call.function) in machine.capped for instance in instances):
            return f"`{call.text}` may be too many things"
        return ""
