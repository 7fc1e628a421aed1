"""Definitions of functions and classes -> templates and shapes."""

from __future__ import annotations

from typing import Any, final

from tcstatic.errors import InputError
from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.bindings import Bindings, bindings_of
from tcstatic.program.callgraph.describing import described, place_of
from tcstatic.program.callgraph.expressions import Expressions
from tcstatic.program.callgraph.operations import ClassShape, Node, Unit
from tcstatic.program.callgraph.program import Program
from tcstatic.program.callgraph.scopes import Names, Scope
from tcstatic.program.source import parse, syntax

_TRANSPARENT = frozenset({"Optional", "Union", "Annotated", "Final", "ClassVar", "Required"})

_OF_CLASSES = frozenset({"__new__", "__init_subclass__", "__class_getitem__"})


@final
class Definitions:
    """Lowers what stands around the bodies of functions and classes of one module."""

    def __init__(self, program: Program, names: Names, expressions: Expressions) -> None:
        self._program = program
        self._names = names
        self._expressions = expressions

    def function(self, node: Any, scope: Scope) -> tuple[Unit, Scope]:
        """Return the template of a function, and the scope for its body."""
        name = f"{scope.name}.{node.name}"
        lines = (node.lineno, node.end_lineno or node.lineno)
        unit = self._program.unit(name, scope.module, lines, scope.unit)
        unit.shape = scope.shape
        unit.is_async = isinstance(node, syntax.AsyncFunctionDef)
        unit.decorators = tuple(described(one) for one in node.decorator_list)
        if "staticmethod" in unit.decorators:
            unit.receiver = ""
        elif "classmethod" in unit.decorators or node.name in _OF_CLASSES:
            unit.receiver = "class"
        inner = Scope(unit, scope.module, name, bindings_of(node.body), scope)
        self._parameters(node.args, unit, scope, inner)
        if node.returns is not None:
            for held in self.classes_in(node.returns, scope):
                unit.parameters.typed.append((ops.RESULT, held))
        return unit, inner

    def anonymous(self, node: syntax.Lambda, scope: Scope) -> tuple[Unit, Scope]:
        """Return the template of a lambda, and the scope for its body."""
        scope.lambdas += 1
        name = f"{scope.name}.<lambda{scope.lambdas}>"
        lines = (node.lineno, node.end_lineno or node.lineno)
        unit = self._program.unit(name, scope.module, lines, scope.unit)
        inner = Scope(unit, scope.module, name, Bindings(), scope)
        self._parameters(node.args, unit, scope, inner)
        if scope.shape is not None:
            unit.shape = scope.shape
        return unit, inner

    def closure(self, unit: Unit, scope: Scope) -> Node:
        """Return the node that holds the function made from a template."""
        target = scope.unit.node()
        scope.unit.making.append(ops.MakeFunction(target, unit))
        return target

    def finish(self, node: Any, unit: Unit, scope: Scope) -> None:
        """Decorate the function and bind its name."""
        decorators = [self._expressions.value(one, scope) for one in node.decorator_list]
        held = self.closure(unit, scope)
        self._decorate(node, decorators, held, scope)

    def class_scope(self, node: syntax.ClassDef, scope: Scope) -> tuple[ClassShape, Scope]:
        """Return the shape of a class, and the scope for its body."""
        name = f"{scope.name}.{node.name}"
        shape = ClassShape(name, node.name, scope.module.index, node.lineno)
        shape.place = place_of(node)
        self._program.shapes.append(shape)
        shape.bases = [self._expressions.value(base, scope) for base in node.bases]
        for word in node.keywords:
            held = self._expressions.value(word.value, scope)
            if word.arg == "metaclass":
                shape.metaclass = held
            else:
                shape.keywords.append((word.arg, held))
        inner = Scope(scope.unit, scope.module, name, bindings_of(node.body), scope, shape)
        return shape, inner

    def finish_class(self, node: syntax.ClassDef, shape: ClassShape, scope: Scope) -> None:
        """Decorate the class and bind its name."""
        decorators = [self._expressions.value(one, scope) for one in node.decorator_list]
        target = scope.unit.node()
        scope.unit.making.append(ops.MakeClass(target, shape))
        self._decorate(node, decorators, target, scope)

    def annotated(self, node: syntax.AnnAssign, scope: Scope) -> None:
        """Note a field of a class, such as a dataclass has."""
        assert scope.shape is not None
        name = getattr(node.target, "id", None)
        if name and "ClassVar" not in described(node.annotation):
            scope.shape.annotated.append(name)

    def classes_in(self, node: syntax.AST | None, scope: Scope) -> list[Node]:
        """Return nodes that hold the classes that an annotation names."""
        if isinstance(node, syntax.Name | syntax.Attribute):
            return [self._expressions.value(node, scope)]
        if isinstance(node, syntax.Constant) and isinstance(node.value, str):
            try:
                quoted = parse(node.value.strip()).body
            except InputError:
                return []
            inner = getattr(quoted[0], "value", None) if len(quoted) == 1 else None
            return [] if isinstance(inner, syntax.Constant) else self.classes_in(inner, scope)
        if isinstance(node, syntax.BinOp):
            return [*self.classes_in(node.left, scope), *self.classes_in(node.right, scope)]
        if isinstance(node, syntax.Subscript):
            if described(node.value).rpartition(".")[2] not in _TRANSPARENT:
                return self.classes_in(node.value, scope)
            inside = node.slice
            parts = inside.elts if isinstance(inside, syntax.Tuple) else [inside]
            return [held for part in parts for held in self.classes_in(part, scope)]
        return []

    def _decorate(self, node: Any, decorators: list[Node], held: Node, scope: Scope) -> None:
        for expression, decorator in reversed(
            list(zip(node.decorator_list, decorators, strict=True))
        ):
            held = self._expressions.invoke(
                scope, decorator, (held,), place_of(expression), described(expression), True
            )
        self._names.write(scope, node.name, held)

    def _parameters(self, node: syntax.arguments, unit: Unit, scope: Scope, inner: Scope) -> None:
        given = unit.parameters
        positional = [*node.posonlyargs, *node.args]
        given.positional_only = len(node.posonlyargs)
        for argument in positional:
            given.positional.append((argument.arg, self._parameter(argument, unit, scope, inner)))
        for argument in node.kwonlyargs:
            given.named[argument.arg] = self._parameter(argument, unit, scope, inner)
        for name, held in given.positional[given.positional_only :]:
            given.named[name] = held
        if node.vararg is not None:
            given.rest = self._parameter(node.vararg, unit, None, inner)
        if node.kwarg is not None:
            given.rest_named = self._parameter(node.kwarg, unit, None, inner)
        with_default = positional[len(positional) - len(node.defaults) :]
        named = dict(given.positional)
        for argument, default in zip(with_default, node.defaults, strict=True):
            self._default(named[argument.arg], default, unit, scope)
        for argument, keyword_default in zip(node.kwonlyargs, node.kw_defaults, strict=True):
            if keyword_default is not None:
                self._default(given.named[argument.arg], keyword_default, unit, scope)

    def _parameter(
        self, argument: syntax.arg, unit: Unit, scope: Scope | None, inner: Scope
    ) -> Node:
        held = unit.node()
        inner.bindings.bound.add(argument.arg)
        inner.bind(argument.arg, held)
        if argument.arg in inner.bindings.shared:
            inner.merge(argument.arg)
        if scope is not None and argument.annotation is not None:
            for classes in self.classes_in(argument.annotation, scope):
                unit.parameters.typed.append((held, classes))
        return held

    def _default(self, held: Node, default: Any, unit: Unit, scope: Scope) -> None:
        node = self._expressions.value(default, scope)
        unit.parameters.defaults.append((held, node))
