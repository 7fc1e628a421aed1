"""Calls: whose they are, what they bind, what they give back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.machine import DEPTH, Frame, Machine
from tcstatic.program.paths.operations import REGIONS
from tcstatic.program.paths.tree import Block, Branch, happenings
from tcstatic.program.paths.values import (
    Bound,
    Class,
    Const,
    External,
    Function,
    Listing,
    Node,
    Object,
    Phi,
    Place,
    Unknown,
    Value,
    joined,
    options,
)
from tcstatic.program.source import syntax

Keywords = Mapping[str, Value]
_GENERIC: Final = 3


def call_expression(m: Machine, node: syntax.Call) -> Value:
    """What a call gives."""
    if m.recorder is None:
        return _call_expression(m, node)
    before = m.recorder.noise
    result = _call_expression(m, node)
    m.recorder.returned(m, node, result, before)
    return result


def _call_expression(m: Machine, node: syntax.Call) -> Value:
    from tcstatic.program.paths import expressions, methods

    func = node.func
    receiver: Value | None = None
    if isinstance(func, syntax.Attribute):
        if _is_super(func.value):
            return _super_call(m, node, func.attr)
        receiver = expressions.evaluate(m, func.value)
    else:
        callee = expressions.evaluate(m, func)
    arguments, keywords = _arguments(m, node)
    if isinstance(func, syntax.Attribute) and receiver is not None:
        group = methods.group_of(receiver)
        if group and lookup_is_library(m, group[0], func.attr):
            if m.recorder is not None:
                m.recorder.called(m, node, receiver, None, arguments, keywords)
            return methods.on_objects(m, group, func.attr, arguments, keywords, node)
        callee = lookup.attribute(m, receiver, func.attr, func)
        if m.recorder is not None:
            m.recorder.called(m, node, receiver, callee, arguments, keywords)
        if _is_value(callee) and not isinstance(receiver, Object):
            return methods.on_value(m, receiver, func.attr, callee, arguments, keywords, node)
    elif m.recorder is not None:
        m.recorder.called(m, node, None, callee, arguments, keywords)
    return invoke(m, callee, arguments, keywords, node)


def _is_value(callee: Value) -> bool:
    """Whether a method is that of a tensor, or of something unknown, whichever way was taken."""
    known = [one for one in options(callee, 6) if not isinstance(one, Const)]
    return bool(known) and all(isinstance(one, Unknown | Node) for one in known)


def lookup_is_library(m: Machine, receiver: Value, text: str) -> bool:
    """Whether a method of an object is one that its library's class gives."""
    if not isinstance(receiver, Object):
        return False
    if m.attribute(receiver, text) is not None:
        return False
    return not (
        isinstance(receiver.type, Class)
        and lookup.class_attribute(m, receiver.type, text) is not None
    )


def _arguments(m: Machine, node: syntax.Call) -> tuple[tuple[Value, ...], dict[str, Value]]:
    from tcstatic.program.paths.expressions import evaluate

    positional: list[Value] = []
    keywords: dict[str, Value] = {}
    for argument in node.args:
        value = evaluate(m, argument)
        if isinstance(argument, syntax.Starred):
            known = lookup.items(m, value) if isinstance(value, Listing) else []
            if isinstance(value, Listing) and not lookup.is_open(m, value):
                positional.extend(known)
            else:
                positional.append(m.node("*", (value, *known), argument))
        else:
            positional.append(value)
    for keyword in node.keywords:
        value = evaluate(m, keyword.value)
        if keyword.arg is not None:
            keywords[keyword.arg] = value
        elif isinstance(value, Listing):
            for text in sorted(value.attributes):
                held = m.attribute(value, text)
                if text.startswith("['") and held is not None:
                    keywords[text[2:-2]] = held
        else:
            keywords["**"] = value
    return tuple(positional), keywords


