"""Names, attributes and items: where values are kept."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Final

from tcstatic.program.paths.machine import Frame, Machine
from tcstatic.program.paths.operations import role_of
from tcstatic.program.paths.project import Module, absolute
from tcstatic.program.paths.values import (
    Bound,
    Class,
    Const,
    External,
    Function,
    Imported,
    Listing,
    ModuleRef,
    Node,
    Object,
    Phi,
    Unknown,
    Value,
    joined,
    options,
)
from tcstatic.program.source import syntax

_BUILTINS: Final = frozenset(dir(builtins))
_HOPS: Final = 8
# Cells of a listing: its items by position or key, all that were added otherwise, and whether
# that is all.
REST: Final = "#rest"
OPEN: Final = "#open"


def name(m: Machine, text: str) -> Value:
    """What a name stands for in the present frame."""
    frame = m.frame
    if text not in frame.globals:
        for number in (frame.number, *frame.scopes):
            value = m.cells.get((number, text))
            if value is not None:
                return resolved(m, value)
    value = module_name(m, frame.module, text)
    if value is not None:
        return value
    if text == "__name__":
        main = frame.module.main
        return Const("__main__" if main else frame.module.name)
    if text in _BUILTINS:
        return External(f"builtins.{text}")
    return m.lazily(_HOLDERS, f"{frame.module.name}.{text}", Unknown("name", text))


_HOLDERS: Final = Unknown("names")


def resolved(m: Machine, value: Value) -> Value:
    """A value; what was imported is looked up now."""
    if not isinstance(value, Imported):
        return value
    known = m.lazy.get((value.number, ""))
    if known is None:
        if value.name:
            known = from_import(m, value.module, value.source, value.name)
        else:
            known = of_module(m, value.module, value.source)
        m.lazy[(value.number, "")] = known
    return known


def module_name(m: Machine, module: Module, text: str, hops: int = 0) -> Value | None:
    """What a module binds a name to: as it runs, for the root; else by the statement that binds
    it last."""
    if module.scope:
        value = m.cells.get((module.scope, text))
        if value is not None:
            return resolved(m, value)
    known = m.lazy.get((-id(module), text))
    if known is not None:
        return known
    if hops > _HOPS:
        return None
    statement = module.bindings.get(text)
    value = None
    if statement is not None and not module.scope:
        m.lazy[(-id(module), text)] = Unknown("cycle", text)
        value = _bind(m, module, statement, text, hops)
        del m.lazy[(-id(module), text)]
    if value is None and not module.scope:
        value = _starred(m, module, text, hops)
    if value is not None:
        m.lazy[(-id(module), text)] = value
    return value


def _starred(m: Machine, module: Module, text: str, hops: int) -> Value | None:
    for source, level in module.stars:
        value = from_import(m, module, absolute(module, source, level), text, hops)
        if not isinstance(value, External):
            return value
    return None


def _bind(m: Machine, module: Module, statement: syntax.stmt, text: str, hops: int) -> Value | None:
    from tcstatic.program.paths import statements

    if isinstance(statement, syntax.Import):
        return imported(m, module, statement, text)
    if isinstance(statement, syntax.ImportFrom):
        source = absolute(module, statement.module or "", statement.level)
        for alias in statement.names:
            if (alias.asname or alias.name) == text:
                return from_import(m, module, source, alias.name, hops + 1)
        return None
    frame = Frame(-1 - module_number(m, module), module, "", (), m.cells.mark())
    m.frames.append(frame)
    m.quiet += 1
    try:
        return statements.binding(m, statement, text)
    finally:
        m.quiet -= 1
        m.frames.pop()


def module_number(m: Machine, module: Module) -> int:
    """A number for the names of a module that is looked up, not run."""
    for number, known in m.globals.items():
        if known is module:
            return number
    m.globals[len(m.globals)] = module
    return len(m.globals) - 1


def imported(m: Machine, module: Module, node: syntax.Import, text: str) -> Value | None:
    """What ``import a.b as c`` binds."""
    for alias in node.names:
        bound = alias.asname or alias.name.partition(".")[0]
        if bound == text:
            return of_module(m, module, alias.name if alias.asname else bound)
    return None


def of_module(m: Machine, module: Module, path: str) -> Value:
    """A module by its dotted name: one of the project, or one of a library."""
    found = m.project.find(path, module.path)
    if found is not None and found is not module:
        return ModuleRef(found)
    return External(path)


def from_import(m: Machine, module: Module, source: str, text: str, hops: int = 0) -> Value:
    """What ``from source import text`` binds."""
    if role_of(f"{source}.{text}") == "engine":
        return External(f"{source}.{text}")  # known by heart, also where its source is at hand
    found = m.project.find(source, module.path) if source else None
    if found is not None and found is not module:
        value = module_name(m, found, text, hops + 1)
        if value is not None:
            return value
    submodule = m.project.find(f"{source}.{text}" if source else text, module.path)
    if submodule is not None and submodule is not module:
        return ModuleRef(submodule)
    return External(f"{source}.{text}" if source else text)


def assign_name(m: Machine, text: str, value: Value) -> None:
    """Bind a name in the present frame."""
    frame = m.frame
    if text in frame.globals:
        owner = next((s for s in frame.scopes if m.cells.get((s, text)) is not None), None)
        number = owner if owner is not None else frame.module.scope or frame.number
    else:
        number = frame.number
    m.cells.set((number, text), value)


def spelt(text: str) -> str:
    """An attribute by its plain name: ``p._grad``, which A3C shares, is ``p.grad``."""
    return "grad" if text == "_grad" else text


def attribute(m: Machine, holder: Value, text: str, at: syntax.expr) -> Value:
    """What an attribute of a value is."""
    if isinstance(holder, External):
        return External(f"{holder.path}.{text}")
    if isinstance(holder, ModuleRef):
        value = module_name(m, holder.module, text)
        if value is not None:
            return value
        return of_module(m, holder.module, f"{holder.module.name}.{text}")
    if isinstance(holder, Phi):
        return _of_each(m, holder, text, at)
    if isinstance(holder, Object):
        return _object_attribute(m, holder, text, at)
    if isinstance(holder, Class):
        found = class_attribute(m, holder, text)
        return found if found is not None else m.lazily(holder, text, Unknown("attribute", text))
    kept = m.attribute(holder, text)
    if kept is not None:
        return kept
    if isinstance(holder, Unknown):
        return m.lazily(holder, text, Unknown("attribute", text, m.place(at)))
    if isinstance(holder, Listing | Const):
        return Bound(holder, text, None, m.place(at))
    return m.lazily(holder, text, m.node(f"attr:{text}", (holder,), at))


def _of_each(m: Machine, holder: Phi, text: str, at: syntax.expr) -> Value:
    """An attribute of one of several: which one, the same branch decides."""
    found = joined([attribute(m, one, text, at) for one in _known(holder, text)])
    if holder.ways is None or not isinstance(found, Phi):
        return found
    key, birth, after = holder.ways
    if not any(_lacks(one, text) for one in options(holder, 6)):
        found.ways = (key, birth, tuple(attribute(m, one, text, at) for one in after))
    return found


def _known(value: Phi, text: str) -> list[Value]:
    found = [one for one in options(value, 12) if not _lacks(one, text)]
    return found or list(value.options[:1])


def _lacks(value: Value, text: str) -> bool:
    """Whether a value is None, or a number that has no such attribute: no way leads on with it."""
    if not isinstance(value, Const):
        return False
    number = isinstance(value.value, int | float)
    return value.value is None or (number and not hasattr(value.value, text))


def _object_attribute(m: Machine, holder: Object, text: str, at: syntax.expr) -> Value:
    from tcstatic.program.paths import objects

    kept = m.attribute(holder, text)
    if kept is not None:
        return kept
    if isinstance(holder.type, Class):
        found = class_attribute(m, holder.type, text)
        if isinstance(found, Function):
            return objects.method_of(m, holder, found, text, at)
        if found is not None:
            return found
    return objects.library_attribute(m, holder, text, at)


def class_attribute(m: Machine, owner: Class, text: str) -> Value | None:
    """A name of a class, along its bases."""
    for one in ancestry(owner):
        if not isinstance(one, Class):
            continue
        if text in one.namespace:
            return one.namespace[text]
        if text in one.pending:
            one.namespace[text] = _class_value(m, one, one.pending.pop(text))
            return one.namespace[text]
    return None


def _class_value(m: Machine, owner: Class, expression: syntax.expr) -> Value:
    from tcstatic.program.paths.expressions import evaluate

    frame = Frame(-1 - module_number(m, owner.module), owner.module, "", owner.scopes, 0)
    m.frames.append(frame)
    m.quiet += 1
    try:
        return evaluate(m, expression)
    finally:
        m.quiet -= 1
        m.frames.pop()


def ancestry(owner: Class) -> Iterator[Value]:
    """A class and what it derives from, nearest first, each once."""
    waiting: list[Value] = [owner]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, Class):
            waiting.extend(one.bases)


def item(m: Machine, holder: Value, index: Value, at: syntax.expr) -> Value:
    """What a subscript gives."""
    if isinstance(holder, Phi):
        return joined([item(m, one, index, at) for one in _known(holder, "__getitem__")])
    if isinstance(holder, External) and holder.path == "os.environ":
        return m.node("item", (holder, index), at)
    if isinstance(holder, External):
        return holder  # a generic alias: Sequence[int]
    if isinstance(holder, Listing):
        return _listing_item(m, holder, index, at)
    if isinstance(index, Const):
        kept = m.attribute(holder, f"[{index.value!r}]")
        if kept is None and isinstance(holder, Object):
            kept = _layer(m, holder, index.value)
        if kept is not None:
            return kept
        made = m.node("item", (holder, index), at)
        return m.lazily(holder, f"[{index.value!r}]", made)
    return m.node("item", (holder, index), at)


def _layer(m: Machine, holder: Object, index: object) -> Value | None:
    """A layer of ``nn.Sequential(a, b)`` or ``nn.ModuleList([a, b])`` by its position."""
    if holder.role != "model" or not isinstance(index, int) or isinstance(holder.type, Class):
        return None
    layers = list(holder.arguments)
    if len(layers) == 1 and isinstance(layers[0], Listing) and not is_open(m, layers[0]):
        layers = items(m, layers[0])
    known = all(isinstance(one, Object) for one in layers)
    return layers[index] if known and -len(layers) <= index < len(layers) else None


def _listing_item(m: Machine, holder: Listing, index: Value, at: syntax.expr) -> Value:
    if isinstance(index, Const):
        kept = m.attribute(holder, key_of(index))
        if kept is not None:
            return kept
        if isinstance(index.value, int) and index.value < 0:
            known = items(m, holder)
            if m.attribute(holder, OPEN) is None and -index.value <= len(known):
                return known[index.value]
    known = items(m, holder)
    if known:
        return joined(known)
    return m.node("item", (holder, index), at)


def key_of(index: Const) -> str:
    """The name of the cell of a key."""
    return f"[{index.value!r}]"


def items(m: Machine, holder: Listing) -> list[Value]:
    """All that a listing is known to hold."""
    found = []
    for text in sorted(holder.attributes):
        if text.startswith("["):
            value = m.attribute(holder, text)
            if value is not None:
                found.append((len(text), text, value))
    rest = m.attribute(holder, REST)
    known = [value for _, _, value in sorted(found, key=lambda one: one[:2])]
    return [*known, *options(rest)] if rest is not None else known


def fill(m: Machine, holder: Listing, values: list[Value], *, closed: bool) -> None:
    """Put values into a new listing, in order."""
    if closed:
        for index, value in enumerate(values):
            m.set_attribute(holder, f"[{index}]", value)
        return
    m.set_attribute(holder, OPEN, Const(True))
    if values:
        m.set_attribute(holder, REST, joined(values))


def add(m: Machine, holder: Listing, value: Value) -> None:
    """Add to a listing: append, extend, insert."""
    rest = m.attribute(holder, REST)
    m.set_attribute(holder, REST, joined([*options(rest), value]) if rest else value)
    m.set_attribute(holder, OPEN, Const(True))


def put(m: Machine, holder: Listing, key: Value, value: Value) -> None:
    """Set an item of a listing."""
    if isinstance(key, Const):
        m.set_attribute(holder, key_of(key), value)
    else:
        add(m, holder, value)


def update(m: Machine, holder: Listing, other: Value) -> None:
    """Take over what another listing holds."""
    if isinstance(other, Listing):
        for text in sorted(other.attributes):
            value = m.attribute(other, text)
            if value is not None:
                m.set_attribute(holder, text, value)
    else:
        m.set_attribute(holder, OPEN, Const(True))
        if isinstance(other, Node | Unknown):
            add(m, holder, m.node("item", (other,), None))


def is_open(m: Machine, holder: Listing) -> bool:
    """Whether a listing may hold more than is known, or nothing."""
    return m.attribute(holder, OPEN) is not None or not items(m, holder)
