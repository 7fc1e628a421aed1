"""Statements: what they bind, and which way the program may go."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from tcstatic.program.paths import calls, lookup, regions
from tcstatic.program.paths.conditions import named, truth
from tcstatic.program.paths.expressions import evaluate, operator
from tcstatic.program.paths.machine import LoopState, Machine
from tcstatic.program.paths.project import absolute, statements_in
from tcstatic.program.paths.store import NO_CHANGES, Changes
from tcstatic.program.paths.tree import Block, Branch, Loop
from tcstatic.program.paths.values import (
    Class,
    Const,
    External,
    Function,
    Imported,
    Listing,
    Node,
    Object,
    Phi,
    Place,
    Unknown,
    Value,
    joined,
    options,
    same,
)
from tcstatic.program.source import syntax

# Listings of objects up to this length are gone through element by element.
_UNROLLED: Final = 4


def run(m: Machine, body: list[syntax.stmt]) -> None:
    """Run statements until the path leaves the block."""
    for statement in body:
        if m.dead or m.exhausted:
            return
        m.spend()
        handler = _HANDLERS.get(type(statement))
        if handler is not None:
            handler(m, statement)


def binding(m: Machine, statement: syntax.stmt, text: str) -> Value | None:
    """What one module-level statement binds a name to, by itself."""
    if isinstance(statement, syntax.FunctionDef | syntax.AsyncFunctionDef):
        return function(m, statement)
    if isinstance(statement, syntax.ClassDef):
        return class_(m, statement)
    if isinstance(statement, syntax.AnnAssign):
        return evaluate(m, statement.value) if statement.value is not None else None
    if isinstance(statement, syntax.Assign):
        run(m, [statement])
        return m.cells.get((m.frame.number, text))
    return None


def function(m: Machine, node: Any, owner: Class | None = None) -> Function:
    """The function that a definition makes."""
    frame = m.frame
    prefix = owner.name if owner is not None else frame.name
    decorators = tuple(evaluate(m, decorator) for decorator in node.decorator_list)
    scopes = (frame.number, *frame.scopes)
    name = f"{prefix}.{node.name}" if prefix else node.name
    return Function(node, frame.module, name, scopes, owner, decorators)


def class_(m: Machine, node: syntax.ClassDef) -> Class:
    """The class that a definition makes; its methods are functions, its body runs silently."""
    known = m.classes.get(node)
    if isinstance(known, Class) and known.scopes[:1] == (m.frame.number,):
        return known
    frame = m.frame
    bases: list[Value] = []
    for base in node.bases:
        bases.extend(options(evaluate(m, base), 4))
    name = f"{frame.name}.{node.name}" if frame.name else node.name
    made = Class(node, frame.module, name, (frame.number, *frame.scopes), tuple(bases))
    m.classes[node] = made
    for statement in _class_body(node.body):
        if isinstance(statement, syntax.FunctionDef | syntax.AsyncFunctionDef):
            made.namespace[statement.name] = function(m, statement, made)
        elif isinstance(statement, syntax.ClassDef):
            made.namespace[statement.name] = class_(m, statement)
        elif isinstance(statement, syntax.Assign) and len(statement.targets) == 1:
            _class_value(made, statement.targets[0], statement.value)
        elif isinstance(statement, syntax.AnnAssign) and statement.value is not None:
            _class_value(made, statement.target, statement.value)
    return made


def _class_body(body: list[syntax.stmt]) -> list[syntax.stmt]:
    flat: list[syntax.stmt] = []
    for statement in body:
        flat.append(statement)
        if isinstance(statement, syntax.If):
            flat.extend(_class_body([*statement.orelse, *statement.body]))
    return flat


def _class_value(made: Class, target: syntax.expr, value: syntax.expr) -> None:
    if isinstance(target, syntax.Name):
        if isinstance(value, syntax.Name) and value.id in made.namespace:
            made.namespace[target.id] = made.namespace[value.id]
        else:
            made.pending[target.id] = value


def comprehension(
    m: Machine, node: Any, generators: list[syntax.comprehension], elements: tuple[Any, ...]
) -> list[Value]:
    """Run a comprehension as the loop that it is; the values of its elements."""
    generator, rest = generators[0], generators[1:]
    iterable = evaluate(m, generator.iter)
    if m.recorder is not None:
        m.recorder.iterated(m, generator.iter, iterable)
    found: list[Value] = []

    def body() -> None:
        assign(m, generator.target, _element(m, iterable, node))
        for test in generator.ifs:
            evaluate(m, test)
        if rest:
            found.extend(comprehension(m, node, rest, elements))
        else:
            found.extend(evaluate(m, element) for element in elements)

    _loop(m, node, body, certain=False, kind="for", iterable=iterable)
    return found


def assign(m: Machine, target: syntax.expr, value: Value) -> None:
    """Bind a target, whatever it is."""
    if isinstance(target, syntax.Name):
        lookup.assign_name(m, target.id, value)
    elif isinstance(target, syntax.Attribute):
        calls.set_attribute(m, evaluate(m, target.value), target.attr, value, target)
    elif isinstance(target, syntax.Subscript):
        holder = evaluate(m, target.value)
        index = evaluate(m, target.slice) if not isinstance(target.slice, syntax.Slice) else None
        calls.set_item(m, holder, index, value, target)
    elif isinstance(target, syntax.Starred):
        assign(m, target.value, value)
    elif isinstance(target, syntax.Tuple | syntax.List):
        _unpack(m, target.elts, value)


def _unpack(m: Machine, targets: list[syntax.expr], value: Value) -> None:
    value = next((o for o in options(value, 4) if isinstance(o, Listing)), value)
    for index, target in enumerate(targets):
        if isinstance(value, Listing):
            part = m.attribute(value, f"[{index}]")
            if part is None:
                known = lookup.items(m, value)
                part = joined(known) if known else m.node("item", (value,), target)
        else:
            part = lookup.item(m, value, Const(index), target)
        assign(m, target, part)


def _assign(m: Machine, node: Any) -> None:
    begun = Const(None).number
    value = evaluate(m, node.value)
    for target in node.targets:
        assign(m, target, value)
        _told_aliases(m, target, node.value, value, begun)


def _told_aliases(
    m: Machine, target: syntax.expr, source: syntax.expr, value: Value, begun: int
) -> None:
    """Tell of a further name for a model that was made before."""
    if isinstance(target, syntax.Tuple | syntax.List):
        if isinstance(source, syntax.Tuple | syntax.List) and isinstance(value, Listing):
            for index, (inner, part) in enumerate(zip(target.elts, source.elts, strict=False)):
                held = m.attribute(value, f"[{index}]")
                if held is not None:
                    _told_aliases(m, inner, part, held, begun)
        return
    text = target.attr if isinstance(target, syntax.Attribute) else getattr(target, "id", "")
    named = isinstance(source, syntax.Name | syntax.Attribute | syntax.Call)
    known = isinstance(value, Object) and value.role == "model" and value.number < begun
    if text and named and known and isinstance(value, Object):
        m.emit(
            "call",
            source,
            subjects={"model": (value.number,)},
            values={"operation": "alias", "name": text},
            receiver=value,
        )


def _annotated(m: Machine, node: Any) -> None:
    if node.value is not None:
        assign(m, node.target, evaluate(m, node.value))


def _augmented(m: Machine, node: Any) -> None:
    before = evaluate(m, node.target)
    value = evaluate(m, node.value)
    if isinstance(before, Listing) and isinstance(node.op, syntax.Add):
        for item in lookup.items(m, value) if isinstance(value, Listing) else [value]:
            lookup.add(m, before, item)
        return
    made = m.node(operator(node.op), (before, value), node.target)
    assign(m, node.target, made)
    calls.augmented(m, node, before, made)


def _expression(m: Machine, node: Any) -> None:
    value = evaluate(m, node.value)
    calls.dropped(m, node.value, value)


def _return(m: Machine, node: Any) -> None:
    value = evaluate(m, node.value) if node.value is not None else Const(None)
    if m.dead:
        return
    frame = m.frame
    frame.returns.append((value, m.cells.changes(frame.mark)))
    m.leave("return")


def _raise(m: Machine, node: Any) -> None:
    if node.exc is not None:
        evaluate(m, node.exc)
    m.leave("raise")


def _break(m: Machine, node: Any) -> None:
    _leave_loop(m, "break")


def _continue(m: Machine, node: Any) -> None:
    _leave_loop(m, "continue")


def _leave_loop(m: Machine, kind: Any) -> None:
    if m.loops:
        state = m.loops[-1]
        state.left.append(m.cells.changes(state.mark))
    m.leave(kind)


def _if(m: Machine, node: Any) -> None:
    test = evaluate(m, node.test)
    known = truth(test)
    if known is not None and not (m.loops and _changes(node)):
        run(m, node.body if known else node.orelse)
        return
    key, flipped, birth = named(test)
    bodies = [lambda: run(m, node.body), lambda: run(m, node.orelse)]
    branch(m, bodies, key, birth, flipped=flipped, condition=test)


def _changes(node: syntax.If) -> bool:
    """Whether a branch binds what its condition asks for: another round may go another way."""
    asked = {_bound_name(part) for part in syntax.walk(node.test)} - {""}
    return any(
        _bound_name(target) in asked
        for statement in (*node.body, *node.orelse)
        for part in syntax.walk(statement)
        if isinstance(part, syntax.Assign | syntax.AugAssign | syntax.AnnAssign)
        for target in (part.targets if isinstance(part, syntax.Assign) else [part.target])
    )


def _bound_name(node: syntax.AST) -> str:
    if isinstance(node, syntax.Name):
        return node.id
    return f".{node.attr}" if isinstance(node, syntax.Attribute) else ""


def branch(
    m: Machine,
    bodies: list[Callable[[], None]],
    key: str,
    birth: int,
    *,
    flipped: bool = False,
    condition: Value | None = None,
) -> None:
    """Run alternatives from one state, and join what they leave."""
    step = Branch(key, birth, [], condition)
    outcomes: list[Changes] = []
    for body in bodies:
        mark = m.cells.mark()
        with m.writing(Block()) as block:
            body()
        changes = m.cells.undo(mark)
        step.alternatives.append(block)
        if not m.dead:
            outcomes.append(changes)
        m.dead = False
    if flipped:
        step.alternatives.reverse()
        outcomes.reverse()
    complete = key and len(outcomes) == len(bodies)
    m.cells.merge(outcomes, (key, birth) if complete else None)
    m.dead = not outcomes
    if not m.quiet and any(block.steps for block in step.alternatives):
        m.block.steps.append(step)


def _for(m: Machine, node: Any) -> None:
    iterable = evaluate(m, node.iter)
    if m.recorder is not None:
        m.recorder.iterated(m, node.iter, iterable)

    def body() -> None:
        assign(m, node.target, _element(m, iterable, node.iter))
        run(m, node.body)

    certain = isinstance(iterable, Listing) and not lookup.is_open(m, iterable)
    rounds = _rounds(m, iterable) if certain and isinstance(iterable, Listing) else []
    for item in rounds:

        def one_round(item: Value = item) -> None:
            assign(m, node.target, item)
            run(m, node.body)

        _loop(m, node, one_round, certain=True, kind="for", iterable=iterable, once=True)
    if not rounds:
        alone = certain and isinstance(iterable, Listing) and len(lookup.items(m, iterable)) == 1
        once = alone and isinstance(iterable, Listing) and iterable.kind != "dict"
        _loop(m, node, body, certain=certain, kind="for", iterable=iterable, once=once)
    run(m, node.orelse)


def _rounds(m: Machine, iterable: Listing) -> list[Value]:
    """The elements of a short listing of optimizers and the like: each has a round of its own."""
    known = lookup.items(m, iterable)
    if iterable.kind == "dict" or len(known) > _UNROLLED:
        return []
    roles = {one.role for one in known if isinstance(one, Object)}
    return known if roles & {"optimizer", "scheduler", "scaler"} else []


def _while(m: Machine, node: Any) -> None:
    test = truth(evaluate(m, node.test))
    if test is False:
        return
    _loop(m, node, lambda: run(m, node.body), certain=test is True, kind="while", iterable=None)
    run(m, node.orelse)


def _element(m: Machine, iterable: Value, at: syntax.expr) -> Value:
    """What a loop's variable stands for."""
    return joined([calls.element(m, one, at) for one in options(iterable, 4)])


