"""One module as root -> what its source decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from tcstatic.check.causes import Diagnosis
from tcstatic.check.history import History
from tcstatic.lint.judging import Judging
from tcstatic.lint.results import Analysis
from tcstatic.lint.rooted import Failure, Rooted
from tcstatic.model import Finding, Invariant, Verdict
from tcstatic.program.paths import Project, Root, explore

__all__ = ["Analyser", "Analysis"]

NOT_FROM_SOURCE: Final = "it needs evidence from a run"


@final
@dataclass(slots=True)
class _Tally:
    """What the roots of a module said of one rule so far."""

    failed: int = 0
    held: int = 0
    unknown: str = ""


@final
class Analyser:
    """Analyses the modules of a project; `root` is what locations are relative to.

    `overlay` holds text that stands for what lies on disk (standard input, a fix on trial).
    """

    def __init__(
        self,
        root: Path,
        invariants: Sequence[Invariant],
        overlay: Mapping[Path, bytes] | None = None,
    ) -> None:
        self._invariants = tuple(invariants)
        self._project = Project(root, overlay)
        self._judging = [Judging(one) for one in self._invariants if "lint" in one.feeds]
        self._diagnoses = {one.invariant.code: Diagnosis(one.invariant) for one in self._judging}

    def analyse(self, path: Path) -> Analysis:
        """Return what is decided; raise InputError for a file that cannot be read or parsed."""
        tallies = {one.invariant.code: _Tally() for one in self._judging}
        findings: list[Finding] = []

        def visit(root: Root) -> None:
            findings.extend(self._of_root(root, tallies))

        explored = explore(self._project, path, visit)
        if explored.skipped:
            scope = Verdict("OUT_OF_SCOPE", explored.skipped)
            verdicts = {one.code: scope for one in self._invariants}
            return Analysis(path, (), verdicts, explored.depends, explored.skipped)
        depends = tuple(dict.fromkeys((path, *explored.depends)))
        return Analysis(
            path,
            tuple(_unique(findings)),
            self._verdicts(tallies),
            depends,
            coverage=explored.coverage,
        )

    def _of_root(self, root: Root, tallies: dict[str, _Tally]) -> list[Finding]:
        rooted = Rooted(root)
        if not rooted.every:
            return []
        failed: list[tuple[Judging, Failure]] = []
        for judging in self._judging:
            judged = judging.judge(rooted)
            tally = tallies[judging.invariant.code]
            tally.held += judged.held
            tally.unknown = tally.unknown or judged.unknown
            for failure in judged.failures:
                if failure.always or judging.invariant.sometimes:
                    failed.append((judging, failure))
                else:
                    tally.unknown = tally.unknown or "it holds on some paths only"
        findings = []
        for judging, failure in failed:
            if _explained(judging.invariant, failure, failed):
                continue
            tallies[judging.invariant.code].failed += 1
            findings.append(self._finding(judging.invariant, failure))
        return findings

    def _finding(self, invariant: Invariant, failure: Failure) -> Finding:
        history = History()
        for event in failure.before:
            history.note(event)
        history.note(failure.observation.event)
        diagnosis = self._diagnoses[invariant.code]
        trail = diagnosis.trail(failure.observation, history)
        found = diagnosis.finding(failure.observation, trail, history)
        severity = found.severity
        if not failure.always and invariant.sometimes:
            severity = invariant.sometimes
        return dataclasses.replace(found, severity=severity, step=None, epoch=None, rank=None)

    def _verdicts(self, tallies: Mapping[str, _Tally]) -> dict[str, Verdict]:
        verdicts: dict[str, Verdict] = {}
        for invariant in self._invariants:
            tally = tallies.get(invariant.code)
            if tally is None:
                verdicts[invariant.code] = Verdict("UNKNOWN", NOT_FROM_SOURCE)
            elif tally.failed:
                verdicts[invariant.code] = Verdict("VIOLATED")
            elif tally.unknown:
                verdicts[invariant.code] = Verdict("UNKNOWN", tally.unknown)
            elif tally.held:
                verdicts[invariant.code] = Verdict("HOLDS")
            else:
                reason = "nothing that it is about happens here"
                verdicts[invariant.code] = Verdict("OUT_OF_SCOPE", reason)
        return verdicts


def _explained(
    invariant: Invariant, failure: Failure, failed: Iterable[tuple[Judging, Failure]]
) -> bool:
    """Whether another failure of the same optimizer is the cause of this one."""
    mine = set(failure.observation.event.subjects.get("optimizer", ()))
    for judging, other in failed:
        if invariant.code in judging.invariant.explains:
            theirs = set(other.observation.event.subjects.get("optimizer", ()))
            if not mine or not theirs or mine & theirs:
                return True
    return False


def _unique(findings: Iterable[Finding]) -> Iterable[Finding]:
    """Each finding once: the most severe of those with one fingerprint."""
    order = {"error": 0, "warning": 1, "note": 2}
    best: dict[str, Finding] = {}
    for one in findings:
        known = best.get(one.fingerprint)
        if known is None or order[one.severity] < order[known.severity]:
            best[one.fingerprint] = one
    return sorted(best.values(), key=lambda f: (f.where.file, f.where.line, f.where.column, f.code))
