"""Reports on disk: the kind by suffix, whole at any moment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tcstatic.caching import write_whole
from tcstatic.errors import InputError, input_problem
from tcstatic.model import Report
from tcstatic.report.jsonform import to_json
from tcstatic.report.text import full_text

_KINDS: Final[dict[str, Callable[[Report], str]]] = {".json": to_json, ".txt": full_text}


def check_path(path: Path) -> None:
    """Raise InputError unless a report can be written there: its suffix, and its folder.

    A folder that is missing now is rather misspelt than to be made; one that is gone when the
    report is written is made again.
    """
    _kind(path)
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    folder = path.absolute().parent
    if not folder.exists():
        raise _unwritable(path, f"there is no folder {folder}")
    if not folder.is_dir():
        raise _unwritable(path, f"{folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(path, f"no right to write in {folder}")


def write(report: Report, path: Path) -> None:
    """Write the report, its kind by suffix; raise InputError where that cannot be.

    The file is replaced in one step: a reader, or a kill, sees the old report or the new one.
    """
    text = _kind(path)(report)
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise _unwritable(path, error.strerror or type(error).__name__) from None


def _kind(path: Path) -> Callable[[Report], str]:
    render = _KINDS.get(path.suffix.lower())
    if render is None:
        raise InputError(
            input_problem(
                "unknown kind of report",
                got=repr(str(path)),
                expected="a name that ends in one of " + " ".join(sorted(_KINDS)),
            )
        )
    return render


def _unwritable(path: Path, reason: str) -> InputError:
    return InputError(input_problem(f"the report cannot be written ({reason})", where=str(path)))