def _loop(
    m: Machine,
    node: Any,
    body: Callable[[], None],
    *,
    certain: bool,
    kind: Any,
    iterable: Any,
    once: bool = False,
) -> None:
    mark = m.cells.mark()
    carried = _carried(m, node)
    begun = Const(None).number
    loop = Loop(Block(), m.place(node), begun, certain, kind, once=once)
    state = LoopState(m.cells.mark(), loop)
    m.loops.append(state)
    with m.writing(loop.body):
        if iterable is not None:
            calls.iterated(m, iterable, node)
        body()
    m.loops.pop()
    outcomes = state.left if m.dead else [*state.left, m.cells.changes(state.mark)]
    m.dead = False
    m.cells.undo(mark)
    for key, phi in carried:
        ends = [changes[key] for changes in outcomes if key in changes]
        _extend(phi, [end for end in ends if end is not None])
    m.cells.merge([*([] if certain and outcomes else [NO_CHANGES]), *outcomes])
    if loop.body.steps and not m.quiet:
        m.block.steps.append(loop)


def _carried(m: Machine, node: Any) -> list[tuple[tuple[int, str], Phi]]:
    """Names that a loop's body binds and that are bound before it: either value may be seen."""
    found = []
    stored = m.frame.module.stored
    names = stored.get(node)
    if names is None:
        names = stored[node] = frozenset(_stored_names(node))
    for text in sorted(names):
        key = (m.frame.number, text)
        before = m.cells.get(key)
        if before is not None and not isinstance(before, Function | Class | External):
            phi = Phi([before])
            m.cells.set(key, phi)
            found.append((key, phi))
    return found


