"""The folder of a trace: who may record into it."""

from __future__ import annotations

import os
from pathlib import Path

from tcstatic.errors import InputError, input_problem
from tcstatic.trace.manifest import MANIFEST, job, job_of


def prepare_folder(folder: Path, *, joins: bool = False) -> None:
    """Make the folder of a trace; raise InputError where nothing can be recorded there.

    It must be empty, unless another process of the same job has made it (`joins`, or what one
    launcher has started): then it may hold what they have recorded so far.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = sorted(os.listdir(folder))
    except FileExistsError:
        raise _refusal(folder, "a file") from None
    except OSError as error:
        raise _refusal(folder, error.strerror or type(error).__name__) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _refusal(folder, "a folder without the right to write")
    own = job()
    foreign = [
        name
        for name in entries
        if not (name.startswith("rank-") and (joins or (own and _is_of(folder / name, own))))
    ]
    if foreign:
        raise _refusal(folder, f"a folder that holds {foreign[0]!r}", "name another, or delete it")


def _refusal(folder: Path, got: str, cure: str = "name another") -> InputError:
    problem, expected = "no trace can be recorded here", "a new or an empty folder"
    return InputError(
        input_problem(problem, where=str(folder), got=got, expected=expected, cure=cure)
    )


def parts_of(folder: Path) -> list[Path]:
    """Return the parts of a trace, by name; raise InputError where the folder holds none."""
    problem = ""
    try:
        found = sorted(path for path in folder.iterdir() if (path / MANIFEST).exists())
        problem = "" if found else "no trace in this folder"
    except NotADirectoryError:
        problem = "not the folder of a trace"
    except OSError as error:
        problem = f"no trace can be read here ({error.strerror or type(error).__name__})"
    if problem:
        raise InputError(
            input_problem(
                problem,
                where=str(folder),
                expected="a folder that `tcstatic run --trace` has made",
            )
        )
    return found


def _is_of(part: Path, own: str) -> bool:
    """Whether a part is of our job; one without a manifest has just been begun."""
    return not (part / MANIFEST).exists() or job_of(part) == own
