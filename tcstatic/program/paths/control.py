"""Control flow: which way the program may go, and what is known where ways meet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tcstatic.program.paths import (
    iteration,
    lookup,
    managers,
    narrowing,
    objects,
    regions,
    statements,
    varying,
)
from tcstatic.program.paths.conditions import named, truth
from tcstatic.program.paths.expressions import evaluate
from tcstatic.program.paths.machine import LoopState, Machine
from tcstatic.program.paths.store import NO_CHANGES, Changes
from tcstatic.program.paths.tree import Block, Branch, Loop
from tcstatic.program.paths.values import (
    Class,
    Const,
    External,
    Function,
    Listing,
    Node,
    Object,
    Phi,
    Unknown,
    Value,
    joined,
    options,
    same,
)
from tcstatic.program.source import syntax


def comprehension(
    m: Machine, node: Any, generators: list[syntax.comprehension], elements: tuple[Any, ...]
) -> tuple[list[Value], bool]:
    """Run a comprehension as the loop that it is; its elements, and whether these are all."""
    generator, rest = generators[0], generators[1:]
    iterable = evaluate(m, generator.iter)
    if m.recorder is not None:
        m.recorder.iterated(m, generator.iter, iterable)
    found: list[Value] = []
    for item in _each(m, node, generators, iterable):
        statements.assign(m, generator.target, item)
        found.append(evaluate(m, elements[0]))
    if found:
        return found, True

    def body() -> None:
        statements.assign(m, generator.target, _element(m, iterable, node))
        for test in generator.ifs:
            evaluate(m, test)
        if rest:
            found.extend(comprehension(m, node, rest, elements)[0])
        else:
            found.extend(evaluate(m, element) for element in elements)

    _loop(m, node, body, certain=False, kind="for", iterable=iterable)
    return found[-1:], False


def _each(
    m: Machine, node: Any, generators: list[syntax.comprehension], iterable: Value
) -> list[Value]:
    """The elements that a comprehension goes over, if it makes something of each of a few."""
    if len(generators) > 1 or generators[0].ifs or isinstance(node, syntax.DictComp):
        return []
    if not isinstance(iterable, Listing) or iterable.kind == "dict":
        return []
    known = [] if lookup.is_open(m, iterable) else lookup.items(m, iterable)
    few = 1 <= len(known) <= statements.UNROLLED
    return known if few and all(_is_plain(m, one) for one in known) else []


def _is_plain(m: Machine, item: Value) -> bool:
    """Whether an element is an object, a number, or a few of these."""
    if isinstance(item, Listing) and item.kind == "tuple":
        parts = lookup.items(m, item)
        return not lookup.is_open(m, item) and all(isinstance(one, Const) for one in parts)
    return isinstance(item, Object | Const)


def if_(m: Machine, node: Any) -> None:
    test = evaluate(m, node.test)
    known = truth(test)
    taken = node.body if known else node.orelse
    if known is not None:
        varying.decided(m, node.test)
        statements.run(m, taken)
        return
    key, flipped, birth = named(test)
    bodies = [lambda: statements.run(m, node.body), lambda: statements.run(m, node.orelse)]
    step = Branch(key, birth, [], test, place=m.place(node))
    branch(m, step, bodies, narrowing.told(m, node.test, test), flipped=flipped)


def branch(
    m: Machine,
    step: Branch,
    bodies: list[Callable[[], None]],
    known: tuple[Changes, Changes] | None = None,
    *,
    flipped: bool = False,
) -> None:
    """Run alternatives from one state, and join what they leave. `known` is what the condition
    tells of cells where it is true, and where it is not."""
    outcomes: list[Changes] = []
    for index, body in enumerate(bodies):
        mark = m.cells.mark()
        with m.writing(Block()) as block:
            narrowing.apply(m, known[index] if known else NO_CHANGES)
            body()
        changes = m.cells.undo(mark)
        step.alternatives.append(block)
        if not m.dead:
            outcomes.append(changes)
        m.dead = False
    if known and len(outcomes) == len(bodies):
        narrowing.forget(m, known, outcomes)
    if flipped:
        step.alternatives.reverse()
        outcomes.reverse()
    complete = step.key and len(outcomes) == len(bodies)
    m.cells.merge(outcomes, (step.key, step.birth) if complete else None)
    m.dead = not outcomes
    if not m.quiet and any(block.steps for block in step.alternatives):
        m.block.steps.append(step)


def for_(m: Machine, node: Any) -> None:
    iterable = evaluate(m, node.iter)
    if m.recorder is not None:
        m.recorder.iterated(m, node.iter, iterable)

    def body() -> None:
        statements.assign(m, node.target, _element(m, iterable, node.iter))
        statements.run(m, node.body)

    certain = _is_certain(m, iterable)
    rounds = _rounds(m, iterable) if certain and isinstance(iterable, Listing) else []
    for item in rounds:

        def one_round(item: Value = item) -> None:
            statements.assign(m, node.target, item)
            statements.run(m, node.body)

        _loop(m, node, one_round, certain=True, kind="for", iterable=iterable, once=True)
    if not rounds:
        alone = certain and isinstance(iterable, Listing) and len(lookup.items(m, iterable)) == 1
        once = alone and isinstance(iterable, Listing) and iterable.kind != "dict"
        _loop(m, node, body, certain=certain, kind="for", iterable=iterable, once=once)
    statements.run(m, node.orelse)


def _is_certain(m: Machine, iterable: Value) -> bool:
    """Whether a loop over a value has a round at least."""
    if isinstance(iterable, Node) and iterable.op in ("zip", "enumerate") and iterable.inputs:
        parts = iterable.inputs if iterable.op == "zip" else iterable.inputs[:1]
        return all(_is_certain(m, part) for part in parts)
    return isinstance(iterable, Listing) and not lookup.is_open(m, iterable)


def _rounds(m: Machine, iterable: Listing) -> list[Value]:
    """The elements of a short listing of optimizers and the like: each has a round of its own."""
    known = lookup.items(m, iterable)
    if iterable.kind == "dict" or len(known) > statements.UNROLLED:
        return []
    roles = {one.role for one in known if isinstance(one, Object)}
    return known if roles & {"optimizer", "scheduler", "scaler"} else []


def while_(m: Machine, node: Any) -> None:
    test = truth(evaluate(m, node.test))
    if test is not None:
        varying.decided(m, node.test)
    if test is False:
        return
    _loop(
        m,
        node,
        lambda: statements.run(m, node.body),
        certain=test is True,
        kind="while",
        iterable=None,
    )
    statements.run(m, node.orelse)


def _element(m: Machine, iterable: Value, at: syntax.expr) -> Value:
    """What a loop's variable stands for."""
    return joined([iteration.element(m, one, at) for one in options(iterable, 4)])


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
    defined, templates = len(m.defined), len(m.templates)
    seen: Changes = {}
    begun, former = Const(None).number, m.former
    m.former = {key: [*made] for key, made in former.items()}
    for again in range(varying.MOST + 1):
        carried = _carried(m, node)
        carried += varying.set_any(m, seen)
        loop = Loop(Block(), m.place(node), begun, certain, kind, once=once)
        state = LoopState(m.cells.mark(), loop)
        before = m.cells.changes(mark)
        outcomes = _once_through(m, node, body, state, iterable)
        m.cells.undo(mark)
        last = once or again == varying.MOST
        if last or not (further := varying.varying(m, state, before, outcomes)):
            break
        seen.update(further)
        del m.defined[defined:]
        _forget(m, begun, templates)
    m.former = former
    for key, phi in carried:
        ends = [changes[key] for changes in outcomes if key in changes]
        _extend(phi, [end for end in ends if end is not None])
    m.cells.merge([*([] if certain and outcomes else [NO_CHANGES]), *outcomes])
    if loop.body.steps and not m.quiet:
        m.block.steps.append(loop)


