"""Verdicts of many files -> counts of a report, and the explanation of each rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from tcstatic.lint.discovery import file_name
from tcstatic.lint.results import Analysis
from tcstatic.model import Finding, InvariantCounts, RuleVerdict, Verdict

_ORDER: Final = ("VIOLATED", "HOLDS", "UNKNOWN", "OUT_OF_SCOPE")


def counts_of(
    analyses: Sequence[Analysis],
    out_of_scope: Mapping[str, Verdict],
    findings: Iterable[Finding],
) -> InvariantCounts:
    """Return how the rules fared over the given files; `checked` counts files."""
    verdicts: dict[str, Counter[Verdict]] = {}
    for table, times in _tables(analyses):
        for code, verdict in table.items():
            verdicts.setdefault(code, Counter())[verdict] += times
    checked: dict[str, int] = {}
    outside = {code: verdict.reason for code, verdict in out_of_scope.items()}
    violated = {one.code for one in findings if one.code in verdicts}
    held = set()
    for code, found in verdicts.items():
        names = {verdict.name for verdict in found}
        checked[code] = sum(n for one, n in found.items() if one.name in ("HOLDS", "VIOLATED"))
        if "VIOLATED" in names:
            violated.add(code)
        elif "HOLDS" in names:
            held.add(code)
        elif names == {"OUT_OF_SCOPE"} and code not in violated:
            outside[code] = found.most_common(1)[0][0].reason
    in_scope = set(verdicts) - set(outside)
    return InvariantCounts(
        in_scope=tuple(sorted(in_scope)),
        checked={code: number for code, number in sorted(checked.items()) if number},
        held=tuple(sorted(held - violated)),
        violated=tuple(sorted(violated)),
        never_triggered=tuple(sorted(in_scope - held - violated)),
        out_of_scope=dict(sorted(outside.items())),
    )


@final
@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the given files was understood: `roles` maps a kind of event to (sites whose
    subject is known, all sites), `unknown` a rule to the files of which it can say nothing."""

    roles: Mapping[str, tuple[int, int]]
    unknown: Mapping[str, int]

    def data(self) -> dict[str, Any]:
        """Return it as the json report has it."""
        return {
            "roles": {kind: {"known": n, "sites": of} for kind, (n, of) in self.roles.items()},
            "unknown": dict(self.unknown),
        }


def coverage_of(analyses: Sequence[Analysis]) -> Coverage:
    """Return how much of the given files was understood."""
    known: Counter[str] = Counter()
    sites: Counter[str] = Counter()
    for one in analyses:
        for kind, (resolved, every) in one.coverage.items():
            known[kind] += resolved
            sites[kind] += every
    unknown: Counter[str] = Counter()
    for table, times in _tables(analyses):
        for code, verdict in table.items():
            if verdict.name == "UNKNOWN":
                unknown[code] += times
    return Coverage(
        {kind: (known[kind], sites[kind]) for kind in sorted(sites)}, dict(sorted(unknown.items()))
    )


def explain(
    analyses: Sequence[Analysis], out_of_scope: Mapping[str, Verdict], root: Path
) -> tuple[RuleVerdict, ...]:
    """Return the verdicts by rule, equal ones of several files as one, the worst first."""
    counts: Counter[tuple[str, Verdict]] = Counter()
    for table, times in _tables(analyses):
        for item in table.items():
            counts[item] += times
    counts.update((code, verdict) for code, verdict in out_of_scope.items())
    file = file_name(analyses[0].path, root) if len(analyses) == 1 else ""
    return tuple(
        RuleVerdict(code, verdict, file, times)
        for (code, verdict), times in sorted(counts.items(), key=_explained_order)
    )


def _tables(analyses: Sequence[Analysis]) -> Iterator[tuple[Mapping[str, Verdict], int]]:
    """The tables of verdicts, each with how many files share it (those from a cache do)."""
    counts = Counter(id(one.verdicts) for one in analyses)
    for table in {id(one.verdicts): one.verdicts for one in analyses}.values():
        yield table, counts[id(table)]


def _explained_order(item: tuple[tuple[str, Verdict], int]) -> tuple[str, int, int, str]:
    (code, verdict), times = item
    return (code, _ORDER.index(verdict.name), -times, verdict.reason)
