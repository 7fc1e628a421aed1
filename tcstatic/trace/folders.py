"""The folder of a trace: who may record into it."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
from pathlib import Path
from typing import Final

from tcstatic.errors import InputError, input_problem
from tcstatic.trace.manifest import MANIFEST, job, job_of

# Names the job that records into a folder, from before its first part is there.
CLAIM: Final = ".job"


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
        if not name.startswith(CLAIM)
        and not (name.startswith("rank-") and (joins or (own and _is_of(folder / name, own))))
    ]
    if foreign:
        raise _refusal(folder, f"a folder that holds {foreign[0]!r}", "name another, or delete it")
    if not joins and _claimed_by(folder) not in ("", own or _alone()):
        raise _refusal(folder, "a folder that another run records into")


def claim_folder(folder: Path, *, joins: bool = False) -> None:
    """Prepare the folder of a trace, and keep it for this job: of several that begin at once, one
    gets it, and InputError is raised for the others."""
    prepare_folder(folder, joins=joins)
    if joins:
        return
    name = job() or _alone()
    claim, draft = folder / CLAIM, folder / f"{CLAIM}-{secrets.token_hex(8)}"
    try:
        draft.write_text(name, encoding="ascii")
        _make_once(draft, claim)
    except OSError as error:
        raise _refusal(folder, error.strerror or type(error).__name__) from None
    finally:
        draft.unlink(missing_ok=True)
    if _claimed_by(folder) != name:
        raise _refusal(folder, "a folder that another run records into")


def _make_once(draft: Path, path: Path) -> None:
    """Give a whole file its name, if nothing has it yet."""
    with contextlib.suppress(FileExistsError):
        try:
            os.link(draft, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with path.open("xb") as file:
                file.write(draft.read_bytes())


def _claimed_by(folder: Path) -> str:
    """The job that has claimed a folder, '' where none has."""
    try:
        return (folder / CLAIM).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


@functools.cache
def _alone() -> str:
    """The name of a job of this process alone, and of its forks."""
    return secrets.token_hex(8)


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
