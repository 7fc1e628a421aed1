"""A module is explored: its body, then its functions that nothing in it calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from tcstatic.program.paths import facts, functions, lookup, statements
from tcstatic.program.paths.finishing import finish
from tcstatic.program.paths.machine import Frame, Machine
from tcstatic.program.paths.mattering import matters
from tcstatic.program.paths.operations import role_of
from tcstatic.program.paths.project import Module, Project, absolute
from tcstatic.program.paths.tree import Block, Loop, happenings
from tcstatic.program.paths.values import (
    Class,
    Const,
    External,
    Function,
    Object,
    Place,
    Unknown,
    Value,
    options,
)
from tcstatic.program.source import syntax

# Statements of a program, rather than of a library, at a module's own level.
_SCRIPT: Final = re.compile(rb"^(?:[\w.]+\(|for |while |with |if __name__)", re.MULTILINE)
# What a file must mention for training to happen in it.
_RELEVANT: Final = (b"torch", b"lightning", b"accelerate", b"optim")
NOTHING: Final = "it trains and evaluates nothing"
# Expressions that the functions of a module may cost: by its lines, at least, and each at most.
_SHARE: Final = 6
_LEAST: Final = 4_000
_MOST: Final = 6_000
# What each of them may cost, whatever those before it did; as long as there is something left,
# half of it is theirs at most.
_EACH: Final = 400
# Functions made in a root and called by nobody that are looked at.
_HANDED_OUT: Final = 6


@final
@dataclass(frozen=True, slots=True)
class Root:
    """One way into a module: its body ('') or a function, with all that may happen from there."""

    name: str
    block: Block
    objects: Mapping[int, Object]
    machine: Machine


@final
@dataclass(frozen=True, slots=True)
class Exploration:
    """What was explored. `coverage` pairs, by kind of event, sites with a known role and all."""

    module: Module | None
    depends: tuple[Path, ...] = ()
    skipped: str = ""
    coverage: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    exhausted: bool = False


def explore(project: Project, path: Path, visit: Callable[[Root], None]) -> Exploration:
    """Explore one file; `visit` sees each root while its values are still known.

    Raises InputError where the file cannot be read or parsed."""
    project.read, project.folders = set(), set()
    content = project.content(path)
    if reason := idle(content):
        return Exploration(None, depends=(path,), skipped=reason)
    module = project.module(path)
    if not matters(module.text.text) and not _drives(project, module):
        return Exploration(None, depends=(path,), skipped=NOTHING)
    machine = Machine(project)
    module.main = True
    try:
        visit(_body(machine, module))
        for root in _functions(machine, module):
            visit(root)
    finally:
        module.main = False
        module.scope = 0
    coverage: dict[str, tuple[int, int]] = {}
    for (file, _, _), (kind, resolved) in machine.sites.items():
        if file == module.file:
            known, every = coverage.get(kind, (0, 0))
            coverage[kind] = (known + resolved, every + 1)
    return Exploration(
        module,
        tuple(sorted(project.read | project.folders)),
        coverage=coverage,
        exhausted=machine.exhausted,
    )


def idle(content: bytes) -> str:
    """Return why nothing in a file can matter, by a look at its text; '' where it may.

    A script may run what its imports hold.
    """
    if _SCRIPT.search(content) is not None:
        return ""
    if not any(word in content for word in _RELEVANT):
        return "it does not mention torch"
    # Whatever its encoding: the words are ASCII.
    return "" if matters(content.decode("utf-8", "replace")) else NOTHING


def _drives(project: Project, module: Module) -> bool:
    """Whether a script runs what a module of the project holds that training is about."""
    for statement in module.tree.body:
        if isinstance(statement, syntax.ImportFrom):
            names = [absolute(module, statement.module or "", statement.level)]
        elif isinstance(statement, syntax.Import):
            names = [alias.name for alias in statement.names]
        else:
            continue
        for name in names:
            found = project.find(name, module.path) if name else None
            if found is not None and matters(found.text.text):
                return True
    return False


def run_body(m: Machine, module: Module) -> None:
    """Run a module's body as that of the program."""
    number = Const(None).number
    module.scope = number
    frame = Frame(number, module, "", (), m.cells.mark())
    m.frames.append(frame)
    m.block = Block()
    _guarded(m, lambda: statements.run(m, module.tree.body))


def _body(m: Machine, module: Module) -> Root:
    run_body(m, module)
    _guarded(m, lambda: _handed_out(m))
    finish(m, m.block)
    facts.complete(m, m.block)
    return Root("", m.block, m.objects, m)


def _guarded(m: Machine, run: object) -> None:
    assert callable(run)
    depth = len(m.frames)
    try:
        run()
    except RecursionError:
        m.exhausted = True
        del m.frames[depth:]
        m.quiet = 0
    m.dead = False
    m.loops = []
    m.regions = ()


