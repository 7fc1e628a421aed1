"""One project's files -> their analyses, from the cache where they still hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from tcstatic.errors import InputError
from tcstatic.lint.cache import Cache
from tcstatic.lint.choosing import Chosen
from tcstatic.lint.discovery import Project, file_name
from tcstatic.lint.importers import importers
from tcstatic.lint.index import reach_of
from tcstatic.lint.jobs import Outcome, analyse_all, jobs_for
from tcstatic.lint.results import Analysis
from tcstatic.lint.silencing import marker
from tcstatic.lint.sources import read_source
from tcstatic.model import Failed, Skipped

# Of what imports the given files, so much is analysed, or as much as is given: some 0.1 s.
MOST_BYTES: Final = 120_000
# So many are read to see whether they matter at all.
MOST_LOOKED_AT: Final = 300

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
    incomplete: tuple[str, ...]


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
    cache = Cache(cache_file, project.root, overlay, marks, reach_of(project))
    given = {file_name(path, project.root): path for path in project.files}
    held = {path: found for path in project.files if (found := cache.get(path)) is not None}
    others, left_out = _importing(project, given, cache, held)
    paths = [*project.files, *others]
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
        tuple(filter(None, (cache.index.cut, left_out))),
    )


def _importing(
    project: Project, given: Mapping[str, Path], cache: Cache, held: dict[Path, Analysis]
) -> tuple[list[Path], str]:
    """The files that import a given one and may matter, near ones first, and why not all of them;
    none where all are given. What the cache knows of them is added to `held`."""
    if set(given).issuperset(cache.index.files()):
        return [], ""
    found = importers(given, {**dict.fromkeys(given, ()), **cache.index.imports()})
    sizes = (facts.status[0] for name in given if (facts := cache.index.facts(name)) is not None)
    left = max(MOST_BYTES, sum(sizes))
    chosen: list[Path] = []
    missed = max(len(found) - MOST_LOOKED_AT, 0)
    for name in found[:MOST_LOOKED_AT]:
        path, facts = project.root / name, cache.index.facts(name)
        known = cache.get(path)
        # What is looked at must not depend on what is remembered.
        if facts is None or ((known is None or known.skipped) and _idle(path)):
            continue
        if facts.status[0] > left:
            missed += 1
            continue
        left -= facts.status[0]
        chosen.append(path)
        if known is not None:
            held[path] = known
    return chosen, f"{missed:,} of {len(found):,} files that import the given ones" * bool(missed)


def _idle(path: Path) -> str:
    # Not at the top: a run whose answers are all in the cache needs no analyser.
    from tcstatic.program.paths import idle

    try:
        return idle(read_source(path))
    except InputError as error:
        return str(error)
