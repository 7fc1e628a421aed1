"""One project's files -> their analyses, from the cache where they still hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from tcstatic.lint.cache import Cache
from tcstatic.lint.choosing import Chosen
from tcstatic.lint.discovery import Project, file_name
from tcstatic.lint.importers import importers
from tcstatic.lint.jobs import Outcome, analyse_all, jobs_for
from tcstatic.lint.results import Analysis
from tcstatic.lint.suppressions import marker
from tcstatic.model import Failed, Skipped

Progress = Callable[[int, int], None]
"""Is told how many files are done, of how many."""


@final
@dataclass(frozen=True, slots=True)
class Analysed:
    """The analyses of the given files and of those that import them; what could not be analysed
    of the given; the names of files with comments about our rules; how many answers came from the
    cache; whether all importers are known."""

    analyses: tuple[Analysis, ...]
    unreadable: tuple[Skipped, ...]
    failed: tuple[Failed, ...]
    marked: frozenset[str]
    from_cache: int
    complete: bool


def analyse_project(
    project: Project,
    chosen: Chosen,
    cache_file: Path | None,
    *,
    jobs: int | None = None,
    overlay: Mapping[Path, bytes] | None = None,
    progress: Progress | None = None,
) -> Analysed:
    """Analyse the files of a project, and all files of it that import one of them."""
    marks = marker(one.code for one in chosen.known)
    cache = Cache(cache_file, project.root, overlay, marks)
    given = {file_name(path, project.root): path for path in project.files}
    others = _importing(given, cache)
    paths = [*project.files, *(project.root / name for name in sorted(others))]
    held = {path: found for path in paths if (found := cache.get(path)) is not None}
    outcomes: dict[Path, Outcome] = dict(held)
    waiting = [path for path in paths if path not in held]
    done = len(held)
    for path, outcome in analyse_all(
        project.root, chosen.judged, waiting, jobs=jobs_for(len(waiting), jobs), overlay=overlay
    ):
        outcomes[path] = outcome
        if isinstance(outcome, Analysis) and not overlay:
            cache.add(outcome)
        done += 1
        if progress is not None:
            progress(done, len(paths))
    cache.save()
    asked = set(project.files)
    ordered = [outcomes[path] for path in paths]
    return Analysed(
        tuple(one for one in ordered if isinstance(one, Analysis)),
        tuple(
            o for p, o in zip(paths, ordered, strict=True) if isinstance(o, Skipped) if p in asked
        ),
        tuple(one for one in ordered if isinstance(one, Failed)),
        frozenset(name for name in given if (one := cache.index.facts(name)) and one.marked),
        len(held),
        cache.index.complete,
    )


def _importing(given: Mapping[str, Path], cache: Cache) -> frozenset[str]:
    """The files of the project that import a given one; none where all are given."""
    if set(given).issuperset(cache.index.files()):
        return frozenset()
    return importers(given, {**dict.fromkeys(given, ()), **cache.index.imports()})
