"""Objects: how they are made, what their attributes are, what calling them does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from tcstatic.program.paths import calls, functions, lookup, parameters
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.operations import (
    CONTAINERS,
    WRAPPERS,
    role_of,
)
from tcstatic.program.paths.project import statements_in
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
    Unknown,
    Value,
    joined,
    options,
)
from tcstatic.program.source import syntax

Keywords = Mapping[str, Value]
_NEW: Final = {
    "model": "model.new",
    "optimizer": "optimizer.new",
    "scheduler": "scheduler.new",
    "loader": "loader.new",
    "sampler": "sampler.new",
}
_SET: Final = re.compile(r"self\.(\w+)\b(?=[^=\n]*=(?!=))")
# torch.nn classes whose instances are looked at one by one would be no news: only whole models are.
METHODS_OF_MODELS: Final = frozenset(
    """parameters named_parameters modules named_modules children named_children buffers train eval
    to cuda cpu half float double bfloat16 requires_grad_ zero_grad state_dict load_state_dict
    apply register_buffer register_parameter add_module forward __call__ append extend insert
    register_forward_hook register_forward_pre_hook share_memory type get_submodule compile
    no_sync summon_full_params clip_grad_norm_ save_pretrained add_param_group step values keys
    items""".split()
)


def role_of_class(m: Machine, owner: Class) -> str:
    """What instances of a project's class are to training; '?' if a base is not known."""
    unknown = False
    for one in lookup.ancestry(owner):
        if isinstance(one, External):
            role = "loss" if one.path.endswith("Loss") else role_of(one.path)
            if role:
                return role
        elif isinstance(one, Unknown):
            unknown = True
    return "?" if unknown else ""


def construct(
    m: Machine, owner: Class, arguments: tuple[Value, ...], keywords: Keywords, at: syntax.expr
) -> Value:
    """An instance of a project's class, its ``__init__`` run."""
    made = _born(m, Object(owner, role_of_class(m, owner), arguments, keywords, m.place(at)))
    initializer = lookup.class_attribute(m, owner, "__init__")
    if isinstance(initializer, Function):
        functions.call_function(m, initializer, (made, *arguments), keywords, at)
    else:
        _fields(m, made, owner, arguments, keywords)
    _announce(m, made, at)
    return made


def _born(m: Machine, made: Object) -> Object:
    """Note who was at work, and where each was called. An object that was made at the same place
    when a loop's body was run before is the same one."""
    frames = m.frames
    # What is only looked up, to know what an attribute may hold, is not made here and now.
    made.within = () if m.quiet else tuple(frame.name for frame in frames)
    places = [*(frame.at for frame in frames[1:]), made.place]
    made.sites = tuple((frame.number, at) for frame, at in zip(frames, places, strict=True))
    made.made_in_loops = len(m.loops)
    former = m.former.get(site(made))
    if former:
        made = former.pop(0).anew(made)
    m.objects[made.number] = made
    return made


def site(made: Object) -> tuple[object, ...]:
    """Where an object was made, and where the functions at work were called."""
    return tuple((at.module, at.node) if at is not None else None for _, at in made.sites)


def _fields(
    m: Machine, made: Object, owner: Class, arguments: tuple[Value, ...], keywords: Keywords
) -> None:
    """Fields of a dataclass or a named tuple."""
    names = [
        statement.target.id
        for statement in owner.node.body
        if isinstance(statement, syntax.AnnAssign) and isinstance(statement.target, syntax.Name)
    ]
    for text, value in zip(names, arguments, strict=False):
        m.set_attribute(made, text, value)
    for text, value in keywords.items():
        m.set_attribute(made, text, value)


def library_object(
    m: Machine,
    path: str,
    role: str,
    arguments: tuple[Value, ...],
    keywords: Keywords,
    at: syntax.expr,
) -> Object:
    """An instance of a library's class."""
    made = _born(m, Object(path, role, arguments, keywords, m.place(at)))
    if made.type_name in WRAPPERS:
        _wrap(m, made, at)
    else:
        if role == "loader":
            _loader_parts(m, made)
        _announce(m, made, at)
    return made


def _loader_parts(m: Machine, made: Object) -> None:
    for index, text in enumerate(("dataset", "batch_size", "shuffle", "sampler", "batch_sampler")):
        given = made.arguments[index] if index < len(made.arguments) else made.keywords.get(text)
        if given is not None:
            m.set_attribute(made, text, given)


