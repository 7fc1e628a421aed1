"""Bytes of a source file to text and back, and the columns in which others count."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass
from typing import final

from tcstatic.errors import InputError, input_problem

# A parsed module, to those who hand it on and never look into it.
Tree = ast.Module
BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
# What ends a line for Python's tokenizer; str.splitlines knows more (form feeds, U+2028).
_LINE_END = re.compile("\r\n|\r|\n")


@final
@dataclass(frozen=True, slots=True)
class Span:
    """A range of source. Lines and columns count from 1, columns in characters."""

    line: int
    column: int
    end_line: int
    end_column: int


@final
@dataclass(frozen=True, slots=True)
class SourceText:
    """A decoded file: the text without its byte order mark, and how to write it again."""

    text: str
    encoding: str
    bom: bool
    lines: tuple[str, ...]

    def encode(self, text: str) -> bytes:
        """Another text in the file's own encoding, with its byte order mark."""
        return ((BOM if self.bom else "") + text).encode(self.encoding)

    def span(self, node: ast.expr | ast.stmt) -> Span:
        """The range of a node; ``ast`` counts UTF-8 bytes from 0, a span characters from 1."""
        last = node.end_lineno or node.lineno
        end = node.end_col_offset or 0
        return Span(
            node.lineno,
            self._characters(node.lineno, node.col_offset) + 1,
            last,
            self._characters(last, end) + 1,
        )

    def segment(self, span: Span) -> str:
        """The text of a range, runs of white space as one blank."""
        first, last = span.line - 1, span.end_line - 1
        if first == last:
            piece = self.lines[first][span.column - 1 : span.end_column - 1]
            return piece if "  " not in piece else " ".join(piece.split())
        parts = [
            self.lines[first][span.column - 1 :],
            *self.lines[first + 1 : last],
            self.lines[last][: span.end_column - 1],
        ]
        return " ".join(" ".join(parts).split())

    def _characters(self, line: int, offset: int) -> int:
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        if text.isascii():
            return offset
        return len(text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace"))


def decode(source: bytes, name: str = "") -> SourceText:
    """Decode a source file as Python does: byte order mark, coding cookie, else UTF-8.

    Raises InputError where Python could not read it either.
    """
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        text = source.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise InputError(input_problem("cannot be decoded", where=name, got=str(error))) from error
    bom = encoding == "utf-8-sig"
    lines = tuple(_LINE_END.split(text))
    return SourceText(text, "utf-8" if bom else encoding, bom, lines)


def parse(text: str, name: str = "") -> ast.Module:
    """Parse a decoded module. Warnings stay quiet: Python gives them when it runs the file.

    Raises InputError where the text is no Python of this version.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        where = f"{name}:{error.lineno}" if error.lineno else name
        problem = input_problem("syntax error", where=where, got=error.msg)
        raise InputError(problem) from error
    except (RecursionError, MemoryError) as error:
        raise InputError(input_problem("nested too deeply", where=name)) from error
    except ValueError as error:
        raise InputError(input_problem("cannot be parsed", where=name, got=str(error))) from error
