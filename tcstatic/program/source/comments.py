"""Comments that silence findings: ``# noqa: TCS112``, ``# tcstatic: allow gradients-not-cleared``.

Only real comments count (the text is tokenised), and only files that hold such words are looked at.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, final

from tcstatic.model import Suppression

_WORDS: Final = re.compile(rb"#[^\n]*?(?:noqa|tcstatic)", re.IGNORECASE)
_NOQA: Final = re.compile(r"#\s*noqa\b(?P<codes>\s*:\s*[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)?", re.I)
_ALLOW: Final = re.compile(r"#\s*tcstatic:\s*allow\b\s*(?P<rules>[\w-]+(?:\s*,\s*[\w-]+)*)?", re.I)
_CODE: Final = re.compile(r"[A-Z]+[0-9]+", re.I)
_BLANK: Final = frozenset(
    {tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.ENCODING, tokenize.INDENT}
    | {tokenize.DEDENT, tokenize.ENDMARKER}
)


@final
@dataclass(frozen=True, slots=True)
class Comment:
    """One comment that silences something. It begins at `column` of its `line`; what stands before
    it there ends before `code_end` (1: nothing does)."""

    suppression: Suppression
    line: int
    column: int
    code_end: int
    text: str


def suppressions_in(source: bytes, file: str) -> tuple[Suppression, ...]:
    """Return what the comments of a file silence."""
    return tuple(one.suppression for one in find_comments(source, file))


def find_comments(source: bytes, file: str) -> tuple[Comment, ...]:
    """Return the comments of a file that silence something; none of a file that is no Python."""
    if not _WORDS.search(source):
        return ()
    try:
        tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
    except (tokenize.TokenError, SyntaxError, UnicodeDecodeError, ValueError):
        return ()
    return tuple(_comments(tokens, file))


def _comments(tokens: list[tokenize.TokenInfo], file: str) -> Iterator[Comment]:
    lines = list(_logical_lines(tokens))
    first_code = next((first for first, _ in lines), len(tokens) + 1)
    for token in tokens:
        if token.type != tokenize.COMMENT:
            continue
        alone = not token.line[: token.start[1]].strip()
        span = _span(token.start[0], alone, lines, first_code)
        for kind, words in _read(token.string):
            if kind == "noqa" and alone:
                continue
            line, column = token.start[0], token.start[1] + 1
            code_end = len(token.line[: column - 1].rstrip()) + 1
            silenced = Suppression(file, kind, words, *span)
            yield Comment(silenced, line, column, code_end, token.string)


def _read(comment: str) -> Iterator[tuple[Literal["noqa", "allow"], tuple[str, ...]]]:
    """What a comment silences; both kinds may stand in one."""
    if found := _NOQA.search(comment):
        yield "noqa", tuple(code.upper() for code in _CODE.findall(found["codes"] or ""))
    if found := _ALLOW.search(comment):
        words = (found["rules"] or "").split(",")
        yield "allow", tuple(word.strip() for word in words if word.strip())


def _logical_lines(tokens: list[tokenize.TokenInfo]) -> Iterator[tuple[int, int]]:
    """First and last physical line of each statement, a docstring at the top left out."""
    first = 0
    text: list[int] = []
    seen_code = False
    for token in tokens:
        if token.type == tokenize.NEWLINE and first:
            if seen_code or text != [tokenize.STRING]:
                yield first, token.start[0]
            seen_code, first, text = True, 0, []
        elif token.type not in _BLANK:
            first = first or token.start[0]
            text.append(token.type)


def _span(line: int, alone: bool, lines: list[tuple[int, int]], first_code: int) -> tuple[int, int]:
    """The lines on which a comment of `line` silences.

    Beside code: its own line, and where it ends a statement of several lines, all of them. Alone:
    the statement below it; the whole file where no code stands above it.
    """
    if alone:
        if line < first_code:
            return 1, max(line, lines[-1][1] if lines else line)
        return next(((first, last) for first, last in lines if first > line), (line, line))
    for first, last in lines:
        if first <= line <= last:
            return (first, last) if line == last else (line, line)
    return line, line