def _stored_names(node: Any) -> set[str]:
    names: set[str] = set()
    for inner in statements_in(node):
        targets = list(getattr(inner, "targets", ()))
        targets.append(getattr(inner, "target", None))
        targets += [item.optional_vars for item in getattr(inner, "items", ())]
        for target in targets:
            if isinstance(target, syntax.Name):
                names.add(target.id)
            elif isinstance(target, syntax.Tuple | syntax.List):
                names |= {one.id for one in syntax.walk(target) if isinstance(one, syntax.Name)}
    return names


def _extend(phi: Phi, ends: list[Value]) -> None:
    for end in ends:
        for option in end.options if isinstance(end, Phi) and end is not phi else (end,):
            if option is not phi and not any(same(option, known) for known in phi.options):
                phi.options.append(option)


def _try(m: Machine, node: Any) -> None:
    start = m.cells.mark()
    run(m, node.body)
    if not m.dead:
        run(m, node.orelse)
    if node.handlers:
        ended, after = m.dead, m.cells.undo(start)
        m.dead = False
        outcomes = [] if ended else [after]
        step = Branch("", 0, [Block()])
        for handler in node.handlers:
            mark = m.cells.mark()
            m.cells.merge([NO_CHANGES, after])
            if handler.name:
                lookup.assign_name(m, handler.name, Unknown("exception", handler.name))
            with m.writing(Block()) as block:
                run(m, handler.body)
            changes = m.cells.undo(mark)
            step.alternatives.append(block)
            if not m.dead:
                outcomes.append(changes)
            m.dead = False
        if not ended and any(block.steps for block in step.alternatives) and not m.quiet:
            m.block.steps.append(step)
        m.cells.merge(outcomes)
        m.dead = not outcomes
    dead, m.dead = m.dead, False
    run(m, node.finalbody)
    m.dead = m.dead or dead


