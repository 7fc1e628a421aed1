"""Fixes -> text: edits are put in, and LibCST confirms that nothing else has changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

import libcst

from tcstatic.errors import InputError
from tcstatic.model import Edit, Fix
from tcstatic.program.source import SourceText, decode


@final
@dataclass(frozen=True, slots=True)
class Applied:
    """The new content of a file, and which of the fixes are in it."""

    content: bytes
    used: tuple[Fix, ...]


def apply_fixes(source: bytes, fixes: Sequence[Fix], file: str) -> Applied:
    """Apply the edits of `fixes` that lie in `file`, in their order.

    A fix that gets in the way of an earlier one is left out, as is one after which the file is no
    Python any more, or has lost a comment that the fix does not touch. Nothing else changes: not
    white space, line ends or encoding.
    """
    try:
        text = decode(source)
    except InputError:
        return Applied(source, ())
    if not _is_lossless(text.text):
        return Applied(source, ())
    used: list[Fix] = []
    for fix in fixes:
        if all(edit.file == file for edit in fix.edits) and _fits(fix, used):
            wanted = [*used, fix]
            changed = _edited(text, wanted)
            if changed is not None and _comments(text.text, wanted) <= _comments(changed):
                used = wanted
    changed = _edited(text, used)
    if not used or changed is None:
        return Applied(source, ())
    return Applied(text.encode(changed), tuple(used))


def _fits(fix: Fix, used: Iterable[Fix]) -> bool:
    """Whether no edit of a fix overlaps one in use; equal ones (an import) are the same."""
    others = [edit for one in used for edit in one.edits]
    return not any(_overlap(edit, other) for edit in fix.edits for other in others if edit != other)


def _overlap(one: Edit, other: Edit) -> bool:
    first, second = sorted(((_start(one), _end(one)), (_start(other), _end(other))))
    return second[0] < first[1] or first[0] == second[0]


def _start(edit: Edit) -> tuple[int, int]:
    return (edit.line, edit.column)


def _end(edit: Edit) -> tuple[int, int]:
    return (edit.end_line, edit.end_column)


def _edited(text: SourceText, fixes: Sequence[Fix]) -> str | None:
    """The text with all edits; None where that is no Python, or an edit lies outside of it."""
    edits = dict.fromkeys(edit for fix in fixes for edit in fix.edits)
    starts = _line_starts(text.text)
    result = text.text
    for edit in sorted(edits, key=_start, reverse=True):
        begin, end = (_offset(starts, *at) for at in (_start(edit), _end(edit)))
        if not 0 <= begin <= end <= len(text.text):
            return None
        result = result[:begin] + edit.text + result[end:]
    return result if _is_lossless(result) else None


def _line_starts(text: str) -> list[int]:
    starts = [0]
    for number, character in enumerate(text, 1):
        # "\r\n" ends one line, and Python knows no other ends than these.
        if character == "\n" or (character == "\r" and text[number : number + 1] != "\n"):
            starts.append(number)
    return starts


def _offset(starts: Sequence[int], line: int, column: int) -> int:
    return starts[line - 1] + column - 1 if 1 <= line <= len(starts) else -1


def _is_lossless(text: str) -> bool:
    """Whether LibCST reads the text, and gives it back as it is."""
    try:
        return libcst.parse_module(text).code == text
    except (libcst.ParserSyntaxError, ValueError, RecursionError):
        return False


def _comments(text: str, without: Iterable[Fix] = ()) -> Counter[str]:
    """The comments of a text, but for those that an edit of a fix replaces."""
    found = _Comments()
    libcst.parse_module(text).visit(found)
    counts: Counter[str] = Counter(found.texts)
    for fix in without:
        counts.subtract(_touched(text, fix))
    return +counts


def _touched(text: str, fix: Fix) -> Iterable[str]:
    starts = _line_starts(text)
    for edit in fix.edits:
        piece = text[_offset(starts, *_start(edit)) : _offset(starts, *_end(edit))]
        yield from (f"#{part}".split("\n")[0].rstrip("\r") for part in piece.split("#")[1:])


@final
class _Comments(libcst.CSTVisitor):
    """Collects comments; state: their texts, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def visit_Comment(self, node: Any) -> None:  # LibCST calls it by this name
        self.texts.append(node.value)