def invoke(
    m: Machine, callee: Value, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    """Call a value."""
    from tcstatic.program.paths import external, methods, objects

    if isinstance(callee, Function):
        return call_function(m, callee, arguments, keywords, at)
    if isinstance(callee, Bound):
        if callee.method is not None:
            return _own_method(m, callee, callee.method, arguments, keywords, at)
        group = methods.group_of(callee.receiver)
        if group:
            return methods.on_objects(m, group, callee.name, arguments, keywords, at)
        return methods.on_value(m, callee.receiver, callee.name, callee, arguments, keywords, at)
    if isinstance(callee, Class):
        return objects.construct(m, callee, arguments, keywords, at)
    if isinstance(callee, External):
        return external.call(m, callee.path, arguments, keywords, at)
    if isinstance(callee, Object):
        return call_object(m, callee, arguments, keywords, at)
    if isinstance(callee, Phi):
        return _one_of(m, callee, arguments, keywords, at)
    return methods.unknown_call(m, callee, arguments, keywords, at)


def _own_method(
    m: Machine,
    callee: Bound,
    method: Function,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value:
    """A method of a project's class; the step of an own optimizer is a step, whatever it does."""
    receiver = callee.receiver
    before = len(m.block.steps)
    result = call_function(m, method, (receiver, *arguments), keywords, at)
    role = receiver.role if isinstance(receiver, Object) else ""
    if role == "optimizer" and callee.name in ("step", "zero_grad"):
        kind = f"optimizer.{callee.name}"
        told = any(one.kind == kind for one in happenings(Block(m.block.steps[before:])))
        if not told and callee.name == "step":
            m.emit(kind, at, subjects={"optimizer": (receiver.number,)}, receiver=receiver)
        elif not told:
            about = frozenset({receiver.number})
            m.emit("call", at, wild=True, maybe=about, values={"operation": "own zero_grad"})
    return result


def call_object(
    m: Machine, callee: Object, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    """An instance is called."""
    from tcstatic.program.paths import methods, objects

    if callee.role == "model":
        return objects.forward(m, callee, arguments, keywords, at)
    if callee.role == "loss":
        return objects.call_loss(m, callee, arguments, keywords, at)
    if callee.role == "region" and arguments:
        return arguments[0]
    if callee.role == "partial":
        target, *first = callee.arguments
        return invoke(m, target, (*first, *arguments), {**callee.keywords, **keywords}, at)
    if isinstance(callee.type, Class):
        for text in ("__call__", "forward"):
            method = lookup.class_attribute(m, callee.type, text)
            if isinstance(method, Function):
                return call_function(m, method, (callee, *arguments), keywords, at)
    return methods.unknown_call(m, callee, arguments, keywords, at)


def _one_of(
    m: Machine, callee: Phi, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    known = [v for v in options(callee, 5) if not (isinstance(v, Const) and v.value is None)]
    if len(known) == 1:
        return invoke(m, known[0], arguments, keywords, at)
    key, birth = f"callee#{callee.number}", callee.number
    if callee.ways is not None and len(callee.ways[2]) == 2:
        key, birth, known = callee.ways[0], callee.ways[1], list(callee.ways[2])
    if len(known) > _GENERIC or not known:
        from tcstatic.program.paths import methods

        return methods.unknown_call(m, callee, arguments, keywords, at)
    results: list[Value] = []
    outcomes = []
    branch = Branch(key, birth, [])
    for one in known:
        mark = m.cells.mark()
        with m.writing(Block()) as block:
            results.append(invoke(m, one, arguments, keywords, at))
        outcomes.append(m.cells.undo(mark))
        branch.alternatives.append(block)
        m.dead = False
    m.cells.merge(outcomes)
    if any(block.steps for block in branch.alternatives) and not m.quiet:
        m.block.steps.append(branch)
    return joined(results)


def _is_super(node: syntax.expr) -> bool:
    return (
        isinstance(node, syntax.Call)
        and isinstance(node.func, syntax.Name)
        and node.func.id == "super"
    )


def _super_call(m: Machine, node: syntax.Call, text: str) -> Value:
    from tcstatic.program.paths import methods

    arguments, keywords = _arguments(m, node)
    frame = m.frame
    receiver = frame.owner_self
    owner = frame.function.owner if frame.function is not None else None
    if receiver is None or owner is None:
        return methods.unknown_call(m, Unknown("super"), arguments, keywords, node)
    start = receiver.type if isinstance(receiver, Object) else owner
    line = list(lookup.ancestry(start)) if isinstance(start, Class) else []
    behind = line[line.index(owner) + 1 :] if owner in line else list(lookup.ancestry(owner))[1:]
    for one in behind:
        if isinstance(one, Class) and isinstance(one.namespace.get(text), Function):
            method = one.namespace[text]
            assert isinstance(method, Function)
            return call_function(m, method, (receiver, *arguments), keywords, node)
    if text == "__init__" or not isinstance(receiver, Object):
        return Const(None)
    return methods.on_objects(m, [receiver], text, arguments, keywords, node, own=False)


def call_function(
    m: Machine,
    function: Function,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Value:
    """Run the body of a function of the project with these arguments."""
    active = any(f.function is not None and f.function.node is function.node for f in m.frames)
    skipped = not m.thorough and not function.module.touches(function.node)
    if active or skipped or len(m.frames) > DEPTH:
        if m.recorder is not None:
            m.recorder.cut(function)
        return m.node(
            "call:skipped" if skipped else "call:recursion", (*arguments, *keywords.values()), at
        )
    decorated, places = _decorations(function)
    with m.within(*decorated, places=places):
        frame, value = _run(m, function, arguments, keywords, at)
    if frame.yields and _is_context_manager(function):
        inside = frame.yields[-1]
        region = m.lazy.pop((frame.number, "#regions"), Const(""))
        name = region.value if isinstance(region, Const) else ""
        return m.node(f"context:{name}", (inside,), at)
    if frame.yields:
        result = Listing("generator", m.place(at))
        lookup.fill(m, result, list(frame.yields), closed=False)
        return result
    return value


def _run(
    m: Machine,
    function: Function,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> tuple[Frame, Value]:
    from tcstatic.program.paths import statements
    from tcstatic.program.paths.expressions import evaluate

    m.entered.add(function.node)
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
    step = m.called(function.name)
    m.frames.append(frame)
    outer_loops, dead = m.loops, m.dead
    try:
        with m.writing(step.body):
            bind(m, function, arguments, keywords)
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


def _is_context_manager(function: Function) -> bool:
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
    starred = next((a for a in rest if isinstance(a, Node) and a.op == "*"), None)
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


def role_of_value(m: Machine, value: Value) -> str:
    """What a value is to training: known for objects, guessed from names for unknown ones."""
    from tcstatic.program.paths import guesses

    if isinstance(value, Object):
        return value.role
    return guesses.role(value)


def element(m: Machine, iterable: Value, at: syntax.expr) -> Value:
    """What one round of a loop over a value gives."""
    if isinstance(iterable, Listing):
        if iterable.kind == "dict":
            return m.node("key", (iterable,), at)
        known = lookup.items(m, iterable)
        return joined(known) if known else m.node("item", (iterable,), at)
    if isinstance(iterable, Object) and isinstance(iterable.type, Class):
        method = lookup.class_attribute(m, iterable.type, "__iter__")
        if isinstance(method, Function) and iterable.role not in ("model", "loader"):
            result = call_function(m, method, (iterable,), {}, at)
            if isinstance(result, Listing):
                return element(m, result, at)
    if isinstance(iterable, Node):
        special = _element_of_node(m, iterable, at)
        if special is not None:
            return special
    made = m.node("item", (iterable,), at)
    if isinstance(iterable, Node) and iterable.op == "parameters":
        made.subject = iterable.subject
        made.keywords = iterable.keywords
    return made


def _element_of_node(m: Machine, iterable: Node, at: syntax.expr) -> Value | None:
    if iterable.op == "enumerate" and iterable.inputs:
        pair = Listing("tuple")
        inner = joined([element(m, one, at) for one in options(iterable.inputs[0], 4)])
        lookup.fill(m, pair, [m.node("index", (iterable,), at), inner], closed=True)
        return pair
    if iterable.op == "zip":
        pair = Listing("tuple")
        parts = [
            joined([element(m, one, at) for one in options(part, 4)]) for part in iterable.inputs
        ]
        lookup.fill(m, pair, parts, closed=True)
        return pair
    if iterable.op == "items" and iterable.inputs and isinstance(iterable.inputs[0], Listing):
        pair = Listing("tuple")
        known = lookup.items(m, iterable.inputs[0])
        value = joined(known) if known else m.node("item", iterable.inputs, at)
        lookup.fill(m, pair, [m.node("key", iterable.inputs, at), value], closed=True)
        return pair
    if iterable.op == "iter" and iterable.inputs:
        return joined([element(m, one, at) for one in options(iterable.inputs[0], 4)])
    if iterable.op == "named_parameters":
        pair = Listing("tuple")
        item = m.node("item", (iterable,), at, keywords=dict(iterable.keywords))
        item.subject = iterable.subject
        lookup.fill(m, pair, [m.node("key", (iterable,), at), item], closed=True)
        return pair
    return None


def iterated(m: Machine, iterable: Value, node: Any) -> None:
    """A loop takes its next element."""
    for one in options(iterable, 4):
        inner, choices = one, len(options(iterable, 4))
        while isinstance(inner, Node) and inner.op in ("enumerate", "iter", "zip") and inner.inputs:
            choices = max(choices, len(options(inner.inputs[0], 4)))
            inner = only_option(inner.inputs[0])
        at = node.iter if hasattr(node, "iter") else node
        if role_of_value(m, inner) == "loader" and isinstance(inner, Object | Unknown):
            m.loops[-1].loop.role = "loader"
            m.emit(
                "loader.next",
                at,
                subjects={"loader": (inner.number,)},
                values={"choices": choices},
                receiver=inner,
            )
        elif _is_one_shot(inner):
            m.emit("call", at, values={"operation": "consumed"}, receiver=inner)


def _is_one_shot(value: Value) -> bool:
    """Whether going through a value uses it up."""
    if isinstance(value, Node):
        return value.op in ("parameters", "named_parameters", "filter")
    made = value.place.node if isinstance(value, Listing) and value.place is not None else None
    return isinstance(made, syntax.GeneratorExp)


def only_option(value: Value) -> Value:
    """The first of the options."""
    return options(value, 2)[0] if options(value, 2) else value


def set_attribute(m: Machine, holder: Value, text: str, value: Value, at: syntax.expr) -> None:
    """``holder.text = value``."""
    from tcstatic.program.paths import stores

    for one in options(holder, 4):
        stores.attribute(m, one, text, value, at)


def set_item(m: Machine, holder: Value, index: Value | None, value: Value, at: syntax.expr) -> None:
    """``holder[index] = value``."""
    from tcstatic.program.paths import stores

    for one in options(holder, 4):
        if isinstance(one, Listing) and index is not None:
            lookup.put(m, one, index, value)
        elif isinstance(index, Const) and not isinstance(one, External):
            m.set_attribute(one, f"[{index.value!r}]", value)
        if isinstance(one, Node) and one.op == "attr:grad":
            stores.any_gradient(m, at)
        m.emit("call", at, values={"operation": "set-item"}, receiver=one, arguments=(value,))


def delete_attribute(m: Machine, holder: Value, text: str, at: syntax.expr) -> None:
    """``del holder.text``."""
    for one in options(holder, 4):
        m.set_attribute(one, text, None)


def augmented(m: Machine, node: Any, before: Value, made: Node) -> None:
    """``target += value``."""
    from tcstatic.program.paths import stores

    stores.augmented(m, node, before, made)


def dropped(m: Machine, node: syntax.expr, value: Value) -> None:
    """An expression stands as a statement: nobody takes its value."""
    from tcstatic.program.paths import stores

    stores.dropped(m, node, value)


def is_region(path: str) -> bool:
    """Whether calling a library's name makes a ``with`` region."""
    return path in REGIONS


Callback = Callable[[Machine], Value]
