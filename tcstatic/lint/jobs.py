"""Many files -> their analyses, in one process or several."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tcstatic.errors import InputError
from tcstatic.lint.results import Analysis
from tcstatic.lint.sources import read_source
from tcstatic.model import Failed, Invariant, Skipped

if TYPE_CHECKING:
    from tcstatic.lint.analysis import Analyser

# A process costs about as much as the analysis of some thousand lines.
_FILES_PER_JOB: Final = 24
_CHUNK: Final = 8
# Syntax trees are many small objects that live long: at the usual rate, looking for garbage takes
# two fifths of the time, and finds next to none.
_THRESHOLD: Final = (2_500_000, 50, 1000)
# So many objects take half a second to look through, at the end of the process as well.
_MANY: Final = 500_000

Outcome = Analysis | Skipped | Failed
"""Of one file; `Skipped` where it cannot be read, `Failed` where we could not cope with it."""


def jobs_for(files: int, asked: int | None) -> int:
    """Return how many processes to use for so many files; `asked` wins."""
    if asked is not None:
        return max(1, min(asked, files))
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(usable or 1, files // _FILES_PER_JOB))


def analyse_all(
    root: Path,
    invariants: Sequence[Invariant],
    paths: Sequence[Path],
    *,
    jobs: int = 1,
    overlay: Mapping[Path, bytes] | None = None,
) -> Iterator[tuple[Path, Outcome]]:
    """Yield each path with its outcome, as they come; one bad file ends nothing."""
    if not paths:
        return
    # Not at the top: a run whose answers are all in the cache needs no analyser.
    from tcstatic.lint.analysis import Analyser

    if jobs == 1:
        analyser = Analyser(root, invariants, overlay)
        before = gc.get_threshold()
        gc.set_threshold(*_THRESHOLD)
        try:
            yield from ((path, _one(analyser, path, overlay)) for path in paths)
        finally:
            if gc.get_count()[0] > _MANY:
                gc.freeze()
            gc.set_threshold(*before)
        return
    from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed

    # Neighbours import the same files: what one process has read, it need not read again.
    chunks = [list(paths[start : start + _CHUNK]) for start in range(0, len(paths), _CHUNK)]
    with ProcessPoolExecutor(
        jobs, initializer=_begin, initargs=(root, tuple(invariants), dict(overlay or {}))
    ) as pool:
        waiting = {pool.submit(_chunk, chunk): chunk for chunk in chunks}
        for done in as_completed(waiting):
            try:
                yield from done.result()
            except BrokenExecutor as error:
                reason = f"its process ended ({error})"
                yield from ((path, Failed(str(path), reason)) for path in waiting[done])


_worker: list[tuple[Analyser, Mapping[Path, bytes]]] = []


def _begin(root: Path, invariants: Sequence[Invariant], overlay: Mapping[Path, bytes]) -> None:
    from tcstatic.lint.analysis import Analyser

    gc.set_threshold(*_THRESHOLD)
    _worker[:] = [(Analyser(root, invariants, overlay), overlay)]


def _chunk(paths: Sequence[Path]) -> list[tuple[Path, Outcome]]:
    analyser, overlay = _worker[0]
    return [(path, _one(analyser, path, overlay)) for path in paths]


def _one(analyser: Analyser, path: Path, overlay: Mapping[Path, bytes] | None) -> Outcome:
    from tcstatic.program.source import decode, parse

    try:
        source = (overlay or {}).get(path)
        if source is None:
            source = read_source(path)
        analysis = analyser.analyse(path)
        if analysis.skipped:
            # It was not parsed, and a file that is no Python is told of all the same.
            parse(decode(source, str(path)).text, str(path))
    except InputError as error:
        return Skipped(str(path), _without_name(str(error), path))
    except RecursionError:
        return Skipped(str(path), "nested too deeply")
    except Exception as error:
        return Failed(str(path), " ".join(f"{type(error).__name__}: {error}".split()))
    return analysis


def _without_name(problem: str, path: Path) -> str:
    """A message without the file in front, which every reader of it gives."""
    rest = problem.removeprefix(f"{path}:").strip()
    line, colon, said = rest.partition(": ")
    return f"{said} (line {line})" if colon and line.isdecimal() else rest