def _wrap(m: Machine, made: Object, at: syntax.expr) -> None:
    wrapped = made.arguments[0] if made.arguments else made.keywords.get("module")
    inner = tuple(o for o in options(wrapped, 4) if isinstance(o, Object)) if wrapped else ()
    how = WRAPPERS[made.type_name]
    original = made.keywords.get("use_orig_params")
    if how == "replaces" and not (isinstance(original, Const) and original.value is True):
        for one in inner:
            parameters.replace_parameters(m, one)
    for one in inner:
        m.set_attribute(made, "module", one)
    subjects = tuple(one.number for one in inner)
    values = {"type": made.type_name, "how": how}
    m.emit("wrap.new", at, subjects={"model": (made.number, *subjects)}, values=values)


def _announce(m: Machine, made: Object, at: syntax.expr) -> None:
    kind = _NEW.get(made.role)
    if kind is None:
        return
    subjects: dict[str, tuple[int, ...]] = {made.role: (made.number,)}
    happening_values: dict[str, object] = {"type": made.type_name}
    if made.role == "optimizer":
        tokens, complete = parameters.held(m, _given(made))
        m.set_attribute(made, "#tokens", Const(tokens))
        m.set_attribute(made, "#complete", Const(complete))
        happening_values["complete"] = complete
    elif made.role == "scheduler":
        subjects["optimizer"] = tuple(one.number for one in _scheduled(m, made))
        m.set_attribute(made, "#optimizers", Const(subjects["optimizer"]))
    if made.role == "model" and isinstance(made.type, str) and made.type_name not in CONTAINERS:
        return
    m.emit(
        kind,
        at,
        subjects=subjects,
        values=happening_values,
        arguments=made.arguments,
        keywords=dict(made.keywords),
        result=made,
    )


def _scheduled(m: Machine, made: Object) -> Iterator[Object | Unknown | Node]:
    """The optimizers of a scheduler; what a library's scheduler is given first is nothing else."""
    first = made.arguments[0] if made.arguments else made.keywords.get("optimizer")
    for value in (*made.arguments[:1], *made.keywords.values()):
        library = value is first and isinstance(made.type, str)
        for one in options(value, 4):
            if (isinstance(one, Object) and one.role == "optimizer") or (
                isinstance(one, Unknown | Node)
                and (library or calls.role_of_value(m, one) == "optimizer")
            ):
                yield one


def _given(made: Object) -> tuple[Value, ...]:
    """What an optimizer is given to train: its first argument, or ``params=``."""
    named = made.keywords.get("params")
    if named is not None:
        return (named,)
    return made.arguments[:1] if isinstance(made.type, str) else made.arguments


def method_of(m: Machine, holder: Object, function: Function, text: str, at: syntax.expr) -> Value:
    """A method found in the class of an object: bound, or run where it is a property."""
    for decorator in function.decorators:
        path = decorator.path if isinstance(decorator, External) else ""
        if path.endswith(("property", "cached_property")):
            return functions.call_function(m, function, (holder,), {}, at)
        if path == "builtins.staticmethod":
            return function
        if path == "builtins.classmethod":
            return Bound(holder, text, function, m.place(at))
    return Bound(holder, text, function, m.place(at))


def library_attribute(m: Machine, holder: Object, text: str, at: syntax.expr) -> Value:
    """An attribute that a library's class gives, or one that nobody has set yet."""
    if holder.role == "model" and text == "training":
        return m.lazily(holder, "training", Unknown("mode", "training"))
    if holder.role in ("model", "loss") and text not in METHODS_OF_MODELS:
        if isinstance(holder.type, str) and holder.type_name not in WRAPPERS:
            return m.lazily(holder, text, Unknown("attribute", text, m.place(at)))
        inner = m.attribute(holder, "module")
        if isinstance(inner, Object) and text != "module":
            return m.lazily(holder, text, Unknown("attribute", text, m.place(at)))
        guessed = _assigned_elsewhere(m, holder, text)
        return (
            guessed
            if guessed is not None
            else m.lazily(holder, text, Unknown("attribute", text, m.place(at)))
        )
    if isinstance(holder.type, Class) and not _library_base(holder.type):
        guessed = _assigned_elsewhere(m, holder, text)
        if guessed is not None:
            return guessed
        return m.lazily(holder, text, Unknown("attribute", text, m.place(at)))
    return Bound(holder, text, None, m.place(at))


def _library_base(owner: Class) -> bool:
    return any(isinstance(one, External) for one in lookup.ancestry(owner))


def _assigned_elsewhere(m: Machine, holder: Object, text: str) -> Value | None:
    """What some method of its class, not run yet, would set the attribute to."""
    if not isinstance(holder.type, Class):
        return None
    known = m.lazy.get((holder.number, text))
    if known is not None:
        return known
    for one in lookup.ancestry(holder.type):
        if not isinstance(one, Class):
            continue
        expression, method = _assignment(one, text)
        if expression is None or method is None:
            continue
        m.lazy[(holder.number, text)] = Unknown("attribute", text)
        value = functions.evaluate_apart(m, method, holder, expression)
        if isinstance(value, Const) and is_set_again(one, text):
            value = Unknown("attribute", text)
        m.lazy[(holder.number, text)] = value
        return value
    return None


