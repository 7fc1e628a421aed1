"""The reports of a job's ranks -> one report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from tcstatic.model import Finding, InvariantCounts, ProbeCounts, Report

_Item = TypeVar("_Item")

_SEVERITIES: Final = ("error", "warning", "note")


def merge(reports: Sequence[Report]) -> Report:
    """Return one report for all ranks of a job; `reports` holds at least one, in any order.

    Counts are added, findings of one fingerprint become one (the earliest, with the counts added).
    An invariant is violated if it is so on any rank, held if it held on some rank and was violated
    on none. `sampled` is that of the rank that watched least. `exit_status` is the first
    that is not zero, by rank; None where a rank has none (it was killed) and no other failed.
    """
    ordered = sorted(reports, key=lambda report: report.ranks)
    first = ordered[0]
    return Report(
        command=first.command,
        script=first.script,
        exit_status=_exit_status([report.exit_status for report in ordered]),
        invariants=_invariants([report.invariants for report in ordered]),
        findings=_findings(finding for report in ordered for finding in report.findings),
        probes=_probes([report.probes for report in ordered]),
        ranks=tuple(sorted({rank for report in ordered for rank in report.ranks})),
        incomplete=_unique(line for report in ordered for line in report.incomplete),
        silenced=_findings(finding for report in ordered for finding in report.silenced),
    )


def _exit_status(statuses: Sequence[int | None]) -> int | None:
    failed = [status for status in statuses if status]
    if failed:
        return failed[0]
    return None if None in statuses else 0


def _invariants(counts: Sequence[InvariantCounts]) -> InvariantCounts:
    in_scope = {code for one in counts for code in one.in_scope}
    checked: Counter[str] = Counter()
    unseen: Counter[str] = Counter()
    for one in counts:
        checked.update(one.checked)
        unseen.update(one.unseen)
    violated = {code for one in counts for code in one.violated}
    held = {code for one in counts for code in one.held} - violated
    out_of_scope = {code: why for one in reversed(counts) for code, why in one.out_of_scope.items()}
    return InvariantCounts(
        in_scope=tuple(sorted(in_scope)),
        checked=dict(sorted(checked.items())),
        held=tuple(sorted(held)),
        violated=tuple(sorted(violated)),
        never_triggered=tuple(sorted(in_scope - held - violated)),
        out_of_scope={
            code: why for code, why in sorted(out_of_scope.items()) if code not in in_scope
        },
        unseen=dict(sorted(unseen.items())),
    )


def _findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    groups: dict[object, list[Finding]] = {}
    for one in findings:
        key = one.fingerprint or (one.code, one.where.file, one.where.line)
        groups.setdefault(key, []).append(one)
    merged = [
        replace(min(group, key=_age), count=sum(one.count for one in group))
        for group in groups.values()
    ]
    return tuple(sorted(merged, key=_order))


def _age(finding: Finding) -> tuple[int, float, float]:
    """Errors before warnings (a rank may know less), then the earliest step, then the rank."""
    return (
        _SEVERITIES.index(finding.severity),
        _number(finding.step),
        _number(finding.rank),
    )


def _order(finding: Finding) -> tuple[float, int, str, str, int]:
    severity = _SEVERITIES.index(finding.severity)
    where = finding.where
    return (_number(finding.step), severity, finding.code, where.file, where.line)


def _number(value: int | None) -> float:
    return float("inf") if value is None else value


def _probes(counts: Sequence[ProbeCounts]) -> ProbeCounts:
    return ProbeCounts(
        installed=sum(one.installed for one in counts),
        events=sum(one.events for one in counts),
        sampled=min(one.sampled for one in counts),
        disabled=_unique(pair for one in counts for pair in one.disabled),
        skipped=_unique(pair for one in counts for pair in one.skipped),
        thinned=_unique(pair for one in counts for pair in one.thinned),
    )


def _unique(items: Iterable[_Item]) -> tuple[_Item, ...]:
    return tuple(dict.fromkeys(items))
