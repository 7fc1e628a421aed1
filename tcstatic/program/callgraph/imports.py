"""Import statements -> names that hold modules, or what lies in them."""

from __future__ import annotations

from typing import final

from tcstatic.program.callgraph.describing import place_of
from tcstatic.program.callgraph.modules import Module, import_path
from tcstatic.program.callgraph.operations import Load, Node
from tcstatic.program.callgraph.program import Program
from tcstatic.program.callgraph.scopes import Names, Scope
from tcstatic.program.callgraph.values import Kind
from tcstatic.program.source import syntax


@final
class Imports:
    """Lowers the imports of one module, wherever they stand."""

    def __init__(self, program: Program, names: Names) -> None:
        self._program = program
        self._modules = program.modules
        self._names = names

    def plain(self, node: syntax.Import, scope: Scope) -> None:
        """``import a.b, c as d``"""
        for alias in node.names:
            if alias.asname:
                name, bound = alias.name, alias.asname
            else:
                name = bound = alias.name.partition(".")[0]
            found = self._modules.find(name, scope.module)
            if found is not None and alias.name != name:
                # the folder of a package without __init__ counts only if the module is there
                whole = self._modules.find(alias.name, scope.module)
                found = found if found.tree is not None or whole is not None else None
            held = self._module(scope, found) if found else self._external(scope, name)
            self._names.write(scope, bound, held)

    def names_from(self, node: syntax.ImportFrom, scope: Scope) -> None:
        """``from .a import b as c, d``"""
        source = self._modules.find_from(node.level, node.module, scope.module)
        is_asked = source is not None and "__getattr__" in source.bindings.bound
        if is_asked and source is not None and not source.is_package:
            # to find out whether it is a package, the interpreter asks for its path
            module, target = self._module(scope, source), scope.unit.node()
            load = Load(module, "__path__", target, place_of(node))
            scope.unit.operations.append(load)
        for alias in node.names:
            if alias.name != "*":
                name = alias.asname or alias.name
                self._names.write(scope, name, self._member(source, node, alias.name, scope))
            elif source is not None:
                for name in sorted(self._modules.exported(source)):
                    held = self._member(source, node, name, scope)
                    self._names.write(scope, name, held)

    def _member(
        self, source: Module | None, node: syntax.ImportFrom, name: str, scope: Scope
    ) -> Node:
        if source is None:
            return self._external(scope, f"{import_path(node)}.{name}")
        if name in source.bindings.bound | source.bindings.shared and source is not scope.module:
            return ~self._modules.variable(source, name)
        inside = self._modules.inside(source, name)
        if inside is not None:
            return self._module(scope, inside)
        if source.tree is None:
            return self._external(scope, f"{source.name}.{name}")
        for star in source.external_stars:
            return self._external(scope, f"{star}.{name}")
        if "__getattr__" in source.bindings.bound:
            target = scope.unit.node()
            load = Load(self._module(scope, source), name, target, place_of(node))
            scope.unit.operations.append(load)
            return target
        return ~self._modules.variable(source, name)

    def _module(self, scope: Scope, module: Module) -> Node:
        target = scope.unit.node()
        value = self._program.values.get(Kind.MODULE, module.index)
        scope.unit.seeds.append((target, value))
        return target

    def _external(self, scope: Scope, path: str) -> Node:
        target = scope.unit.node()
        scope.unit.seeds.append((target, self._program.values.get(Kind.EXTERNAL, path)))
        return target
