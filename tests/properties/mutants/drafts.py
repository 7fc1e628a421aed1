"""A single mutation of a file as an exact edit of its text: everything else keeps its place."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import final


class NoMutant(Exception):
    """The mutation cannot be written here as an edit of whole lines or of one expression."""


@final
@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong program: its text, what lint must say of it, and on which lines (1-based)."""

    kind: str
    text: str
    codes: frozenset[str]
    lines: frozenset[int]
    edit: str
    site: int
    note: str = ""


@final
@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: str
    marked: bool


@final
@dataclass
class Draft:
    """Collects edits of one text and the places where a finding counts as found."""

    text: str
    edits: list[_Edit] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        lines = self.text.split("\n")
        self._lines = lines
        starts, start = [], 0
        for line in lines:
            starts.append(start)
            start += len(line) + 1
        self._starts = starts

    def offset(self, line: int, column: int) -> int:
        """Return the place in the text of a 1-based line and a column in UTF-8 bytes."""
        row = self._lines[line - 1]
        if not row.isascii():
            column = len(row.encode()[:column].decode())
        return self._starts[line - 1] + column

    def source(self, node: ast.expr | ast.stmt) -> str:
        start = self.offset(node.lineno, node.col_offset)
        return self.text[start : self.offset(node.end_lineno or 0, node.end_col_offset or 0)]

    def indent(self, node: ast.stmt) -> str:
        row = self._lines[node.lineno - 1]
        return row[: len(row) - len(row.lstrip())]

    def replace(self, node: ast.expr | ast.stmt, text: str, *, mark: bool = True) -> None:
        start = self.offset(node.lineno, node.col_offset)
        end = self.offset(node.end_lineno or 0, node.end_col_offset or 0)
        self.edits.append(_Edit(start, end, text, mark))

    def _rows(self, node: ast.stmt) -> tuple[int, int]:
        """Return the span of the statement's whole lines; it must stand there alone."""
        first, last = node.lineno, node.end_lineno or node.lineno
        start, end = self._starts[first - 1], self._starts[last - 1] + len(self._lines[last - 1])
        before = self.text[start : self.offset(first, node.col_offset)]
        after = self.text[self.offset(last, node.end_col_offset or 0) : end].strip()
        if before.strip() or (after and not after.startswith("#")) or end >= len(self.text):
            raise NoMutant
        return start, end + 1

    def delete(self, node: ast.stmt, block: list[ast.stmt]) -> None:
        """Take a statement out with its lines; `pass` stays where a block would be empty."""
        start, end = self._rows(node)
        alone = sum(not _is_text(one) for one in block) == 1
        self.edits.append(_Edit(start, end, f"{self.indent(node)}pass\n" if alone else "", False))

    def rows(self, node: ast.stmt, indent: str) -> str:
        """Return the statement's lines, indented anew."""
        start, end = self._rows(node)
        old = self.indent(node)
        lines = self.text[start:end].splitlines(keepends=True)
        if any(line.strip() and not line.startswith(old) for line in lines):
            raise NoMutant
        return "".join(indent + line[len(old) :] if line.strip() else line for line in lines)

    def insert_before(self, node: ast.stmt, text: str, *, mark: bool = True) -> None:
        start, _ = self._rows_of_head(node)
        self.edits.append(_Edit(start, start, text, mark))

    def insert_after(self, node: ast.stmt, text: str, *, mark: bool = True) -> None:
        _, end = self._rows(node)
        self.edits.append(_Edit(end, end, text, mark))

    def _rows_of_head(self, node: ast.stmt) -> tuple[int, int]:
        decorators = getattr(node, "decorator_list", [])
        line = min([node.lineno, *(one.lineno for one in decorators)])
        start = self._starts[line - 1]
        if self.text[start : self.offset(node.lineno, node.col_offset)].strip() and not decorators:
            raise NoMutant
        return start, start

    def move_before(self, node: ast.stmt, block: list[ast.stmt], target: ast.stmt) -> None:
        self.delete(node, block)
        self.insert_before(target, self.rows(node, self.indent(target)))

    def move_after(self, node: ast.stmt, block: list[ast.stmt], target: ast.stmt) -> None:
        self.delete(node, block)
        self.insert_after(target, self.rows(node, self.indent(target)))

    def mark(self, *nodes: ast.expr | ast.stmt) -> None:
        """A finding on one of these nodes' lines counts as found on the line."""
        for node in nodes:
            end = node.lineno if isinstance(node, COMPOUND) else node.end_lineno or node.lineno
            self.marks.extend(range(node.lineno, end + 1))

    def finish(self, kind: str, codes: str | Iterable[str], note: str = "") -> Mutant:
        """Apply the edits; the result must parse."""
        edits = sorted(self.edits, key=lambda one: (one.start, one.end))
        lines, pieces, done, shown = set(self._moved(edits)), [], 0, []
        for edit in edits:
            if edit.start < done:
                raise NoMutant
            pieces += [self.text[done : edit.start], edit.text]
            if edit.marked:
                first = "".join(pieces[:-1]).count("\n") + 1
                count = edit.text.removesuffix("\n").count("\n") + 1
                lines.update(range(first, first + count))
            shown.append(f"{self.text[edit.start : edit.end]!r} -> {edit.text!r}")
            done = edit.end
        text = "".join(pieces) + self.text[done:]
        if text == self.text:
            raise NoMutant
        try:
            ast.parse(text)
        except (SyntaxError, ValueError):
            raise NoMutant from None
        names = codes.split() if isinstance(codes, str) else codes
        found = frozenset(f"TCS{one}" for one in names)
        site = self.text.count("\n", 0, edits[0].start) + 1
        return Mutant(kind, text, found, frozenset(lines), "; ".join(shown), site, note)

    def _moved(self, edits: list[_Edit]) -> Iterable[int]:
        """Yield the marked lines as the mutant counts them; a deleted line is none."""
        for line in self.marks:
            start, shift, gone = self._starts[line - 1], 0, False
            for edit in edits:
                if edit.end <= start:
                    shift += edit.text.count("\n") - self.text.count("\n", edit.start, edit.end)
                gone = gone or (edit.start <= start < edit.end and not edit.text.strip())
            if not gone:
                yield line + shift


COMPOUND = (ast.For, ast.While, ast.If, ast.With, ast.Try, ast.FunctionDef, ast.ClassDef)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
