"""Functions of the project: their parameters bound, their bodies run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tcstatic.program.paths import calls, guesses, handing, lookup, remembered
from tcstatic.program.paths.machine import DEPTH, Frame, Machine
from tcstatic.program.paths.tree import Block, Branch
from tcstatic.program.paths.values import (
    Const,
    External,
    Function,
    Listing,
    Node,
    Place,
    Unknown,
    Value,
    joined,
    options,
)
from tcstatic.program.source import syntax

Keywords = Mapping[str, Value]
# The part of its effort after which a root leaves out what lies in other modules, and after which
# it breaks off what it follows there.
_THRIFTY: Final = 0.5
_MOST: Final = 0.75
_ROLES: Final = frozenset({"optimizer", "model", "scheduler", "scaler"})


def call_function(
    m: Machine,
    function: Function,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value:
    """Run the body of a function of the project with these arguments."""
    cell = remembered.cell_of(function, arguments, keywords) if function.decorators else None
    value = m.cells.get(cell) if cell is not None else None
    if value is None:
        if cell is None:
            return _called(m, function, arguments, keywords, at)
        with m.writing(Block()) as block:
            value = _called(m, function, arguments, keywords, at)
        # In a round after the first, it was called before.
        others = [Block()] if m.loops else []
        m.block.steps.append(Branch("", 0, [block, *others]))
        if not m.dead:
            m.cells.set(cell, value)
    return value


def _called(
    m: Machine,
    function: Function,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value:
    if handing.is_hook(function, arguments):
        return _left_out(m, function, arguments, keywords, at)
    active = any(f.function is not None and f.function.node is function.node for f in m.frames)
    skipped = (
        not m.thorough
        and not _touches(m, function)
        and not handing.hands_on(m, function, arguments)
    )
    far = not active and not skipped and _is_far(m, function)
    if far and m.effort > m.limit * _THRIFTY:
        return _left_out(m, function, arguments, keywords, at)
    if active or skipped or len(m.frames) > DEPTH:
        if m.recorder is not None:
            m.recorder.cut(function)
        return m.node(
            "call:skipped" if skipped else "call:recursion", (*arguments, *keywords.values()), at
        )
    decorated, places = _decorations(function)
    dead = m.dead
    with m.within(*decorated, places=places):
        with m.sparing(_MOST if far else 1.0) as spared:
            frame, value = _run(m, function, arguments, keywords, at)
        if spared.exhausted:
            m.dead = dead
            return _left_out(m, function, arguments, keywords, at)
    if frame.yields and is_context_manager(function):
        inside = frame.yields[-1]
        return m.node("context:", (inside,), at)
    if frame.yields:
        result = Listing("generator", m.place(at))
        lookup.fill(m, result, list(frame.yields), closed=False)
        return result
    return value


def _is_far(m: Machine, function: Function) -> bool:
    """Whether a function lies in another module than the root, and nothing trains in it: a root
    that spends too much on those leaves them out."""
    module = function.module
    home = m.recorder is not None or module is m.frames[0].module
    return not home and not module.matters(function.node)


def _left_out(
    m: Machine,
    function: Function,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value:
    """A function that is not followed may do anything to what it is handed; a model at work does
    nothing to itself."""
    from tcstatic.program.paths import methods
    from tcstatic.program.paths.objects import role_of_class

    if m.recorder is not None:
        m.recorder.cut(function)
    own = function.owner is not None and role_of_class(m, function.owner) in ("model", "loss")
    methods.escape(m, (*arguments[own:], *keywords.values()), at)
    return m.node("call:skipped", (*arguments, *keywords.values()), at)


def _run(
    m: Machine,
    function: Function,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> tuple[Frame, Value]:
    from tcstatic.program.paths import statements
    from tcstatic.program.paths.expressions import evaluate

    if m.recorder is not None:
        m.recorder.entered(m, function)
    owner_self = arguments[0] if function.owner is not None and arguments else None
    number = Const(None).number
    frame = Frame(
        number,
        function.module,
        function.name,
        function.scopes,
        m.cells.mark(),
        function,
        owner_self,
    )
    frame.at = m.place(at)
    frame.body = m.bodies.pop(function.node, None)
    step = m.called(function, frame.at, owner_self)
    m.frames.append(frame)
    outer_loops, dead = m.loops, m.dead
    try:
        with m.writing(step.body):
            bind(m, function, arguments, keywords)
            _note_entry(m, function)
            if isinstance(function.node, syntax.Lambda):
                return frame, evaluate(m, function.node.body)
            m.loops = list(outer_loops)
            statements.run(m, function.node.body)
            if not m.dead:
                frame.returns.append((Const(None), m.cells.changes(frame.mark)))
    finally:
        m.frames.pop()
        m.loops = outer_loops
    m.dead = dead
    return frame, _returned(m, frame)


def _touches(m: Machine, function: Function) -> bool:
    """Whether a function may do something to what is trained: methods of models always may."""
    from tcstatic.program.paths.objects import role_of_class

    if function.module.touches(function.node):
        return True
    return function.owner is not None and role_of_class(m, function.owner) == "model"


def _note_entry(m: Machine, function: Function) -> None:
    """A function was entered; vaguely, if a parameter that its name gives a role got a value
    without one: then it is worth a look of its own."""
    spec = function.node.args
    clear = True
    for parameter in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs):
        if guesses.role(Unknown("parameter", parameter.arg)) in _ROLES:
            value = m.cells.get((m.frame.number, parameter.arg))
            known = [calls.role_of_value(m, one) for one in options(value)] if value else []
            clear = clear and (not known or any(known))
    if clear:
        m.vague.discard(function.node)
    elif function.node not in m.entered:
        m.vague.add(function.node)
    m.entered.add(function.node)


def _returned(m: Machine, frame: Frame) -> Value:
    if not frame.returns:
        m.dead = True
        return Unknown("never")
    if len(frame.returns) == 1 or all(not changes for _, changes in frame.returns):
        if len(frame.returns) == 1:
            return frame.returns[0][0]
    else:
        m.cells.undo(frame.mark)
        m.cells.merge([changes for _, changes in frame.returns])
    return joined([value for value, _ in frame.returns])


def _decorations(function: Function) -> tuple[list[str], tuple[Place | None, ...]]:
    from tcstatic.program.paths import regions

    found: list[str] = []
    places: list[Place | None] = []
    written = getattr(function.node, "decorator_list", [])
    for index, decorator in enumerate(function.decorators):
        region = regions._one(decorator)
        if region == "set_grad_enabled":
            region = "grad_unknown"
        if region:
            found.append(region)
            known = index < len(written)
            at = Place(function.module, written[index], function.name) if known else None
            places.append(at)
    return found, tuple(places)


def is_context_manager(function: Function) -> bool:
    """Whether a function is a generator that ``contextlib.contextmanager`` decorates."""
    return any(
        isinstance(one, External) and one.path.endswith("contextmanager")
        for one in function.decorators
    )


def bind(m: Machine, function: Function, arguments: tuple[Value, ...], keywords: Keywords) -> None:
    """Bind a function's parameters in the present frame."""
    spec = function.node.args
    positional = [*spec.posonlyargs, *spec.args]
    number = m.frame.number
    rest = list(arguments)
    starred = next((a for a in rest if isinstance(a, Node) and a.op == "starred"), None)
    for index, parameter in enumerate(positional):
        value: Value | None = None
        if index < len(rest) and not (isinstance(rest[index], Node) and rest[index] is starred):
            value = rest[index]
        elif parameter.arg in keywords:
            value = keywords[parameter.arg]
        elif starred is not None or "**" in keywords:
            value = Unknown("starred", parameter.arg)
        else:
            value = _default(m, function, parameter.arg, index, len(positional))
        m.cells.set((number, parameter.arg), value)
    for parameter, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True):
        value = keywords.get(parameter.arg)
        if value is None:
            value = _value_of(m, function, default, parameter)
        m.cells.set((number, parameter.arg), value)
    _bind_rest(m, function, rest[len(positional) :], keywords)


