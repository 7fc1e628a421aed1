"""A finding as a person reads it in a terminal: place, message, the lines of code, why and cure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tcstatic.model import Finding, Invariant, RuleVerdict, Verdict
from tcstatic.report.lines import shown

LineOf = Callable[[int], str]
"""Gives the text of a line of the finding's file, '' where there is none."""

_COLOURS: Final = {"error": "31", "warning": "33", "note": "36"}
_BOLD: Final = "1"
_DIM: Final = "2"
_VERDICTS: Final = {
    "HOLDS": "holds",
    "VIOLATED": "violated",
    "UNKNOWN": "unknown",
    "OUT_OF_SCOPE": "out of scope",
}
# Lines of a long expression that are shown.
_MOST_LINES: Final = 4
_MOST_LINKS: Final = 8


def finding_text(finding: Finding, line_of: LineOf, *, colour: bool = False) -> str:
    """Return the block of one finding, without a newline at the end."""
    where = finding.where
    place = _paint(f"{shown(where.file)}:{where.line}:{where.column}", _BOLD, colour)
    severity = _paint(finding.severity, _COLOURS[finding.severity], colour)
    lines = [f"{place}: {severity} {finding.code} {finding.name}", f"  {_flat(finding.message)}"]
    lines += _snippet(finding, line_of, colour)
    lines.append(f"  why: {_flat(finding.why)}")
    lines.append(f"  cure: {_flat(finding.cure)}")
    if finding.witness:
        links = [f"{link.event} {shown(link.file)}:{link.line}" for link in finding.witness]
        if len(links) > _MOST_LINKS:
            half = _MOST_LINKS // 2
            links = [*links[:half], f"({len(links) - 2 * half} more)", *links[-half:]]
        lines.append(f"  because: {' -> '.join(links)}")
    if finding.fix is not None:
        option = "--fix" if finding.fix.safe else "--fix --unsafe-fixes"
        lines.append(f"  fix: {finding.fix.title} ({option})")
    return "\n".join(lines)


def _snippet(finding: Finding, line_of: LineOf, colour: bool) -> Iterator[str]:
    """The line above, the lines of the finding, and a mark below what is meant on the first."""
    where = finding.where
    last = min(max(where.end_line, where.line), where.line + _MOST_LINES - 1)
    width = len(str(last))
    for number in range(max(1, where.line - 1), last + 1):
        text = line_of(number).rstrip()
        if not text and number != where.line:
            continue
        yield f"  {_paint(f'{number:>{width}} |', _DIM, colour)} {text}"
        if number == where.line:
            mark = _paint(_mark(finding, text), _COLOURS[finding.severity], colour)
            yield f"  {' ' * width} {_paint('|', _DIM, colour)} {mark}"


def _mark(finding: Finding, text: str) -> str:
    """Carets below the range, with the tabs that stand in front of it."""
    where = finding.where
    end = where.end_column if where.end_line == where.line else len(text) + 1
    before = "".join(one if one == "\t" else " " for one in text[: where.column - 1])
    return before + "^" * max(1, min(end, len(text) + 1) - where.column)


def explanation(
    verdicts: Iterable[RuleVerdict], rules: dict[str, Invariant], *, colour: bool = False
) -> Iterator[str]:
    """Yield a line for each rule and verdict: what is known, in how many files, and why."""
    code = ""
    for one in verdicts:
        if one.code != code:
            code = one.code
            name = rules[code].name if code in rules else ""
            yield _paint(f"{code} {name}", _BOLD, colour)
        yield f"  {_verdict(one.verdict)}{_where(one)}"


def _verdict(verdict: Verdict) -> str:
    reason = f": {_flat(verdict.reason)}" if verdict.reason else ""
    return f"{_VERDICTS[verdict.name]}{reason}"


def _where(one: RuleVerdict) -> str:
    if one.file:
        return f" ({one.file})"
    return f" ({one.times:,} files)" if one.times > 1 else ""


def statistics(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield a line for each rule that was violated: how often, and how many can be fixed."""
    every = list(findings)
    counts = Counter((one.code, one.name) for one in every)
    fixes = Counter(one.code for one in every if one.fix is not None)
    width = len(str(max(counts.values(), default=0)))
    for (code, name), number in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        fixable = f" ({fixes[code]} with a fix)" if fixes[code] else ""
        yield f"{number:>{width}} {code} {name}{fixable}"


def _flat(text: str) -> str:
    return " ".join(text.split())


def _paint(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text
