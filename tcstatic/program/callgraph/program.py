"""What lowering makes of a program: templates, and the tables that they point into."""

from __future__ import annotations

from typing import final

from tcstatic.program.callgraph.modules import Module, Modules
from tcstatic.program.callgraph.operations import ClassShape, Unit
from tcstatic.program.callgraph.values import Values


@final
class Program:
    """All templates, in the order of modules by path and of source within a module."""

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        self.values = Values()
        self.units: list[Unit] = []
        self.shapes: list[ClassShape] = []
        self._sites = 0

    def site(self) -> int:
        """Return a new number for a place where values are made or functions called."""
        self._sites += 1
        return self._sites

    def unit(self, name: str, module: Module, lines: tuple[int, int], parent: Unit | None) -> Unit:
        """Return a new template."""
        made = Unit(len(self.units), name, module.index, lines[0], lines[1], parent)
        self.units.append(made)
        return made