def is_set_again(owner: Class, text: str) -> bool:
    """Whether the methods of a class set an attribute in more than one place."""
    return _settings(owner.module.segment(owner.node))[text] > 1


@lru_cache(maxsize=64)
def _settings(text: str) -> Counter[str]:
    """How often the attributes of ``self`` are set in a text."""
    return Counter(_SET.findall(text))


def _assignment(owner: Class, text: str) -> tuple[syntax.expr | None, Function | None]:
    if text not in _settings(owner.module.segment(owner.node)):
        return None, None
    if not owner.assigned and owner.namespace:
        owner.assigned[""] = (None, None)
        for method in owner.namespace.values():
            if isinstance(method, Function) and not isinstance(method.node, syntax.Lambda):
                for name, value in _own_attributes(method.node):
                    owner.assigned.setdefault(name, (value, method))
    return owner.assigned.get(text, (None, None))


def _own_attributes(node: syntax.AST) -> Iterator[tuple[str, syntax.expr]]:
    """What a method assigns to attributes of ``self``, in order."""
    for inner in statements_in(node):
        if isinstance(inner, syntax.Assign):
            for target in inner.targets:
                if (
                    isinstance(target, syntax.Attribute)
                    and isinstance(target.value, syntax.Name)
                    and target.value.id == "self"
                ):
                    yield target.attr, inner.value


def deep_copy(m: Machine, value: Value, at: syntax.expr) -> Value:
    """``copy.deepcopy``: new objects, with new parameters."""
    if isinstance(value, Phi):
        return joined([deep_copy(m, one, at) for one in options(value, 4)])
    if not isinstance(value, Object | Listing):
        return m.node("deepcopy", (value,), at)
    made = _copied(m, value, at, {})
    if isinstance(made, Listing):
        _copy_items(m, made, at, set())
    return made


def _copy_items(m: Machine, made: Listing, at: syntax.expr, done: set[int]) -> None:
    """States and tensors that a copied listing holds are copies as well."""
    done.add(made.number)
    for text in sorted(made.attributes):
        held = m.attribute(made, text)
        if isinstance(held, Node):
            m.set_attribute(made, text, m.node("deepcopy", (held,), at))
        elif isinstance(held, Listing) and held.number not in done:
            _copy_items(m, held, at, done)


def _copied(m: Machine, value: Value, at: syntax.expr, done: dict[int, Value]) -> Value:
    if value.number in done:
        return done[value.number]
    if isinstance(value, Object) and value.role not in ("sampler", "loader", "dataset", "region"):
        made: Object | Listing = Object(
            value.type, value.role, value.arguments, value.keywords, m.place(at)
        )
        assert isinstance(made, Object)
        m.objects[made.number] = made
    elif isinstance(value, Listing):
        made = Listing(value.kind, m.place(at))
    elif isinstance(value, Phi) and any(isinstance(one, Object) for one in options(value)):
        return _one_of_copies(m, value, at, done)
    else:
        return value
    done[value.number] = made
    for text in sorted(value.attributes):
        held = m.attribute(value, text)
        if isinstance(held, Node) and held.op == "parameter" and held.subject is value:
            m.set_attribute(made, text, _own_parameter(m, held, made, at))
        elif held is not None and not text.startswith("#tokens"):
            m.set_attribute(made, text, _copied(m, held, at, done))
    if isinstance(made, Object):
        made.arguments = tuple(_copied(m, one, at, done) for one in made.arguments)
        trained = m.cells.get((value.number, "#training"))
        m.cells.set((made.number, "#training"), trained)
    outermost = next(iter(done)) == value.number
    if outermost and isinstance(made, Object) and made.role == "model":
        m.emit(
            "model.new",
            at,
            subjects={"model": (made.number,)},
            values={"type": made.type_name, "how": "copy"},
            result=made,
        )
    return made


def _one_of_copies(m: Machine, value: Phi, at: syntax.expr, done: dict[int, Value]) -> Phi:
    """The copy of one of several values, by the way that was taken."""
    made = Phi([])
    done[value.number] = made
    made.options = [_copied(m, one, at, done) for one in value.options]
    if value.ways is not None:
        key, birth, after = value.ways
        made.ways = (key, birth, tuple(_copied(m, one, at, done) for one in after))
    return made


def _own_parameter(m: Machine, held: Node, made: Value, at: syntax.expr) -> Node:
    """The parameter of a copied model's copy."""
    tokens = Const(frozenset({parameters.token(m, made)}))
    keywords = {**held.keywords, "#tokens": tokens}
    subject = made if isinstance(made, Object) else None
    return m.node("parameter", held.inputs, at, keywords=keywords, subject=subject)