def _functions(m: Machine, module: Module) -> Iterator[Root]:
    """Functions that were not entered; those that others in the module mention come last."""
    waiting = list(_definitions(m, module))
    text = module.text.text
    m.thorough = False
    left = _SHARE * len(module.text.lines) + _LEAST
    waiting.sort(key=lambda one: text.count(f"{one[1].name.rpartition('.')[2]}(") > 1)
    waiting = [one for one in waiting if module.begins(one[1].node)]
    for behind, (owner, function) in zip(range(len(waiting))[::-1], waiting, strict=True):
        if function.node in m.entered and function.node not in m.vague:
            continue
        mark, objects = m.cells.mark(), dict(m.objects)
        share = max(left - min(_EACH * behind, left // 2), _EACH)
        m.effort, m.exhausted, m.limit = 0, False, min(share, _MOST)
        m.begun = Const(None).number
        m.block = Block()
        m.templates, m.answers = {}, {}
        _guarded(m, lambda function=function, owner=owner: _enter(m, function, owner))
        _guarded(m, lambda: _handed_out(m))
        finish(m, m.block)
        facts.complete(m, m.block)
        yield Root(function.name, m.block, dict(m.objects), m)
        m.cells.undo(mark)
        m.objects = objects
        left = max(left - m.effort, 0)


def _handed_out(m: Machine) -> None:
    """Functions within functions that were made and not called: somebody else calls them, most
    likely again and again (the step function of an engine). What happens in them is assumed."""
    waiting, m.defined = m.defined, []
    for function in waiting[:_HANDED_OUT]:
        if function.node in m.entered or not function.module.matters(function.node):
            continue
        assert not isinstance(function.node, syntax.Lambda)
        place = Place(function.module, function.node, function.name)
        loop = Loop(Block(), place, Const(None).number, False, "for")
        spec = function.node.args
        arguments = tuple(_parameter(m, function, p) for p in (*spec.posonlyargs, *spec.args))
        keywords = {p.arg: _parameter(m, function, p) for p in spec.kwonlyargs}
        with m.writing(loop.body):
            functions.call_function(m, function, arguments, keywords, _at(function.node))
        for one in happenings(loop.body):
            one.assumed = True
        if loop.body.steps:
            m.block.steps.append(loop)


def _definitions(m: Machine, module: Module) -> Iterator[tuple[Class | None, Function]]:
    for text in sorted(module.bindings, key=lambda one: module.bindings[one].lineno):
        value = m.cells.get((module.scope, text))
        for one in options(value) if value is not None else ():
            if isinstance(one, Function) and one.module is module:
                yield None, one
            elif isinstance(one, Class) and one.module is module:
                for method in one.namespace.values():
                    if isinstance(method, Function) and method.owner is one:
                        yield one, method


def _enter(m: Machine, function: Function, owner: Class | None) -> None:
    node = function.node
    if isinstance(node, syntax.Lambda):
        return
    arguments: list[Value] = []
    spec = [*node.args.posonlyargs, *node.args.args]
    static = any(
        isinstance(d, External) and d.path == "builtins.staticmethod" for d in function.decorators
    )
    if owner is not None and spec and not static:
        arguments.append(_somebody(m, owner, node))
        spec = spec[1:]
    for parameter in spec:
        arguments.append(_parameter(m, function, parameter))
    keywords = {p.arg: _parameter(m, function, p) for p in node.args.kwonlyargs}
    functions.call_function(m, function, tuple(arguments), keywords, _at(node))


def _somebody(
    m: Machine, owner: Class, node: syntax.FunctionDef | syntax.AsyncFunctionDef
) -> Value:
    """An instance that somebody made, whose other methods were called before: switches may be on or
    off, and what is set again may be anything."""
    from tcstatic.program.paths import objects

    m.quiet += 1
    at = syntax.Name(id=owner.name, ctx=syntax.Load(), lineno=node.lineno, col_offset=0)
    at.end_lineno, at.end_col_offset = node.lineno, 0
    initializer = lookup.class_attribute(m, owner, "__init__")
    switches = _switches(initializer.node) if isinstance(initializer, Function) else []
    given = {text: Unknown("parameter", text) for text in switches}
    instance = objects.construct(m, owner, (), given, at)
    m.quiet -= 1
    m.dead = False
    if isinstance(instance, Object):
        instance.place = None
        for text in sorted(instance.attributes):
            if isinstance(m.attribute(instance, text), Const) and objects.is_set_again(owner, text):
                m.set_attribute(instance, text, Unknown("attribute", text))
    return instance


def _switches(
    node: syntax.FunctionDef | syntax.AsyncFunctionDef | syntax.Lambda,
) -> Iterator[str]:
    """The parameters of a function that are True or False by default."""
    spec = node.args
    positional = [*spec.posonlyargs, *spec.args]
    first = len(positional) - len(spec.defaults)
    for parameter, default in (
        *zip(positional[first:], spec.defaults, strict=True),
        *zip(spec.kwonlyargs, spec.kw_defaults, strict=True),
    ):
        if isinstance(default, syntax.Constant) and isinstance(default.value, bool):
            yield parameter.arg


def _at(node: syntax.FunctionDef | syntax.AsyncFunctionDef) -> syntax.expr:
    at = syntax.Name(
        id=node.name, ctx=syntax.Load(), lineno=node.lineno, col_offset=node.col_offset
    )
    at.end_lineno, at.end_col_offset = node.lineno, node.col_offset + len(node.name)
    return at


def _parameter(m: Machine, function: Function, parameter: syntax.arg) -> Value:
    """What is known of a parameter: what its annotation declares."""
    unknown = Unknown("parameter", parameter.arg)
    if parameter.annotation is None:
        return unknown
    m.quiet += 1
    m.frames.append(Frame(Const(None).number, function.module, "", function.scopes, m.cells.mark()))
    try:
        from tcstatic.program.paths.expressions import evaluate

        declared = evaluate(m, parameter.annotation)
    finally:
        m.frames.pop()
        m.quiet -= 1
    for one in options(declared, 3):
        made = _declared(m, one)
        if made is not None:
            return made
    return unknown


def _declared(m: Machine, annotation: Value) -> Object | None:
    role, type_ = "", ""
    if isinstance(annotation, External):
        role, type_ = role_of(annotation.path), annotation.path
    if not role or role in ("dataset", "region"):
        return None
    made = Object(type_, role)
    m.objects[made.number] = made
    return made


__all__ = ["Exploration", "Root", "explore", "lookup"]
