"""A request -> all that `tcstatic lint` has to say: projects, rules, analyses, findings, fixes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from tcstatic.caching import cache_folder
from tcstatic.lint.analysing import Analysed, analyse_project
from tcstatic.lint.cache import cache_file
from tcstatic.lint.choosing import Chosen, choose_rules
from tcstatic.lint.discovery import Discovered, Project
from tcstatic.lint.findings import Told, tell
from tcstatic.lint.known import Baseline
from tcstatic.lint.results import Analysis
from tcstatic.lint.ruleset import rules_of
from tcstatic.lint.sources import Sources
from tcstatic.model import Failed, Finding, Invariant, Skipped

Progress = Callable[[int, int], None]
"""Is told how many files are done, of how many."""


@final
@dataclass(frozen=True, slots=True)
class Request:
    """What to lint and how. `overlay` holds text that stands for what lies on disk."""

    discovered: Discovered
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    invariants: tuple[str, ...] = ()
    jobs: int | None = None
    cache: bool = True
    baseline: str = ""
    write_baseline: bool = False
    fix: bool = False
    unsafe_fixes: bool = False
    overlay: Mapping[Path, bytes] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class LintedProject:
    """What was found in one project; locations are relative to its root.

    `findings` are told, `known` are in the baseline. `contents` are files with fixes in them.
    """

    project: Project
    chosen: Chosen
    analyses: tuple[Analysis, ...]
    findings: tuple[Finding, ...]
    known: tuple[Finding, ...] = ()
    silenced: int = 0
    elsewhere: tuple[Path, ...] = ()
    gone: int = 0
    fixed: tuple[Finding, ...] = ()
    contents: Mapping[Path, bytes] = field(default_factory=dict)
    unreadable: tuple[Skipped, ...] = ()
    failed: tuple[Failed, ...] = ()
    from_cache: int = 0
    incomplete: tuple[str, ...] = ()

    @property
    def given(self) -> tuple[Analysis, ...]:
        """Return the analyses of the files that were asked for."""
        asked = set(self.project.files)
        return tuple(one for one in self.analyses if one.path in asked)

    @property
    def rules(self) -> Mapping[str, Invariant]:
        """Return all rules of the project by code."""
        return {one.code: one for one in self.chosen.known}


def lint_projects(request: Request, progress: Progress | None = None) -> tuple[LintedProject, ...]:
    """Lint all files of a request; raise InputError where rules, settings or a baseline are wrong.

    Nothing is written but the cache, and the baseline where that was asked for.
    """
    projects = request.discovered.projects
    # All settings are checked before the first file is read.
    chosen = [_rules(request, project) for project in projects]
    total, done = len(request.discovered.files), 0

    def tick(ready: int, of: int) -> None:
        if progress is not None:
            progress(min(done + ready, total), total)

    found = []
    for project, (rules, key) in zip(projects, chosen, strict=True):
        found.append(_lint(request, project, rules, key, tick))
        done += len(project.files)
    return tuple(found)


def _rules(request: Request, project: Project) -> tuple[Chosen, str]:
    rules, key = rules_of(project.settings, request.rules, request.invariants, cache=request.cache)
    chosen = choose_rules(
        rules,
        project.settings,
        select=request.select,
        ignore=request.ignore,
        extend=request.extend_select,
    )
    return chosen, key


def _lint(
    request: Request, project: Project, chosen: Chosen, key: str, progress: Progress
) -> LintedProject:
    analysed = analyse_project(
        project,
        chosen,
        _cache_file(request, project, chosen, key),
        jobs=request.jobs,
        overlay=request.overlay,
        progress=progress,
    )
    sources = Sources(request.overlay)
    told = tell(project, chosen, analysed.analyses, sources, analysed.marked)
    baseline = Baseline.of(request.baseline, project, request.write_baseline)
    untouched = baseline.fingerprints
    analyses = analysed.analyses
    fixed: tuple[Finding, ...] = ()
    contents: Mapping[Path, bytes] = {}
    if request.fix:
        from tcstatic.lint.mending import Mender

        mender = Mender(project, chosen, analysed, told, request.overlay)
        mended = mender.mend(unsafe=request.unsafe_fixes, untouched=untouched)
        told, analyses = mended.told, mended.analyses
        fixed, contents = mended.fixed, mended.contents
    if request.write_baseline:
        baseline = baseline.written(told.findings)
    return _result(project, chosen, analysed, analyses, told, baseline, fixed, contents)


def _result(
    project: Project,
    chosen: Chosen,
    analysed: Analysed,
    analyses: tuple[Analysis, ...],
    told: Told,
    baseline: Baseline,
    fixed: tuple[Finding, ...],
    contents: Mapping[Path, bytes],
) -> LintedProject:
    new, known = baseline.split(told.findings)
    return LintedProject(
        project=project,
        chosen=chosen,
        analyses=analyses,
        findings=new,
        known=known,
        silenced=told.silenced,
        elsewhere=told.elsewhere,
        gone=baseline.gone(told.findings),
        fixed=fixed,
        contents=contents,
        unreadable=analysed.unreadable,
        failed=analysed.failed,
        from_cache=analysed.from_cache,
        incomplete=analysed.incomplete,
    )


def _cache_file(request: Request, project: Project, chosen: Chosen, key: str) -> Path | None:
    """Where the analyses of a project lie: by its root, and by all but the files that matters."""
    if not request.cache:
        return None
    words = json.dumps([key, [one.code for one in chosen.judged]])
    return cache_file(cache_folder() / "lint", project.root, words)
