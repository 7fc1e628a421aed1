"""Findings and comments -> what stays to be told, and which comments silence nothing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from tcstatic.lint.own_rules import USELESS
from tcstatic.lint.suppressions import Suppression, find_suppressions
from tcstatic.model import Edit, Finding, Fix, Invariant, Location

_WHOLE: Final = re.compile(r"#\s*(noqa\s*:[^#]*|tcstatic:\s*allow\b[^#]*)", re.IGNORECASE)


@final
@dataclass(frozen=True, slots=True)
class Silenced:
    """Of one file: the findings that are left, how many are silenced, and the useless comments."""

    kept: tuple[Finding, ...]
    silenced: int
    useless: tuple[Finding, ...]


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
    comments = find_suppressions(source)
    kept = tuple(one for one in findings if not any(mark.covers(one) for mark in comments))
    useless = []
    for mark in comments:
        reasons = {word: _uselessness(mark, word, findings, known, judged) for word in mark.words}
        words = {word: reason for word, reason in reasons.items() if reason}
        if words:
            useless.append(_finding(file, mark, words))
        elif mark.kind == "allow" and not mark.words:
            useless.append(_finding(file, mark, {"": "it names no rule"}))
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


def _finding(file: str, mark: Suppression, words: Mapping[str, str]) -> Finding:
    end = mark.column + len(mark.text)
    return Finding(
        code=USELESS.code,
        name=USELESS.name,
        severity=USELESS.severity,
        message=USELESS.message.format(reason="; ".join(words.values())),
        where=Location(file, mark.line, mark.column, mark.line, end),
        why=USELESS.why,
        cure=USELESS.cure,
        fix=_removal(file, mark, words),
    )


def _removal(file: str, mark: Suppression, words: Mapping[str, str]) -> Fix | None:
    """The comment goes, or only the words that are useless; none where it says other things too."""
    end = mark.column + len(mark.text)
    rest = [word for word in mark.words if word not in words]
    if not rest:
        if not _WHOLE.fullmatch(mark.text):
            return None
        edit = Edit(file, mark.line, mark.code_end, mark.line, end, "")
        if mark.code_end == 1:
            edit = Edit(file, mark.line, 1, mark.line + 1, 1, "")
        return Fix("remove the comment", True, (edit,))
    text = mark.text
    for word in words:
        text = re.sub(rf"(?i)(,\s*\b{word}\b|\b{word}\b[\s,]*)(?![\w-])", "", text, count=1)
    edit = Edit(file, mark.line, mark.column, mark.line, end, text)
    return Fix("remove what is useless in the comment", True, (edit,))
