"""Text -> ModuleFacts, in one traversal of the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tcstatic.errors import InputError, input_problem
from tcstatic.program.source.calls import Seen, call_fact, described
from tcstatic.program.source.facts import (
    Action,
    Loop,
    Marks,
    ModuleFacts,
    Place,
    Result,
    Store,
    With,
)
from tcstatic.program.source.gradient_uses import uses_gradients
from tcstatic.program.source.leaving import left_at_once
from tcstatic.program.source.names import Names, chain
from tcstatic.program.source.order import ordered_children
from tcstatic.program.source.text import SourceText, decode, parse

PROBES: Final = "_tcstatic"


def read_module(path: Path, source: bytes, module: str) -> ModuleFacts:
    """Read one module; `module` is its dotted name, which relative imports count from.

    Raises InputError where Python of this version could not compile the file either.
    """
    text = decode(source, str(path))
    return read_tree(path, text, parse(text.text, str(path)), module)


def read_tree(path: Path, text: SourceText, tree: ast.Module, module: str) -> ModuleFacts:
    """The facts of a module that is parsed already. Raises InputError if it nests too deeply."""
    reader = _Reader(text, Names(module, path.stem == "__init__"))
    try:
        reader.visit(tree)
    except RecursionError as error:
        raise InputError(input_problem("nested too deeply", where=str(path))) from error
    return reader.facts(str(path), module, tree)


class _Reader:
    """State while walking.

    `function`, `scope`, `loops`, `place`, `quoted` and `in_class` describe what surrounds the node
    at hand and are set back when their node is left; the rest only grows.
    """

    def __init__(self, text: SourceText, names: Names) -> None:
        self.text = text
        self.names = names
        self.function = "<module>"
        self.scope = ""
        self.loops = 0
        self.place: Place = ""
        self.quoted = False
        self.in_class = False
        self.seen: list[Seen] = []
        self.results: dict[int, Result] = {}
        self.actions: dict[int, Action] = {}
        self.ordinal = 0
        self.for_loops: list[Loop] = []
        self.comprehensions: list[Loop] = []
        self.items: list[With] = []
        self.stores: list[Store] = []
        self.marks: list[Marks | None] = []
        self.defined: set[str] = set()
        self.decorated: list[tuple[str, tuple[str, ...]]] = []
        self.mentions_probes = False

    def visit(self, node: ast.AST) -> None:
        handler = _HANDLERS.get(type(node), _Reader.children)
        if isinstance(node, ast.stmt):
            index, first = len(self.marks), self.ordinal
            self.marks.append(None)
            handler(self, node)
            self.marks[index] = Marks(first, self.ordinal, len(self.marks))
        else:
            handler(self, node)

    def next_ordinal(self) -> int:
        self.ordinal += 1
        return self.ordinal - 1

    def children(self, node: ast.AST) -> None:
        for child in ordered_children(node):
            self.visit(child)

    @contextmanager
    def standing(self, **fields: Any) -> Iterator[None]:
        """Set fields while a part of the tree is walked."""
        before = {name: getattr(self, name) for name in fields}
        for name, value in fields.items():
            setattr(self, name, value)
        yield
        for name, value in before.items():
            setattr(self, name, value)

    def each(self, nodes: Any) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def name(self, node: Any) -> None:
        self.mentions_probes = self.mentions_probes or node.id == PROBES

    def call(self, node: ast.Call) -> None:
        if getattr(node.func, "id", "") == "__import__" and node.args:
            self.mentions_probes |= getattr(node.args[0], "value", None) == PROBES
        self.seen.append(
            Seen(
                self.next_ordinal(),
                node,
                self.function,
                self.loops,
                self.place,
                self.quoted,
                self.in_class,
            )
        )
        self.children(node)

    def attribute(self, node: Any) -> None:
        ordinal = self.next_ordinal()
        if not isinstance(node.ctx, ast.Load):
            default: Action = "delete" if isinstance(node.ctx, ast.Del) else "assign"
            action = self.actions.get(id(node), default)
            if self.place != "annotation":
                self.store(ordinal, node, action)
        self.visit(node.value)

    def store(self, ordinal: int, node: ast.Attribute, action: Action) -> None:
        base = self.text.span(node.value)
        path = chain(node.value)
        name = self.names.dotted(path) if path else ("", False)
        self.stores.append(
            Store(
                ordinal,
                base,
                described(node.value, base, self.text, self.quoted),
                name[0] if name[1] else "",
                node.attr,
                action,
                self.function,
            )
        )

    def function_definition(self, node: Any) -> None:
        with self.standing(place="decorator"):
            self.each(node.decorator_list)
        with self.standing(place="annotation"):
            self.each(getattr(node, "type_params", ()))
        self.visit(node.args)
        with self.standing(place="annotation"):
            self.each([node.returns])
        name = f"{self.scope}{node.name}"
        self.defined.add(node.name)
        for decorator in node.decorator_list:
            path = chain(decorator.func if isinstance(decorator, ast.Call) else decorator)
            if path:
                self.decorated.append((name, path))
        scope = f"{name}.<locals>."
        with self.standing(function=name, scope=scope, loops=0, in_class=False, place=""):
            self.each(node.body)

    def anonymous_function(self, node: Any) -> None:
        self.visit(node.args)
        name = f"{self.scope}<lambda>"
        scope = f"{name}.<locals>."
        with self.standing(function=name, scope=scope, loops=0, in_class=False):
            self.visit(node.body)

    def class_definition(self, node: Any) -> None:
        with self.standing(place="decorator"):
            self.each(node.decorator_list)
        with self.standing(place="annotation"):
            self.each(getattr(node, "type_params", ()))
        self.each(node.bases)
        self.each(node.keywords)
        name = f"{self.scope}{node.name}"
        self.defined.add(node.name)
        own = bool(node.keywords)
        with self.standing(function=name, scope=f"{name}.", loops=0, in_class=own, place=""):
            self.each(node.body)

    def argument(self, node: Any) -> None:
        if node.annotation is not None:
            with self.standing(place="annotation"):
                self.visit(node.annotation)

    def for_loop(self, node: Any) -> None:
        index = len(self.for_loops)
        span = self.text.span(node.iter)
        asynchronous = isinstance(node, ast.AsyncFor)
        text = self.text.segment(span)
        loop = Loop(
            self.next_ordinal(), span, text, -1, (0, 0), self.function, self.loops, asynchronous
        )
        self.for_loops.append(loop)
        self.visit(node.target)
        iterable_call = self.ordinal if isinstance(node.iter, ast.Call) else -1
        self.visit(node.iter)
        first = self.ordinal
        with self.standing(loops=self.loops + 1):
            self.each(node.body)
        body = (first, self.ordinal)
        left = 0 if asynchronous else left_at_once(node, self.text)
        self.for_loops[index] = replace(loop, iterable_call=iterable_call, body=body, left=left)
        self.each(node.orelse)

    def while_loop(self, node: Any) -> None:
        with self.standing(loops=self.loops + 1):
            self.visit(node.test)
            self.each(node.body)
        self.each(node.orelse)

    def comprehension(self, node: Any) -> None:
        with self.standing(loops=self.loops + 1):
            begin = self.ordinal
            self.each(part for part in ordered_children(node) if part not in node.generators)
            body = (begin, self.ordinal)
            for position, part in enumerate(node.generators):
                self.generator(part, body, first=position == 0)

    def generator(self, node: Any, body: tuple[int, int], *, first: bool) -> None:
        """One ``for`` of a comprehension; its ``if``s stand with it."""
        ordinal = self.next_ordinal()
        self.visit(node.target)
        begin = self.ordinal
        self.visit(node.iter)
        # Before Python 3.12, ``ast`` misplaces what stands in an f-string.
        if first and not self.quoted and self.place != "annotation":
            span = self.text.span(node.iter)
            call = begin if isinstance(node.iter, ast.Call) else -1
            names = (n.id for n in ast.walk(node.target) if isinstance(n, ast.Name))
            loop = Loop(
                ordinal,
                span,
                self.text.segment(span),
                call,
                body,
                self.function,
                self.loops,
                bool(node.is_async),
                frozenset(names),
            )
            self.comprehensions.append(loop)
        self.each(node.ifs)

    def with_block(self, node: Any) -> None:
        asynchronous = isinstance(node, ast.AsyncWith)
        for item in node.items:
            value = item.context_expr
            span = self.text.span(value)
            is_call = isinstance(value, ast.Call)
            text, index = self.text.segment(span), self.next_ordinal()
            self.items.append(With(index, span, text, is_call, self.function, asynchronous))
            self.visit(value)
            self.each([item.optional_vars])
        self.each(node.body)

    def assignment(self, node: Any) -> None:
        self.results[id(node.value)] = "assigned"
        self.children(node)

    def annotated_assignment(self, node: Any) -> None:
        place = self.place if node.value else "annotation"
        with self.standing(place=place):
            self.visit(node.target)
        with self.standing(place="annotation"):
            self.visit(node.annotation)
        if node.value:
            self.results[id(node.value)] = "assigned"
            self.visit(node.value)

    def augmented_assignment(self, node: Any) -> None:
        self.actions[id(node.target)] = "augment"
        self.children(node)

    def expression(self, node: Any) -> None:
        self.results[id(node.value)] = "dropped"
        self.children(node)

    def returned(self, node: Any) -> None:
        self.results[id(node.value)] = "returned"
        self.children(node)

    def raised(self, node: Any) -> None:
        with self.standing(place="raise"):
            self.children(node)

    def handler(self, node: Any) -> None:
        with self.standing(place="except"):
            self.each([node.type])
        self.each(node.body)

    def formatted(self, node: Any) -> None:
        with self.standing(quoted=True):
            self.children(node)

    def annotation(self, node: Any) -> None:
        with self.standing(place="annotation"):
            self.children(node)

    def import_(self, node: Any) -> None:
        self.names.add_import(node)
        self.mentions_probes |= any(alias.name == PROBES for alias in node.names)

    def import_from(self, node: Any) -> None:
        self.names.add_import_from(node)
        self.mentions_probes |= node.module == PROBES

    def facts(self, path: str, module: str, tree: ast.Module) -> ModuleFacts:
        self.names.add_aliases(tree.body)
        return ModuleFacts(
            path=path,
            module=module,
            imports=self.names.imports,
            stars=tuple(self.names.stars),
            imported=tuple(self.names.imported),
            modules=frozenset(self.names.modules),
            defined=frozenset(self.defined),
            decorated=tuple(
                (function, self.names.dotted(path)[0]) for function, path in self.decorated
            ),
            calls=tuple(
                call_fact(seen, self.results.get(id(seen.node), ""), self.names, self.text)
                for seen in self.seen
            ),
            loops=tuple(self.for_loops),
            comprehensions=tuple(self.comprehensions),
            withs=tuple(self.items),
            stores=tuple(self.stores),
            statements=tuple(mark for mark in self.marks if mark is not None),
            ordinals=self.ordinal,
            mentions_probes=self.mentions_probes,
            uses_gradients=".grad" in self.text.text and uses_gradients(tree),
        )


_HANDLERS: Final[dict[type[ast.AST], Callable[[_Reader, Any], None]]] = {
    ast.AnnAssign: _Reader.annotated_assignment,
    ast.Assign: _Reader.assignment,
    ast.AsyncFor: _Reader.for_loop,
    ast.AsyncFunctionDef: _Reader.function_definition,
    ast.AsyncWith: _Reader.with_block,
    ast.Attribute: _Reader.attribute,
    ast.AugAssign: _Reader.augmented_assignment,
    ast.Call: _Reader.call,
    ast.ClassDef: _Reader.class_definition,
    ast.DictComp: _Reader.comprehension,
    ast.ExceptHandler: _Reader.handler,
    ast.Expr: _Reader.expression,
    ast.For: _Reader.for_loop,
    ast.FunctionDef: _Reader.function_definition,
    ast.GeneratorExp: _Reader.comprehension,
    ast.Import: _Reader.import_,
    ast.ImportFrom: _Reader.import_from,
    ast.JoinedStr: _Reader.formatted,
    ast.Lambda: _Reader.anonymous_function,
    ast.ListComp: _Reader.comprehension,
    ast.Name: _Reader.name,
    ast.NamedExpr: _Reader.assignment,
    ast.Raise: _Reader.raised,
    ast.Return: _Reader.returned,
    ast.SetComp: _Reader.comprehension,
    ast.While: _Reader.while_loop,
    ast.With: _Reader.with_block,
    ast.arg: _Reader.argument,
}
if hasattr(ast, "TypeAlias"):
    _HANDLERS[ast.TypeAlias] = _Reader.annotation
