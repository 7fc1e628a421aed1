"""Expressions of the syntax tree -> operations; each gives the node that holds its value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.describing import constant_key, described, place_of
from tcstatic.program.callgraph.displays import Displays
from tcstatic.program.callgraph.operations import Node, Place
from tcstatic.program.callgraph.program import Program
from tcstatic.program.callgraph.protocols import COMPARISONS, INPLACE, OPERATORS, UNARY
from tcstatic.program.callgraph.scopes import Names, Scope
from tcstatic.program.callgraph.values import Kind
from tcstatic.program.source import syntax

LARGEST_KEY = 32
LONGEST_KEY = 60
FORMAT = ("__format__", "__str__", "__repr__")
TRUTH = ("__bool__", "__len__")
_JOINING = str.maketrans("", "", "._-, ")
_TESTED = (syntax.Name, syntax.Attribute, syntax.Call, syntax.Subscript, syntax.NamedExpr)
_CONVERSIONS = {ord("r"): ("__repr__",), ord("s"): ("__str__", "__repr__")}


@final
class Expressions:
    """Lowers the expressions of one module."""

    def __init__(
        self, program: Program, names: Names, define: Callable[[Scope, syntax.Lambda], Node]
    ) -> None:
        self._program = program
        self._names = names
        self._define = define
        self._displays = Displays(program, self.value)
        self._lowered: dict[type, Callable[[Any, Scope], Node]] = {
            syntax.Name: self._name,
            syntax.Constant: self._constant,
            syntax.Attribute: self._attribute,
            syntax.Call: self._call,
            syntax.Subscript: self._subscript,
            syntax.BinOp: self._binary,
            syntax.BoolOp: self._boolean,
            syntax.UnaryOp: self._unary,
            syntax.Compare: self._compare,
            syntax.IfExp: self._conditional,
            syntax.Lambda: self._lambda,
            syntax.List: self._displays.display,
            syntax.Tuple: self._displays.display,
            syntax.Set: self._displays.display,
            syntax.Dict: self._displays.mapping,
            syntax.ListComp: self._comprehension,
            syntax.SetComp: self._comprehension,
            syntax.GeneratorExp: self._comprehension,
            syntax.DictComp: self._comprehension,
            syntax.JoinedStr: self._joined,
            syntax.FormattedValue: self._formatted,
            syntax.Await: self._await,
            syntax.Yield: self._yield,
            syntax.YieldFrom: self._yield_from,
            syntax.NamedExpr: self._walrus,
            syntax.Starred: self._starred,
            syntax.Slice: self._slice,
        }

    def value(self, node: syntax.AST, scope: Scope) -> Node:
        """Return the node that holds the value of an expression."""
        lower = self._lowered.get(type(node))
        return lower(node, scope) if lower else scope.unit.node()

    def test(self, node: syntax.AST, scope: Scope) -> Node:
        """Lower an expression whose truth is asked for."""
        result = self.value(node, scope)
        if isinstance(node, _TESTED):
            self._implicit(scope, result, TRUTH, (), place_of(node))
        return result

    def plain(self, scope: Scope, kind: str) -> Node:
        """Return a node that holds some value of a builtin type."""
        target = scope.unit.node()
        scope.unit.seeds.append((target, self._program.values.get(Kind.PLAIN, kind)))
        return target

    def begins(self, scope: Scope, first: syntax.AST) -> Node:
        """Return a node with some text that begins as a constant does; 0 if it is none."""
        constant = first.value if isinstance(first, syntax.Constant) else ""
        prefix = constant.partition("%")[0] if isinstance(constant, str) else ""
        if not prefix.isidentifier():
            return 0
        target = scope.unit.node()
        value = self._program.values.get(Kind.PLAIN, "str", prefix)
        scope.unit.seeds.append((target, value))
        return target

    def invoke(
        self,
        scope: Scope,
        function: Node,
        arguments: Sequence[Node],
        place: Place,
        text: str,
        decorates: bool = False,
    ) -> Node:
        """Return the node with the result of a call with plain arguments."""
        target = scope.unit.node()
        site = self._program.site()
        call = ops.Invoke(function, tuple(arguments), (), (), target, place, site, text, decorates)
        scope.unit.operations.append(call)
        return target

    def iterate(self, scope: Scope, base: Node, place: Place, waits: bool = False) -> Node:
        """Return the node with what iteration over `base` gives."""
        target = scope.unit.node()
        scope.unit.operations.append(ops.Iterate(base, target, waits, place))
        return target

    def in_place(self, scope: Scope, left: Node, node: syntax.AugAssign) -> Node:
        """Return the node with the result of ``left += value``."""
        right = self.value(node.value, scope)
        normal, reflected = OPERATORS[type(node.op)]
        names = (INPLACE[type(node.op)], normal)
        return self._operate(scope, left, right, names, (reflected,), place_of(node))

    def _implicit(
        self,
        scope: Scope,
        base: Node,
        names: tuple[str, ...],
        arguments: tuple[Node, ...],
        place: Place,
    ) -> Node:
        target = scope.unit.node()
        scope.unit.operations.append(ops.Implicit(base, names, arguments, target, place))
        return target

    def implicit(
        self, scope: Scope, base: Node, names: tuple[str, ...], place: Place, given: int = 0
    ) -> Node:
        """Return the node with the result of a special method, given unknown arguments."""
        arguments = tuple(scope.unit.node() for _ in range(given))
        return self._implicit(scope, base, names, arguments, place)

    def _operate(
        self,
        scope: Scope,
        left: Node,
        right: Node,
        names: tuple[str, ...],
        reflected: tuple[str, ...],
        place: Place,
    ) -> Node:
        target = scope.unit.node()
        operations = scope.unit.operations
        operations.append(ops.Operate(left, right, names, reflected, target, place))
        if right >= 0 or right != left:
            operations.append(ops.Reflect(right, left, names, reflected, target, place))
        return target

    def _name(self, node: syntax.Name, scope: Scope) -> Node:
        return self._names.read(scope, node.id)

    def _constant(self, node: syntax.Constant, scope: Scope) -> Node:
        target = scope.unit.node()
        value = node.value
        values = self._program.values
        if isinstance(value, str):
            is_key = len(value) <= LONGEST_KEY and value.translate(_JOINING).isalnum()
            found = values.get(Kind.TEXT, value) if is_key else values.get(Kind.PLAIN, "str")
            scope.unit.seeds.append((target, found))
        elif isinstance(value, bytes):
            scope.unit.seeds.append((target, values.get(Kind.PLAIN, "bytes")))
        elif type(value) is int:
            small = abs(value) <= LARGEST_KEY
            found = values.get(Kind.NUMBER, value) if small else values.get(Kind.PLAIN, "int")
            scope.unit.seeds.append((target, found))
        return target

    def _attribute(self, node: syntax.Attribute, scope: Scope, called: bool = False) -> Node:
        base = self.value(node.value, scope)
        target = scope.unit.node()
        attribute = scope.private(node.attr)
        scope.unit.operations.append(ops.Load(base, attribute, target, place_of(node), called))
        return target

    def _call(self, node: syntax.Call, scope: Scope) -> Node:
        function = node.func
        if isinstance(function, syntax.Name) and function.id == "super" and not node.args:
            return self._super(node, scope)
        if isinstance(function, syntax.Attribute):
            called = self._attribute(function, scope, called=True)
        else:
            called = self.value(function, scope)
        arguments, stars = [], []
        for position, argument in enumerate(node.args):
            if isinstance(argument, syntax.Starred):
                stars.append(position)
                argument = argument.value
            arguments.append(self.value(argument, scope))
        keywords = tuple((word.arg, self.value(word.value, scope)) for word in node.keywords)
        target = scope.unit.node()
        scope.unit.operations.append(
            ops.Invoke(
                called,
                tuple(arguments),
                tuple(stars),
                keywords,
                target,
                place_of(node),
                self._program.site(),
                described(function),
                False,
            )
        )
        return target

    def _super(self, node: syntax.Call, scope: Scope) -> Node:
        target = scope.unit.node()
        owner = scope.class_owner()
        shape = owner.unit.shape if owner else None
        if owner is None or shape is None or not owner.unit.parameters.positional:
            return target
        receiver = scope.outer(owner.unit, owner.unit.parameters.positional[0][1])
        depth, unit = 1, scope.unit
        while unit is not owner.unit and unit.parent is not None:
            depth, unit = depth + 1, unit.parent
        scope.unit.operations.append(ops.Super(receiver, target, place_of(node), shape, depth))
        return target

    def _subscript(self, node: syntax.Subscript, scope: Scope) -> Node:
        base = self.value(node.value, scope)
        target = scope.unit.node()
        index = node.slice
        if isinstance(index, syntax.Slice):
            self._slice(index, scope)
            lower = constant_key(index.lower) if index.lower else None
            upper = constant_key(index.upper) if index.upper else None
            known = (
                (index.lower is None or isinstance(lower, int))
                and (index.upper is None or isinstance(upper, int))
                and index.step is None
            )
            low = lower if isinstance(lower, int) else None
            high = upper if isinstance(upper, int) else None
            scope.unit.operations.append(ops.Slice(base, low, high, known, target, place_of(node)))
            return target
        key = self.value(index, scope)
        scope.unit.operations.append(
            ops.GetItem(base, key, constant_key(index), target, place_of(node))
        )
        return target

    def _slice(self, node: syntax.Slice, scope: Scope) -> Node:
        for part in (node.lower, node.upper, node.step):
            if part is not None:
                self.value(part, scope)
        return scope.unit.node()

    def _binary(self, node: syntax.BinOp, scope: Scope) -> Node:
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        normal, reflected = OPERATORS[type(node.op)]
        place = place_of(node)
        result = self._operate(scope, left, right, (normal,), (reflected,), place)
        text = self.begins(scope, node.left) if isinstance(node.op, syntax.Add | syntax.Mod) else 0
        return scope.either([result, text]) if text else result

    def _boolean(self, node: syntax.BoolOp, scope: Scope) -> Node:
        nodes = [self.test(value, scope) for value in node.values[:-1]]
        return scope.either([*nodes, self.value(node.values[-1], scope)])

    def _unary(self, node: syntax.UnaryOp, scope: Scope) -> Node:
        if isinstance(node.op, syntax.Not):
            self.test(node.operand, scope)
            return scope.unit.node()
        base = self.value(node.operand, scope)
        return self._implicit(scope, base, (UNARY[type(node.op)],), (), place_of(node))

    def _compare(self, node: syntax.Compare, scope: Scope) -> Node:
        left = self.value(node.left, scope)
        place = place_of(node)
        result = scope.unit.node()
        for operator, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.value(comparator, scope)
            if isinstance(operator, syntax.In | syntax.NotIn):
                scope.unit.operations.append(ops.Contains(right, left, place))
            elif type(operator) in COMPARISONS:
                names, reflected = COMPARISONS[type(operator)]
                result = self._operate(scope, left, right, names, reflected, place)
            left = right
        return result

    def _conditional(self, node: syntax.IfExp, scope: Scope) -> Node:
        self.test(node.test, scope)
        return scope.either([self.value(node.body, scope), self.value(node.orelse, scope)])

    def _lambda(self, node: syntax.Lambda, scope: Scope) -> Node:
        return self._define(scope, node)

    def _comprehension(self, node: Any, scope: Scope) -> Node:
        saved = dict(scope.versions)
        inner: set[str] = set()
        for generator in node.generators:
            base = self.value(generator.iter, scope)
            item = self.iterate(scope, base, place_of(generator.iter), bool(generator.is_async))
            self._bind_inner(generator.target, item, scope, inner)
            for condition in generator.ifs:
                self.test(condition, scope)
        if isinstance(node, syntax.DictComp):
            keys = (self.value(node.key, scope),)
            items = [(None, self.value(node.value, scope))]
            result = self._displays.make(scope, "dict", items, (), keys, keys)
        else:
            kinds = {syntax.ListComp: "list", syntax.SetComp: "set"}
            kind = kinds.get(type(node), "generator")
            held = self.value(node.elt, scope)
            hashed = (held,) if kind == "set" else ()
            result = self._displays.make(scope, kind, [(None, held)], hashed=hashed)
        for name in inner:
            scope.versions.pop(name, None)
            if name in saved:
                scope.versions[name] = saved[name]
        return result

    def _bind_inner(self, target: Any, node: Node, scope: Scope, inner: set[str]) -> None:
        if isinstance(target, syntax.Name):
            inner.add(target.id)
            scope.versions[target.id] = node
            scope.known.setdefault(target.id, []).append(node)
        elif isinstance(target, syntax.Tuple | syntax.List):
            for element, part in zip(target.elts, self.unpack(scope, node, target), strict=True):
                self._bind_inner(element, part, scope, inner)
        elif isinstance(target, syntax.Starred):
            self._bind_inner(target.value, node, scope, inner)

    def unpack(self, scope: Scope, base: Node, target: Any) -> list[Node]:
        """Return a node for each of the targets of ``a, *b = base``."""
        parts = [scope.unit.node() for _ in target.elts]
        stars = [i for i, one in enumerate(target.elts) if isinstance(one, syntax.Starred)]
        star = stars[0] if stars else -1
        scope.unit.operations.append(ops.Unpack(base, tuple(parts), star, place_of(target)))
        return parts

    def _joined(self, node: syntax.JoinedStr, scope: Scope) -> Node:
        for part in node.values:
            self.value(part, scope)
        first = node.values[0] if node.values else node
        return self.begins(scope, first) or self.plain(scope, "str")

    def _formatted(self, node: syntax.FormattedValue, scope: Scope) -> Node:
        base = self.value(node.value, scope)
        names = _CONVERSIONS.get(node.conversion, FORMAT)
        if node.format_spec is not None:
            self.value(node.format_spec, scope)
        if not isinstance(node.value, syntax.Constant):
            self._implicit(scope, base, names, (scope.unit.node(),), place_of(node))
        return scope.unit.node()

    def _await(self, node: syntax.Await, scope: Scope) -> Node:
        base = self.value(node.value, scope)
        target = scope.unit.node()
        scope.unit.operations.append(ops.Await(base, target, place_of(node)))
        return target

    def _yield(self, node: syntax.Yield, scope: Scope) -> Node:
        scope.unit.is_generator = True
        if node.value is not None:
            scope.copy(self.value(node.value, scope), ops.YIELDED)
        return ops.SENT

    def _yield_from(self, node: syntax.YieldFrom, scope: Scope) -> Node:
        scope.unit.is_generator = True
        base = self.value(node.value, scope)
        target = scope.unit.node()
        place = place_of(node)
        scope.unit.operations.append(ops.Iterate(base, ops.YIELDED, False, place))
        scope.unit.operations.append(ops.Delegate(base, target, place))
        return target

    def _walrus(self, node: syntax.NamedExpr, scope: Scope) -> Node:
        value = self.value(node.value, scope)
        self._names.write(scope, node.target.id, value)
        return value

    def _starred(self, node: syntax.Starred, scope: Scope) -> Node:
        return self.iterate(scope, self.value(node.value, scope), place_of(node))
