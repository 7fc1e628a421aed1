"""Findings and comments -> what stays to be told, and which comments silence nothing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from tcstatic.lint.own_rules import USELESS
from tcstatic.model import Edit, Finding, Fix, Invariant, Location, Suppression

if TYPE_CHECKING:
    from tcstatic.program.source import Comment

_ALLOWED: Final = rb"#[ \t]*tcstatic:[ \t]*allow"
_WHOLE: Final = re.compile(r"#\s*(noqa\s*:[^#]*|tcstatic:\s*allow\b[^#]*)", re.IGNORECASE)


@final
@dataclass(frozen=True, slots=True)
class Silenced:
    """Of one file: the findings that are left, how many are silenced, and the useless comments."""

    kept: tuple[Finding, ...]
    silenced: int
    useless: tuple[Finding, ...]


def marker(codes: Iterable[str]) -> re.Pattern[bytes]:
    """Return a pattern for files that hold comments about one of our rules, to be told if useless.

    What others are told by (a bare ``noqa``, one with their codes) it passes over.
    """
    prefixes = sorted({code.rstrip("0123456789") for code in codes})
    named = b"|".join(re.escape(one.encode()) for one in prefixes)
    noqa = rb"noqa[ \t]*:[^\n]*\b(?:" + named + rb")[0-9]"
    return re.compile(noqa + b"|" + _ALLOWED, re.IGNORECASE)


def silence(
    file: str,
    source: bytes,
    findings: Sequence[Finding],
    known: Mapping[str, Invariant],
    judged: Collection[str],
) -> Silenced:
    """Apply the comments of one file to its findings.

    `known` maps codes and names to rules; `judged` are the codes of which this run knows that they
    find nothing more here: a comment for any other rule is not called useless.
    """
    from tcstatic.program.source import find_comments

    comments = find_comments(source, file)
    marks = [comment.suppression for comment in comments]
    kept = tuple(one for one in findings if not any(mark.covers(one) for mark in marks))
    useless = []
    for comment, mark in zip(comments, marks, strict=True):
        reasons = {word: _uselessness(mark, word, findings, known, judged) for word in mark.words}
        words = {word: reason for word, reason in reasons.items() if reason}
        if words:
            useless.append(_finding(comment, words))
        elif mark.kind == "allow" and not mark.words:
            useless.append(_finding(comment, {"": "it names no rule"}))
    return Silenced(kept, len(findings) - len(kept), tuple(useless))


def _uselessness(
    mark: Suppression,
    word: str,
    findings: Sequence[Finding],
    known: Mapping[str, Invariant],
    judged: Collection[str],
) -> str:
    """Why one word of a comment is useless, '' where it is not (or nobody knows)."""
    rule = known.get(word.upper()) or known.get(word)
    if rule is None:
        if mark.kind == "noqa" and not _is_ours(word, known):
            return ""
        near = difflib.get_close_matches(word, sorted(known), n=1)
        cure = f"; did you mean {near[0]!r}?" if near else ""
        return f"there is no rule {word!r}{cure}"
    if rule.code not in judged:
        return ""
    hit = any(
        mark.names(word, one) and mark.first <= one.where.line <= mark.last for one in findings
    )
    return "" if hit else f"{rule.code} {rule.name} is not found there"


def _is_ours(code: str, known: Mapping[str, Invariant]) -> bool:
    prefixes = {one.code.rstrip("0123456789") for one in known.values()}
    return code.upper().rstrip("0123456789") in prefixes


def _finding(comment: Comment, words: Mapping[str, str]) -> Finding:
    file, line, end = comment.suppression.file, comment.line, comment.column + len(comment.text)
    return Finding(
        code=USELESS.code,
        name=USELESS.name,
        severity=USELESS.severity,
        message=USELESS.message.format(reason="; ".join(words.values())),
        where=Location(file, line, comment.column, line, end),
        why=USELESS.why,
        cure=USELESS.cure,
        fix=_removal(comment, words),
    )


def _removal(comment: Comment, words: Mapping[str, str]) -> Fix | None:
    """The comment goes, or only the words that are useless; none where it says other things too."""
    file, line, end = comment.suppression.file, comment.line, comment.column + len(comment.text)
    rest = [word for word in comment.suppression.words if word not in words]
    if not rest:
        if not _WHOLE.fullmatch(comment.text):
            return None
        edit = Edit(file, line, comment.code_end, line, end, "")
        if comment.code_end == 1:
            edit = Edit(file, line, 1, line + 1, 1, "")
        return Fix("remove the comment", True, (edit,))
    text = comment.text
    for word in words:
        text = re.sub(rf"(?i)(,\s*\b{word}\b|\b{word}\b[\s,]*)(?![\w-])", "", text, count=1)
    edit = Edit(file, line, comment.column, line, end, text)
    return Fix("remove what is useless in the comment", True, (edit,))
