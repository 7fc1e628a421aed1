"""The syntax tree of a module -> templates of its functions, in one pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

from tcstatic.program.callgraph import operations as ops
from tcstatic.program.callgraph.bindings import bindings_of
from tcstatic.program.callgraph.definitions import Definitions
from tcstatic.program.callgraph.describing import constant_key, place_of
from tcstatic.program.callgraph.expressions import Expressions
from tcstatic.program.callgraph.imports import Imports
from tcstatic.program.callgraph.modules import Module, Modules
from tcstatic.program.callgraph.operations import Node, Unit
from tcstatic.program.callgraph.patterns import Patterns
from tcstatic.program.callgraph.program import Program
from tcstatic.program.callgraph.scopes import Loop, Names, Scope, State
from tcstatic.program.source import syntax


def lower(modules: Modules) -> Program:
    """Return the templates of all modules."""
    program = Program(modules)
    position = 0
    # imports may add folders as modules
    while position < len(modules.all):
        module = modules.all[position]
        if module.tree is not None:
            _Lowering(program, module).module()
            module.tree = syntax.Module([], [])
        position += 1
    return program


@final
class _Lowering:
    """Lowers the statements of one module; bodies of functions wait until their scope is done."""

    def __init__(self, program: Program, module: Module) -> None:
        self._program = program
        self._module = module
        self._names = Names(program.modules, program.values)
        self._waiting: deque[Callable[[], None]] = deque()
        self._expressions = Expressions(program, self._names, self._lambda)
        self._definitions = Definitions(program, self._names, self._expressions)
        self._imports = Imports(program, self._names)
        self._patterns = Patterns(self._names, self._expressions)
        self._lowered: dict[type, Callable[[Any, Scope], None]] = {
            syntax.Expr: self._expression,
            syntax.Assign: self._assign,
            syntax.AnnAssign: self._annotated,
            syntax.AugAssign: self._augmented,
            syntax.Return: self._return,
            syntax.If: self._if,
            syntax.For: self._for,
            syntax.AsyncFor: self._for,
            syntax.While: self._while,
            syntax.With: self._with,
            syntax.AsyncWith: self._with,
            syntax.Try: self._try,
            syntax.TryStar: self._try,
            syntax.Match: self._match,
            syntax.Raise: self._raise,
            syntax.Assert: self._assert,
            syntax.Delete: self._delete,
            syntax.Break: self._break,
            syntax.Continue: self._continue,
            syntax.FunctionDef: self._function,
            syntax.AsyncFunctionDef: self._function,
            syntax.ClassDef: self._class,
            syntax.Import: self._imports.plain,
            syntax.ImportFrom: self._imports.names_from,
        }

    def module(self) -> None:
        """Lower the module, then the bodies of its functions, outer ones first."""
        tree = self._module.tree
        assert tree is not None
        last = max((statement.end_lineno or 1 for statement in tree.body), default=1)
        unit = self._program.unit(self._module.name, self._module, (1, last), None)
        unit.is_function = False
        bindings = self._module.bindings
        scope = Scope(unit, self._module, self._module.name, bindings, is_module=True)
        self.body(tree.body, scope)
        first = unit.index
        while self._waiting:
            self._waiting.popleft()()
        for made in self._program.units[first:]:
            made.find_passes()
            made.find_keeps()

    def body(self, statements: Sequence[Any], scope: Scope) -> None:
        """Lower statements in a row."""
        for statement in statements:
            lowered = self._lowered.get(type(statement))
            if lowered is not None:
                lowered(statement, scope)

    def _store(self, target: Any, node: Node, scope: Scope) -> None:
        unit = scope.unit
        if isinstance(target, syntax.Name):
            self._names.write(scope, target.id, node)
        elif isinstance(target, syntax.Attribute):
            base = self._expressions.value(target.value, scope)
            name = scope.private(target.attr)
            unit.operations.append(ops.Store(base, name, node, place_of(target)))
        elif isinstance(target, syntax.Subscript):
            base = self._expressions.value(target.value, scope)
            key = self._expressions.value(target.slice, scope)
            place = place_of(target)
            if isinstance(target.slice, syntax.Slice):
                unit.operations.append(ops.SetSlice(base, key, node, place))
                return
            constant = constant_key(target.slice)
            unit.operations.append(ops.SetItem(base, key, constant, node, place))
        elif isinstance(target, syntax.Tuple | syntax.List):
            parts = self._expressions.unpack(scope, node, target)
            for element, part in zip(target.elts, parts, strict=True):
                self._store(element, part, scope)
        elif isinstance(target, syntax.Starred):
            self._store(target.value, node, scope)

    def _expression(self, node: syntax.Expr, scope: Scope) -> None:
        if not isinstance(node.value, syntax.Constant):
            self._expressions.value(node.value, scope)

    def _assign(self, node: syntax.Assign, scope: Scope) -> None:
        value = node.value
        first = node.targets[0]
        plain = (syntax.Tuple, syntax.List)
        if (
            len(node.targets) == 1
            and isinstance(first, plain)
            and isinstance(value, plain)
            and len(first.elts) == len(value.elts)
            and not any(isinstance(e, syntax.Starred) for e in (*first.elts, *value.elts))
        ):
            nodes = [self._expressions.value(element, scope) for element in value.elts]
            for target, part in zip(first.elts, nodes, strict=True):
                self._store(target, part, scope)
            return
        result = self._expressions.value(value, scope)
        for target in node.targets:
            self._store(target, result, scope)

    def _annotated(self, node: syntax.AnnAssign, scope: Scope) -> None:
        target = node.target
        if scope.shape is not None and isinstance(target, syntax.Name):
            self._definitions.annotated(node, scope)
        if node.value is not None:
            self._store(target, self._expressions.value(node.value, scope), scope)
            return
        classes = self._definitions.classes_in(node.annotation, scope)
        if classes and scope.shape is None:
            held = scope.unit.node()
            scope.unit.typed.extend(ops.Typed(one, held) for one in classes)
            self._store(target, held, scope)

    def _augmented(self, node: syntax.AugAssign, scope: Scope) -> None:
        left = self._expressions.value(node.target, scope)
        result = self._expressions.in_place(scope, left, node)
        self._store(node.target, result, scope)

    def _return(self, node: syntax.Return, scope: Scope) -> None:
        if node.value is not None:
            if not isinstance(node.value, syntax.Constant):
                scope.unit.answers = True
            scope.copy(self._expressions.value(node.value, scope), ops.RESULT)
        scope.live = False

    def _if(self, node: syntax.If, scope: Scope) -> None:
        self._expressions.test(node.test, scope)
        before = scope.state()
        self.body(node.body, scope)
        after = scope.state()
        scope.resume(before)
        self.body(node.orelse, scope)
        scope.join((after, scope.state()))

    def _match(self, node: syntax.Match, scope: Scope) -> None:
        subject = self._expressions.value(node.subject, scope)
        ends = []
        for case in node.cases:
            before = scope.state()
            self._patterns.lower(case.pattern, subject, scope)
            if case.guard is not None:
                self._expressions.test(case.guard, scope)
            self.body(case.body, scope)
            ends.append(scope.state())
            scope.resume(before)
        scope.join((*ends, scope.state()))

    def _enter_loop(self, node: Any, scope: Scope) -> dict[str, Node]:
        """Names that the loop rebinds get one node for all rounds."""
        again: dict[str, Node] = {}
        for name in sorted(bindings_of([node]).bound & scope.versions.keys()):
            before, again[name] = scope.versions[name], scope.unit.node()
            scope.copy(before, again[name])
            scope.versions[name] = again[name]
        return again

    def _leave_loop(self, scope: Scope, loop: Loop, again: dict[str, Node]) -> None:
        for state in (scope.state(), *loop.continues):
            for name, node in again.items() if state.live else ():
                if name in state.versions:
                    scope.copy(state.versions[name], node)

    def _for(self, node: Any, scope: Scope) -> None:
        base = self._expressions.value(node.iter, scope)
        waits = isinstance(node, syntax.AsyncFor)
        again = self._enter_loop(node, scope)
        before = scope.state()
        item = self._expressions.iterate(scope, base, place_of(node.iter), waits)
        self._store(node.target, item, scope)
        self._loop_body(node, scope, before, again, endless=False)

    def _while(self, node: syntax.While, scope: Scope) -> None:
        again = self._enter_loop(node, scope)
        self._expressions.test(node.test, scope)
        endless = isinstance(node.test, syntax.Constant) and bool(node.test.value)
        self._loop_body(node, scope, scope.state(), again, endless=endless)

    def _loop_body(
        self, node: Any, scope: Scope, before: State, again: dict[str, Node], *, endless: bool
    ) -> None:
        loop = Loop()
        scope.loops.append(loop)
        self.body(node.body, scope)
        scope.loops.pop()
        ends = [scope.state(), *loop.continues]
        self._leave_loop(scope, loop, again)
        # a name that the body binds first is known after it, too
        scope.join([State(before.versions, before.live and not endless), *(ends * (not endless))])
        for name, joined in again.items():
            scope.versions[name] = joined
        self.body(node.orelse, scope)
        scope.join([scope.state(), *loop.breaks])

    def _break(self, node: syntax.Break, scope: Scope) -> None:
        del node
        if scope.loops:
            scope.loops[-1].breaks.append(scope.state())
        scope.live = False

    def _continue(self, node: syntax.Continue, scope: Scope) -> None:
        del node
        if scope.loops:
            scope.loops[-1].continues.append(scope.state())
        scope.live = False

    def _with(self, node: Any, scope: Scope) -> None:
        waits = isinstance(node, syntax.AsyncWith)
        prefix = "__a" if waits else "__"
        for item in node.items:
            base = self._expressions.value(item.context_expr, scope)
            place = place_of(item.context_expr)
            enter = (f"{prefix}enter__",)
            held = self._expressions.implicit(scope, base, enter, place)
            if waits:
                scope.unit.operations.append(ops.Await(held, scope.unit.node(), place))
                awaited = scope.unit.node()
                scope.unit.operations.append(ops.Await(held, awaited, place))
                held = awaited
            if item.optional_vars is not None:
                self._store(item.optional_vars, held, scope)
            self._expressions.implicit(scope, base, (f"{prefix}exit__",), place, given=3)
        self.body(node.body, scope)

    def _try(self, node: Any, scope: Scope) -> None:
        before = scope.state()
        made: dict[str, list[Node]] = {}
        scope.recorders.append(made)
        # what the last statement binds is not bound where the body fails
        self.body(node.body[:-1], scope)
        failing = self._anywhere(scope, before, made)
        self.body(node.body[-1:], scope)
        if not isinstance(node.body[-1], syntax.Assign):
            failing = self._anywhere(scope, before, made)
        self.body(node.orelse, scope)
        ends = [scope.state()]
        for handler in node.handlers:
            scope.resume(failing)
            self._handler(handler, scope)
            ends.append(scope.state())
        scope.recorders.pop()
        if not node.finalbody:
            scope.join(ends)
            return
        self._finally(node.finalbody, scope, before, made, ends)

    def _finally(
        self,
        body: Sequence[Any],
        scope: Scope,
        before: State,
        made: dict[str, list[Node]],
        ends: Sequence[State],
    ) -> None:
        """The last part runs after every end; only what it binds itself comes out of it."""
        scope.join(ends)
        normal = scope.state()
        scope.resume(self._anywhere(scope, before, made))
        entered = dict(scope.versions)
        self.body(body, scope)
        versions = dict(normal.versions)
        versions.update((k, v) for k, v in scope.versions.items() if entered.get(k) != v)
        scope.resume(State(versions, normal.live and scope.live))

    def _anywhere(self, scope: Scope, before: State, made: dict[str, list[Node]]) -> State:
        """Return the state after some part of what has been lowered since `before`."""
        versions = dict(before.versions)
        for name, nodes in made.items():
            old = [before.versions[name]] if name in before.versions else []
            every = list(dict.fromkeys([*old, *nodes]))
            versions[name] = every[0] if len(every) == 1 else scope.either(every)
        return State(versions, before.live)

    def _handler(self, handler: Any, scope: Scope) -> None:
        if handler.type is not None:
            caught = handler.type
            kinds = caught.elts if isinstance(caught, syntax.Tuple) else [caught]
            classes = [self._expressions.value(kind, scope) for kind in kinds]
            if handler.name:
                held = scope.unit.node()
                scope.unit.typed.extend(ops.Typed(one, held) for one in classes)
                self._names.write(scope, handler.name, held)
        self.body(handler.body, scope)

    def _raise(self, node: syntax.Raise, scope: Scope) -> None:
        held = []
        for part in (node.exc, node.cause):
            if part is not None:
                base = self._expressions.value(part, scope)
                held.append(base)
                if not isinstance(part, syntax.Call):
                    self._expressions.implicit(scope, base, ("<raise>",), place_of(part))
        if len(held) == 2:
            store = ops.Store(held[0], "__cause__", held[1], place_of(node))
            scope.unit.operations.append(store)
        scope.live = False

    def _assert(self, node: syntax.Assert, scope: Scope) -> None:
        self._expressions.test(node.test, scope)
        if node.msg is not None:
            self._expressions.value(node.msg, scope)

    def _delete(self, node: syntax.Delete, scope: Scope) -> None:
        for target in node.targets:
            if isinstance(target, syntax.Subscript):
                base = self._expressions.value(target.value, scope)
                self._expressions.value(target.slice, scope)
                place = place_of(target)
                self._expressions.implicit(scope, base, ("__delitem__",), place, given=1)
            elif isinstance(target, syntax.Attribute):
                base = self._expressions.value(target.value, scope)
                place = place_of(target)
                self._expressions.implicit(scope, base, ("__delattr__",), place, given=1)
                deletes = f"del {scope.private(target.attr)}"
                self._expressions.implicit(scope, base, (deletes,), place)

    def _function(self, node: Any, scope: Scope) -> None:
        unit, inner = self._definitions.function(node, scope)
        self._waiting.append(partial(self._function_body, node, inner))
        self._definitions.finish(node, unit, scope)

    def _function_body(self, node: Any, scope: Scope) -> None:
        self.body(node.body, scope)

    def _lambda(self, scope: Scope, node: syntax.Lambda) -> Node:
        unit, inner = self._definitions.anonymous(node, scope)
        self._waiting.append(partial(self._lambda_body, node, inner))
        return self._definitions.closure(unit, scope)

    def _lambda_body(self, node: syntax.Lambda, scope: Scope) -> None:
        scope.unit.answers = True
        scope.copy(self._expressions.value(node.body, scope), ops.RESULT)

    def _class(self, node: syntax.ClassDef, scope: Scope) -> None:
        shape, inner = self._definitions.class_scope(node, scope)
        self.body(node.body, inner)
        self._definitions.finish_class(node, shape, scope)


__all__ = ["Unit", "lower"]