def _forget(m: Machine, begun: int, templates: int) -> None:
    """Forget the objects that were made since a body was begun, and what forwards gave, whose
    contents have been undone with it."""
    for number in [number for number in m.objects if number > begun]:
        made = m.objects.pop(number)
        m.former.setdefault(objects.site(made), []).append(made)
    for key in list(m.templates)[templates:]:
        del m.templates[key]


def _once_through(
    m: Machine, node: Any, body: Callable[[], None], state: LoopState, iterable: Any
) -> list[Changes]:
    """Run a loop's body once; what it leaves behind, by the ways out of it."""
    m.loops.append(state)
    with m.writing(state.loop.body):
        if iterable is not None:
            iteration.iterated(m, iterable, node)
        body()
    m.loops.pop()
    outcomes = state.left if m.dead else [*state.left, m.cells.changes(state.mark)]
    m.dead = False
    return outcomes


def _carried(m: Machine, node: Any) -> list[tuple[tuple[int, str], Phi]]:
    """Names that a loop's body binds and that are bound before it: either value may be seen."""
    found = []
    stored = m.frame.module.stored
    names = stored.get(node)
    if names is None:
        names = stored[node] = frozenset(varying.stored_names(node))
    for text in sorted(names):
        key = (m.frame.number, text)
        before = m.cells.get(key)
        if before is not None and not isinstance(before, Function | Class | External):
            phi = Phi([before])
            m.cells.set(key, phi)
            found.append((key, phi))
    return found