def _bind_rest(m: Machine, function: Function, rest: list[Value], keywords: Keywords) -> None:
    spec, number = function.node.args, m.frame.number
    if spec.vararg is not None:
        listing = Listing("tuple")
        lookup.fill(m, listing, rest, closed=not any(isinstance(r, Node) for r in rest))
        m.cells.set((number, spec.vararg.arg), listing)
    if spec.kwarg is not None:
        known = {p.arg for p in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)}
        listing = Listing("dict")
        for text, value in keywords.items():
            if text not in known and text != "**":
                m.set_attribute(listing, f"[{text!r}]", value)
        if "**" in keywords:
            m.set_attribute(listing, lookup.OPEN, Const(True))
        m.cells.set((number, spec.kwarg.arg), listing)


def _default(m: Machine, function: Function, text: str, index: int, count: int) -> Value:
    defaults = function.node.args.defaults
    position = index - (count - len(defaults))
    parameters = [*function.node.args.posonlyargs, *function.node.args.args]
    default = defaults[position] if position >= 0 else None
    return _value_of(m, function, default, parameters[index])


def _value_of(
    m: Machine, function: Function, default: syntax.expr | None, parameter: syntax.arg
) -> Value:
    from tcstatic.program.paths.expressions import evaluate

    if default is None:
        return Unknown("parameter", parameter.arg)
    return evaluate(m, default)


def evaluate_apart(m: Machine, method: Function, holder: Value, expression: syntax.expr) -> Value:
    """An expression of a method that was not run, for what its value is; nothing is written."""
    from tcstatic.program.paths.expressions import evaluate

    if len(m.frames) > DEPTH:
        return Unknown("depth")
    frame = Frame(
        Const(None).number,
        method.module,
        method.name,
        method.scopes,
        m.cells.mark(),
        method,
        holder,
    )
    m.frames.append(frame)
    m.quiet += 1
    dead = m.dead
    try:
        bind(m, method, (holder,), {})
        return evaluate(m, expression)
    finally:
        m.quiet -= 1
        m.dead = dead
        m.frames.pop()
