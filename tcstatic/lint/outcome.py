"""What was found in all projects -> one report, and the lines beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from tcstatic.lint.counting import Coverage, counts_of, coverage_of, explain
from tcstatic.lint.discovery import Discovered, file_name
from tcstatic.lint.linting import LintedProject
from tcstatic.model import Edit, Finding, Fix, Invariant, ProbeCounts, Report, Skipped, Witness


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a lint. Files in `report` are named relative to `base`.

    `problems` are files that could not be linted, `bugs` those that we could not cope with;
    `contents` the files with fixes in them, `rules` all that were known, by code; `elsewhere` are
    files that were not asked for, and hold findings that the given ones lead to.
    """

    report: Report
    base: Path
    rules: Mapping[str, Invariant]
    files: int
    problems: tuple[Skipped, ...] = ()
    bugs: tuple[Skipped, ...] = ()
    silenced: int = 0
    elsewhere: tuple[Path, ...] = ()
    known: int = 0
    gone: int = 0
    fixed: tuple[Finding, ...] = ()
    contents: Mapping[Path, bytes] = field(default_factory=dict)
    from_cache: int = 0
    coverage: Coverage | None = None

    @property
    def exit_code(self) -> int:
        """Return 0 for clean, 1 for findings (a note is none), 2 for input, 3 for a bug of ours."""
        if self.bugs:
            return 3
        if self.problems:
            return 2
        return int(any(one.severity != "note" for one in self.report.findings))


def outcome_of(
    given: Sequence[str],
    discovered: Discovered,
    projects: Sequence[LintedProject],
    *,
    explained: bool = False,
) -> Outcome:
    """Return one outcome for all projects of a command line."""
    base = _base([one.project.root for one in projects])
    findings = [
        moved(finding, one.project.root, base) for one in projects for finding in one.findings
    ]
    analyses = [analysis for one in projects for analysis in one.given]
    outside = {
        code: verdict for one in projects for code, verdict in one.chosen.out_of_scope.items()
    }
    problems = (*discovered.unreadable, *(skip for one in projects for skip in one.unreadable))
    bugs = tuple(Skipped(bad.path, bad.error) for one in projects for bad in one.failed)
    outcome = Outcome(
        report=Report(
            command="lint",
            script=" ".join(given),
            exit_status=0,
            invariants=counts_of(analyses, outside, findings),
            findings=tuple(findings),
            probes=ProbeCounts(skipped=tuple(_named(one, base) for one in (*problems, *bugs))),
            incomplete=tuple(dict.fromkeys(line for one in projects for line in one.incomplete)),
            verdicts=explain(analyses, outside, base) if explained else (),
        ),
        base=base,
        rules={code: rule for one in projects for code, rule in one.rules.items()},
        files=len(discovered.files),
        problems=problems,
        bugs=bugs,
        elsewhere=tuple(dict.fromkeys(path for one in projects for path in one.elsewhere)),
        silenced=sum(one.silenced for one in projects),
        known=sum(len(one.known) for one in projects),
        gone=sum(one.gone for one in projects),
        fixed=tuple(moved(bad, one.project.root, base) for one in projects for bad in one.fixed),
        contents={path: text for one in projects for path, text in one.contents.items()},
        from_cache=sum(one.from_cache for one in projects),
        coverage=coverage_of(analyses),
    )
    report = replace(outcome.report, exit_status=outcome.exit_code)
    return replace(outcome, report=report)


def moved(finding: Finding, root: Path, base: Path) -> Finding:
    """Return a finding whose files, named relative to `root`, are named relative to `base`."""
    if root == base:
        return finding

    def named(file: str) -> str:
        return file_name(root / file, base)

    def edit(one: Edit) -> Edit:
        return replace(one, file=named(one.file))

    def link(one: Witness) -> Witness:
        return replace(one, file=named(one.file))

    fix = finding.fix
    return replace(
        finding,
        where=replace(finding.where, file=named(finding.where.file)),
        witness=tuple(map(link, finding.witness)),
        fix=fix and Fix(fix.title, fix.safe, tuple(map(edit, fix.edits))),
    )


def _base(roots: Iterable[Path]) -> Path:
    """The folder that reports name files from: the repository's, else that of all projects."""
    every = list(roots)
    if not every:
        return Path.cwd()
    common = Path(os.path.commonpath(every))
    return next((one for one in (common, *common.parents) if (one / ".git").exists()), common)


def _named(skipped: Skipped, base: Path) -> tuple[str, str]:
    return file_name(Path(skipped.path), base), skipped.reason