def _with(m: Machine, node: Any) -> None:
    entered: list[str] = []
    places: list[Place | None] = []
    for item in node.items:
        value = evaluate(m, item.context_expr)
        inside = regions.region_of(m, value, item.context_expr)
        if inside:
            entered.append(inside)
            places.append(m.place(item.context_expr))
            m.emit("region.enter", item.context_expr, values={"region": inside}, receiver=value)
        if item.optional_vars is not None:
            assign(m, item.optional_vars, regions.entered(m, value, item.context_expr))
    with m.within(*entered, places=tuple(places)):
        run(m, node.body)


def _function(m: Machine, node: Any) -> None:
    m.cells.set((m.frame.number, node.name), function(m, node))


def _class(m: Machine, node: Any) -> None:
    m.cells.set((m.frame.number, node.name), class_(m, node))


def _import(m: Machine, node: Any) -> None:
    for alias in node.names:
        bound = alias.asname or alias.name.partition(".")[0]
        path = alias.name if alias.asname else bound
        m.cells.set((m.frame.number, bound), Imported(m.frame.module, path, ""))


def _import_from(m: Machine, node: Any) -> None:
    module = m.frame.module
    source = absolute(module, node.module or "", node.level)
    for alias in node.names:
        if alias.name == "*":
            _star(m, source)
        else:
            value = Imported(module, source, alias.name)
            m.cells.set((m.frame.number, alias.asname or alias.name), value)