def _extend(phi: Phi, ends: list[Value]) -> None:
    for end in ends:
        for option in end.options if isinstance(end, Phi) and end is not phi else (end,):
            if option is not phi and not any(same(option, known) for known in phi.options):
                phi.options.append(option)


def try_(m: Machine, node: Any) -> None:
    start = m.cells.mark()
    statements.run(m, node.body)
    if not m.dead:
        statements.run(m, node.orelse)
    if node.handlers and not narrowing.is_safe(m, node):
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
                statements.run(m, handler.body)
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
    statements.run(m, node.finalbody)
    m.dead = m.dead or dead


def with_(m: Machine, node: Any) -> None:
    _with(m, node.items, node.body)


def _with(m: Machine, items: list[syntax.withitem], body: list[syntax.stmt]) -> None:
    """Enter the first of several managers, and the rest within it."""
    if not items:
        statements.run(m, body)
        return
    item, rest = items[0], items[1:]
    target = item.optional_vars
    generator = _generator(m, item.context_expr, body)
    if generator is not None:
        done: list[Value] = []

        def inside(value: Value) -> None:
            done.append(value)
            if target is not None:
                statements.assign(m, target, value)
            _with(m, rest, body)

        m.bodies[generator.node] = managers.around(m, inside)
        value = evaluate(m, item.context_expr)
        m.bodies.pop(generator.node, None)
        if done:
            return
    else:
        value = evaluate(m, item.context_expr)
    region = regions.region_of(m, value, item.context_expr)
    if region:
        values = {"region": region}
        m.emit("region.enter", item.context_expr, values=values, receiver=value)
    entered = managers.method(m, value, "__enter__", item.context_expr)
    if target is not None:
        given = regions.entered(m, value, item.context_expr) if entered is None else entered
        statements.assign(m, target, given)
    known = ((region,), (m.place(item.context_expr),)) if region else ((), ())
    with m.within(*known[0], places=known[1]):
        _with(m, rest, body)
    if not m.dead:
        managers.method(m, value, "__exit__", item.context_expr)


def _generator(m: Machine, at: syntax.expr, body: list[syntax.stmt]) -> Function | None:
    """The generator function whose call a ``with`` is on, if its body can be run in there."""
    if not isinstance(at, syntax.Call) or not managers.stays(body):
        return None
    m.quiet += 1
    try:
        return managers.generator_of(m, evaluate(m, at.func))
    finally:
        m.quiet -= 1


def match_(m: Machine, node: Any) -> None:
    subject = evaluate(m, node.subject)
    bodies: list[Callable[[], None]] = []
    for case in node.cases:
        bodies.append(partial(_case, m, case, subject))
    last = node.cases[-1]
    if last.guard is not None or not isinstance(last.pattern, syntax.MatchAs):
        bodies.append(lambda: None)
    branch(m, Branch(f"match#{subject.number}@{node.lineno}", subject.number, []), bodies)


def _case(m: Machine, case: syntax.match_case, subject: Value) -> None:
    for inner in syntax.walk(case.pattern):
        name = getattr(inner, "name", None)
        if isinstance(name, str):
            lookup.assign_name(m, name, subject)
    if case.guard is not None:
        evaluate(m, case.guard)
    statements.run(m, case.body)
