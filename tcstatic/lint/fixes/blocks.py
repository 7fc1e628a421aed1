"""The place of a finding in its file: the expression, its statement, and the block around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar, final

from tcstatic.errors import InputError
from tcstatic.model import Edit, Location
from tcstatic.program.source import SourceText, Span, decode, parse, syntax

Node = TypeVar("Node", bound=syntax.expr)


@final
@dataclass(frozen=True, slots=True)
class Place:
    """A statement that stands alone on its lines, within its block; `node` is what was found."""

    file: str
    text: SourceText
    tree: syntax.Module
    node: syntax.expr | syntax.stmt
    statement: syntax.stmt
    block: tuple[syntax.stmt, ...]

    def source(self, node: syntax.expr | syntax.stmt) -> str:
        """Return the text of a node as it stands, line breaks and all."""
        span = self.text.span(node)
        lines = self.text.lines[span.line - 1 : span.end_line]
        if len(lines) == 1:
            return lines[0][span.column - 1 : span.end_column - 1]
        first, *middle, last = lines
        return "\n".join([first[span.column - 1 :], *middle, last[: span.end_column - 1]])

    def replace(self, node: syntax.expr | syntax.stmt, text: str) -> Edit:
        """Return the edit that puts `text` in the place of a node."""
        span = self.text.span(node)
        return Edit(self.file, span.line, span.column, span.end_line, span.end_column, text)

    def insert_before(self, node: syntax.expr | syntax.stmt, text: str) -> Edit:
        """Return the edit that puts `text` in front of a node."""
        span = self.text.span(node)
        return Edit(self.file, span.line, span.column, span.line, span.column, text)

    def insert_behind(self, node: syntax.expr | syntax.stmt, text: str) -> Edit:
        """Return the edit that puts `text` behind a node."""
        span = self.text.span(node)
        return Edit(self.file, span.end_line, span.end_column, span.end_line, span.end_column, text)

    def line_above(self, statement: syntax.stmt, text: str) -> Edit:
        """Return the edit that puts a statement on a line of its own above another."""
        return self._at_line(statement.lineno, f"{self.indent(statement)}{text}{self._newline()}")

    def line_below(self, statement: syntax.stmt, text: str) -> Edit:
        """Return the edit that puts a statement on a line of its own below another."""
        last = statement.end_lineno or statement.lineno
        if last < len(self.text.lines):
            return self._at_line(last + 1, f"{self.indent(statement)}{text}{self._newline()}")
        # The file does not end with a line break, and need not do so now.
        end = len(self.text.lines[last - 1]) + 1
        text = f"{self._newline()}{self.indent(statement)}{text}"
        return Edit(self.file, last, end, last, end, text)

    def without_line(self, statement: syntax.stmt) -> Edit:
        """Return the edit that takes a statement away, with its lines and the comment beside."""
        last = statement.end_lineno or statement.lineno
        if last < len(self.text.lines):
            return Edit(self.file, statement.lineno, 1, last + 1, 1, "")
        end = len(self.text.lines[last - 1]) + 1
        return Edit(self.file, statement.lineno, 1, last, end, "")

    def whole_lines(self, statement: syntax.stmt) -> str:
        """Return the text of a statement's lines, without indentation, with the comment beside."""
        last = statement.end_lineno or statement.lineno
        return self._newline().join(self.text.lines[statement.lineno - 1 : last]).strip()

    def indent(self, statement: syntax.stmt) -> str:
        """Return the white space in front of a statement."""
        line = self.text.lines[statement.lineno - 1]
        return line[: len(line) - len(line.lstrip())]

    def alone(self, statement: syntax.stmt) -> bool:
        """Return whether a statement has its lines to itself, a comment aside."""
        span = self.text.span(statement)
        before = self.text.lines[span.line - 1][: span.column - 1]
        behind = self.text.lines[span.end_line - 1][span.end_column - 1 :].strip()
        return not before.strip() and (not behind or behind.startswith("#"))

    def _at_line(self, line: int, text: str) -> Edit:
        return Edit(self.file, line, 1, line, 1, text)

    def _newline(self) -> str:
        return "\r\n" if "\r\n" in self.text.text else "\n"


def place_of(where: Location, source: bytes) -> Place | None:
    """Return the place of a finding; None where its statement shares its lines with others."""
    try:
        text = decode(source)
        tree = parse(text.text)
    except InputError:
        return None
    for statement, block in _statements(tree):
        for node in _nodes(statement):
            span = text.span(node)
            if (span.line, span.column) == (where.line, where.column) and _ends(span, where):
                place = Place(where.file, text, tree, node, statement, block)
                return place if not _is_simple(statement) or place.alone(statement) else None
    return None


def _ends(span: Span, where: Location) -> bool:
    return where.end_line == 0 or (span.end_line, span.end_column) == (
        where.end_line,
        where.end_column,
    )


def _statements(tree: syntax.AST) -> Iterator[tuple[syntax.stmt, tuple[syntax.stmt, ...]]]:
    """Each statement with its block: of one that holds others, the condition alone is looked at."""
    for parent in syntax.walk(tree):
        for _, value in syntax.iter_fields(parent):
            if isinstance(value, list) and value and isinstance(value[0], syntax.stmt):
                block = tuple(value)
                yield from ((one, block) for one in block if _is_simple(one) or _test(one))


def _is_simple(statement: syntax.stmt) -> bool:
    return not any(hasattr(statement, name) for name in ("body", "cases"))


def _test(statement: syntax.stmt) -> syntax.expr | None:
    return statement.test if isinstance(statement, syntax.If | syntax.While) else None


def _nodes(statement: syntax.stmt) -> Iterator[syntax.expr | syntax.stmt]:
    """The statement, and the expressions in it, from the outside; of a bare one, the expression."""
    for node in syntax.walk(_test(statement) or statement):
        if isinstance(node, syntax.expr | syntax.stmt) and not isinstance(node, syntax.Expr):
            yield node


def method_calls(
    block: tuple[syntax.stmt, ...], accept: Callable[[str], bool]
) -> Iterator[tuple[syntax.stmt, syntax.Call, syntax.Attribute]]:
    """Yield the statements of a block that are calls of a method whose name is accepted."""
    for statement in block:
        value = statement.value if isinstance(statement, syntax.Expr | syntax.Assign) else None
        if not isinstance(value, syntax.Call):
            continue
        if isinstance(value.func, syntax.Attribute) and accept(value.func.attr):
            yield statement, value, value.func


def dotted(node: syntax.AST) -> str:
    """Return ``a.b.c`` for such an expression, '' for any other."""
    if isinstance(node, syntax.Name):
        return node.id
    if isinstance(node, syntax.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""