def _star(m: Machine, source: str) -> None:
    found = m.project.find(source, m.frame.module.path)
    if found is None:
        return
    for text in sorted(found.bindings):
        if not text.startswith("_"):
            m.cells.set((m.frame.number, text), Imported(m.frame.module, source, text))


def _delete(m: Machine, node: Any) -> None:
    for target in node.targets:
        if isinstance(target, syntax.Attribute):
            calls.delete_attribute(m, evaluate(m, target.value), target.attr, target)


def _scope(m: Machine, node: Any) -> None:
    m.frame.globals.update(node.names)


def _match(m: Machine, node: Any) -> None:
    subject = evaluate(m, node.subject)
    bodies: list[Callable[[], None]] = []
    for case in node.cases:
        bodies.append(partial(_case, m, case, subject))
    last = node.cases[-1]
    if last.guard is not None or not isinstance(last.pattern, syntax.MatchAs):
        bodies.append(lambda: None)
    branch(m, bodies, f"match#{subject.number}@{node.lineno}", subject.number)


def _case(m: Machine, case: syntax.match_case, subject: Value) -> None:
    for inner in syntax.walk(case.pattern):
        name = getattr(inner, "name", None)
        if isinstance(name, str):
            lookup.assign_name(m, name, subject)
    if case.guard is not None:
        evaluate(m, case.guard)
    run(m, case.body)


def _assert(m: Machine, node: Any) -> None:
    evaluate(m, node.test)


_HANDLERS: Final[dict[type, Callable[[Machine, Any], None]]] = {
    syntax.Assign: _assign,
    syntax.AnnAssign: _annotated,
    syntax.AugAssign: _augmented,
    syntax.Expr: _expression,
    syntax.Return: _return,
    syntax.Raise: _raise,
    syntax.Break: _break,
    syntax.Continue: _continue,
    syntax.If: _if,
    syntax.For: _for,
    syntax.AsyncFor: _for,
    syntax.While: _while,
    syntax.Try: _try,
    syntax.TryStar: _try,
    syntax.With: _with,
    syntax.AsyncWith: _with,
    syntax.FunctionDef: _function,
    syntax.AsyncFunctionDef: _function,
    syntax.ClassDef: _class,
    syntax.Import: _import,
    syntax.ImportFrom: _import_from,
    syntax.Delete: _delete,
    syntax.Global: _scope,
    syntax.Nonlocal: _scope,
    syntax.Match: _match,
    syntax.Assert: _assert,
}

__all__ = ["Node", "Object", "assign", "binding", "branch", "class_", "function", "run"]
