"""What a person reads on stderr: a short block per finding, and a summary at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from tcstatic.model import Finding, Report, Witness

# More links than these do not help to see the chain; the json report has them all.
MAX_WITNESSES: Final = 8
# So that a summary stays a screen's worth; the json report has them all.
MAX_LISTED: Final = 5

_COLOURS: Final = {"error": "31", "warning": "33", "note": "36"}
_SEVERITIES: Final = ("error", "warning", "note")


def finding_block(finding: Finding, *, colour: bool = False) -> str:
    """Return the lines for one finding, without a newline at the end."""
    severity: str = finding.severity
    if colour:
        severity = f"\x1b[{_COLOURS[severity]}m{severity}\x1b[0m"
    lines = [f"tcstatic: {severity} {finding.code} {finding.name}", f"  {_place(finding)}"]
    lines.append(f"  {_one_line(finding.message)}")
    lines.append(f"  why: {_one_line(finding.why)}")
    lines.append(f"  cure: {_one_line(finding.cure)}")
    if finding.witness:
        lines.append(f"  because: {_chain(finding.witness)}")
    return "\n".join(lines)


def summary(report: Report) -> str:
    """Return the closing lines, each with our name in front, without a newline at the end."""
    return "\n".join(f"tcstatic: {line}" for line in _summary_lines(report))


def full_text(report: Report) -> str:
    """Return all findings and the summary: the content of a ``.txt`` report."""
    blocks = []
    for finding in report.findings:
        times = f"\n  seen: {finding.count} times" if finding.count > 1 else ""
        blocks.append(finding_block(finding) + times)
    head = f"tcstatic: {report.command}" if report.command else "tcstatic"
    return "\n\n".join([head, *blocks, summary(report)]) + "\n"


def named_once(path: str, reason: str) -> str:
    """Return a file and why it was left alone; a reason that begins with the file stands alone."""
    begins = reason.partition(":")[0]
    named = bool(begins) and (begins == path or begins.endswith(f"/{path}"))
    return reason if named else f"{path} ({reason})"


def _place(finding: Finding) -> str:
    where = finding.where
    text = f"{where.file}:{where.line}"
    if where.function and where.function != "<module>":
        text += f" in {where.function}"
    for name, value in (("step", finding.step), ("epoch", finding.epoch), ("rank", finding.rank)):
        if value is not None:
            text += f", {name} {value}"
    return text


def _chain(witness: tuple[Witness, ...]) -> str:
    links = [f"{link.event} {link.file}:{link.line}" for link in witness]
    if len(links) > MAX_WITNESSES:
        half = MAX_WITNESSES // 2
        links = [*links[:half], f"({len(links) - 2 * half} more)", *links[-half:]]
    return " -> ".join(links)


def _summary_lines(report: Report) -> Iterator[str]:
    aside = f"; {len(report.silenced):,} silenced by comments" if report.silenced else ""
    yield _found(report.findings) + aside
    counts = report.invariants
    observations = sum(counts.checked.values())
    yield (
        f"invariants: {len(counts.in_scope)} in scope, {len(counts.checked)} checked"
        f" ({observations:,} observations), {len(counts.held)} held,"
        f" {len(counts.violated)} violated, {len(counts.never_triggered)} never triggered"
        + (f", {len(counts.out_of_scope)} out of scope" if counts.out_of_scope else "")
        + (f"; {len(counts.unseen)} failed in contexts never seen" if counts.unseen else "")
    )
    probes = report.probes
    watched = f"watched {_percent(probes.sampled)} of the optimizer steps in full"
    yield (
        (watched if probes.events else "no training was seen")
        + f"; {_many(probes.installed, 'probe')}, {_many(probes.events, 'event')}"
        + (f"; ranks {', '.join(map(str, report.ranks))}" if len(report.ranks) > 1 else "")
    )
    yield from _listed(
        f"probe switched off: {probe} ({_one_line(reason)})" for probe, reason in probes.disabled
    )
    yield from _listed(
        f"not every {kind} was told: {_one_line(reason)}" for kind, reason in probes.thinned
    )
    yield from _listed(
        f"file left alone: {_one_line(named_once(path, reason))}" for path, reason in probes.skipped
    )
    for line in report.incomplete:
        yield f"incomplete: {_one_line(line)}"


def _found(findings: tuple[Finding, ...]) -> str:
    if not findings:
        return "no finding"
    severities = Counter(finding.severity for finding in findings)
    kinds = ", ".join(_many(severities[one], one) for one in _SEVERITIES if severities[one])
    places = ", ".join(
        f"{one.code} {one.where.file}:{one.where.line}"
        + (f" x{one.count}" if one.count > 1 else "")
        for one in findings
    )
    return f"{kinds}: {places}"


def _listed(lines: Iterable[str]) -> Iterator[str]:
    everything = list(lines)
    yield from everything[:MAX_LISTED]
    if len(everything) > MAX_LISTED:
        yield f"and {len(everything) - MAX_LISTED} more such lines"


def _percent(share: float) -> str:
    """A share as a percentage that says 100 only where it is all, and 0 only where it is none."""
    text = f"{share * 100:.3g}"
    if text == "100" and share < 1:
        text = ">99.9"
    return f"{text} %"


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _one_line(text: str) -> str:
    return " ".join(text.split())
