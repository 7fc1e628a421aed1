"""Analyses of one project -> findings to tell: told once, with fixes, silenced ones left out."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

from tcstatic.errors import InputError
from tcstatic.lint.choosing import Chosen, codes_of
from tcstatic.lint.discovery import Project, file_name
from tcstatic.lint.fingerprints import place, with_fingerprints
from tcstatic.lint.results import Analysis
from tcstatic.lint.silencing import silence
from tcstatic.lint.sources import Sources
from tcstatic.lint.walking import is_covered, patterns
from tcstatic.model import Finding

_SEVERITIES: Final = ("error", "warning", "note")


@final
@dataclass(frozen=True, slots=True)
class Told:
    """The findings of one project that are told, how many comments have silenced, and which other
    files those hold that were found from the given ones."""

    findings: tuple[Finding, ...]
    silenced: int
    elsewhere: tuple[Path, ...] = ()


def tell(
    project: Project,
    chosen: Chosen,
    analyses: Sequence[Analysis],
    sources: Sources,
    marked: frozenset[str],
) -> Told:
    """Return the findings that lie in the project's files, sorted by place.

    `marked` are the files with comments about our rules: the others are not read for such ones.
    """
    paths = {file_name(path, project.root): path for path in project.files}

    def line_of(file: str, number: int) -> str:
        return sources.line(paths[file], number)

    found = with_fingerprints(unique(analyses, paths), line_of)
    by_file: dict[str, list[Finding]] = {file: [] for file in paths}
    for one in found:
        by_file[one.where.file].append(one)
    judged = _judged(analyses, project.root)
    ignored = _ignored_codes(project, chosen)
    names = chosen.names
    told: list[Finding] = []
    silenced = 0
    for file, findings in by_file.items():
        if not findings and file not in marked:
            continue
        source = _content(paths[file], sources)
        if source is None:
            continue
        answer = silence(file, source, findings, names, judged.get(file, frozenset()))
        silenced += answer.silenced
        useless = with_fingerprints(answer.useless, line_of) if chosen.tells_useless else ()
        left_out = ignored(file)
        kept = [one for one in (*answer.kept, *useless) if one.code not in left_out]
        told.extend(_with_fix(one, names[one.code].fix, source) for one in kept)
    elsewhere = _elsewhere(project, analyses, paths, sources)
    return Told(tuple(sorted(told, key=place)), silenced, elsewhere)


def _elsewhere(
    project: Project, analyses: Iterable[Analysis], told: Container[str], sources: Sources
) -> tuple[Path, ...]:
    """The files that nobody asked for, with findings that the given ones lead to."""
    asked = frozenset(project.files)
    found: dict[Path, list[Finding]] = {}
    for analysis in analyses:
        if analysis.path in asked:
            for one in analysis.findings:
                if one.where.file not in told and one.severity != "note":
                    found.setdefault(project.root / one.where.file, []).append(one)
    if not found:
        return ()
    from tcstatic.program.source import suppressions_in

    return tuple(
        path
        for path, findings in sorted(found.items())
        if not all(
            any(
                mark.covers(one)
                for mark in suppressions_in(_content(path, sources) or b"", one.where.file)
            )
            for one in findings
        )
    )


def unique(analyses: Iterable[Analysis], files: Mapping[str, object]) -> tuple[Finding, ...]:
    """Return the findings that lie in `files`; of those of one rule at one place, the worst."""
    found: dict[tuple[str, int, int, str], Finding] = {}
    for analysis in analyses:
        for one in analysis.findings:
            if one.where.file not in files:
                continue
            old = found.get(place(one))
            if old is None or _rank(one) < _rank(old):
                found[place(one)] = one
    return tuple(sorted(found.values(), key=place))


def _rank(finding: Finding) -> int:
    return _SEVERITIES.index(finding.severity)


def _content(path: Path, sources: Sources) -> bytes | None:
    try:
        return sources.read(path)
    except InputError:
        return None


def _judged(analyses: Iterable[Analysis], root: Path) -> dict[str, frozenset[str]]:
    """For each file, the codes of which it is known that nothing more is found there."""
    return {
        file_name(one.path, root): frozenset(
            code for code, verdict in one.verdicts.items() if verdict.name != "UNKNOWN"
        )
        for one in analyses
    }


def _ignored_codes(project: Project, chosen: Chosen) -> Callable[[str], frozenset[str]]:
    """What the settings say of single files."""
    settings = project.settings
    where = f"{settings.file}: per-file-ignores"
    rules = [
        (patterns([pattern], settings.folder), codes_of(words, chosen.known, where))
        for pattern, words in settings.per_file_ignores
    ]

    def codes(file: str) -> frozenset[str]:
        path = project.root / file
        hits = (found for layer, found in rules if is_covered(path, [layer]))
        return frozenset().union(*hits)

    return codes


def _with_fix(finding: Finding, name: str, source: bytes) -> Finding:
    if finding.fix is not None or not name:
        return finding
    from tcstatic.lint.fixes import fix_for

    fix = fix_for(name, finding, source)
    return finding if fix is None else replace(finding, fix=fix)
