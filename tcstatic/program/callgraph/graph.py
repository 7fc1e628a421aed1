"""The call graph, and the questions that it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import final

import networkx

from tcstatic.program.callgraph.modules import Skipped
from tcstatic.program.callgraph.operations import Place

Unknown = tuple[int, str]
"""Line of a call, and why its callee is not known."""


@final
@dataclass(frozen=True, slots=True)
class Function:
    """A function, method, lambda or module of the program; `class_` is the class of a method."""

    name: str
    path: Path
    line: int
    end_line: int
    class_: str | None = None


@final
class CallGraph:
    """Who calls whom. Names are dotted, from the root folder of the program.

    A class without a constructor of its own is a callee by its own name. Builtins are named
    ``<builtin>.print``, what lies in other libraries by its dotted path.
    """

    def __init__(
        self,
        functions: Mapping[str, Function],
        edges: Mapping[str, Iterable[str]],
        unknown: Mapping[str, Sequence[Unknown]],
        sites: Mapping[Path, Mapping[Place, tuple[str, ...]]],
        skipped: Sequence[Skipped],
        classes: Mapping[str, Path],
    ) -> None:
        self.functions: Mapping[str, Function] = MappingProxyType(dict(sorted(functions.items())))
        self.classes: Mapping[str, Path] = MappingProxyType(dict(sorted(classes.items())))
        self.skipped = tuple(skipped)
        self._unknown = {name: tuple(sorted(set(found))) for name, found in unknown.items()}
        self._sites = sites
        self._graph = networkx.DiGraph()
        self._graph.add_nodes_from(self.functions)
        for caller, callees in sorted(edges.items()):
            self._graph.add_edges_from((caller, callee) for callee in sorted(callees))

    def callees(self, name: str) -> frozenset[str]:
        """Return what the function may call."""
        return frozenset(self._graph.successors(name)) if name in self._graph else frozenset()

    def callers(self, name: str) -> frozenset[str]:
        """Return what may call the function."""
        return frozenset(self._graph.predecessors(name)) if name in self._graph else frozenset()

    def reachable(self, names: Iterable[str]) -> frozenset[str]:
        """Return the functions, and all that they may call, directly or not."""
        found: set[str] = set()
        for name in names:
            if name in self._graph and name not in found:
                found.add(name)
                found |= networkx.descendants(self._graph, name)
        return frozenset(found)

    def unknown(self, name: str) -> tuple[Unknown, ...]:
        """Return the calls in a function whose callee is not known: line and reason."""
        return self._unknown.get(name, ())

    def entry_points(self) -> tuple[str, ...]:
        """Return the functions of the program that nothing in it calls, sorted."""
        return tuple(name for name in self.functions if not self._graph.in_degree(name))

    def cycles(self) -> tuple[tuple[str, ...], ...]:
        """Return the groups of functions that may call one another in a circle, sorted."""
        groups = networkx.strongly_connected_components(self._graph)
        return tuple(
            sorted(
                tuple(sorted(group))
                for group in groups
                if len(group) > 1 or self._graph.has_edge(*(tuple(group) * 2))
            )
        )

    def resolve(
        self, path: Path, line: int, column: int, end: tuple[int, int] | None = None
    ) -> tuple[str, ...]:
        """Return what may be called at a place, sorted: that of a call as ``ast`` counts it.

        Several calls may start at one place, as in ``f()()``; `end`, the end line and column,
        tells them apart. Without it the answer is about all of them.
        """
        found: set[str] = set()
        for place, callees in self._sites.get(path, {}).items():
            if place[:2] == (line, column) and end in (None, place[2:]):
                found.update(callees)
        return tuple(sorted(found))

    def as_dict(self) -> dict[str, list[str]]:
        """Return each function of the program with its callees, all sorted."""
        return {name: sorted(self._graph.successors(name)) for name in self.functions}
