"""Which rule files there are, and one hash over them."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tcstatic.caching import read_whole
from tcstatic.errors import InputError, input_problem

SUFFIXES: Final = (".yaml", ".yml")
# A rule with its examples has a few kilobytes; more is an accident, or a bomb.
MAX_BYTES: Final = 4_000_000


def default_rules_folder() -> Path:
    """Return the folder of the shipped rules: inside the package, else (a checkout) beside it."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "_rules"
    return inside if inside.is_dir() else package.parent / "rules"


def rule_files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files that `paths` name: a file itself, of a folder its yaml files by name."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES)
            if not inside:
                raise InputError(
                    input_problem("no rule file in this folder", where=str(path), expected="*.yaml")
                )
            files.extend(inside)
        elif path.exists():
            files.append(path)
        else:
            raise InputError(input_problem("no such rule file or folder", where=str(path)))
    return tuple(dict.fromkeys(files))


def rules_hash(paths: Sequence[Path]) -> str:
    """Return a sha256 over names and contents of all rule files that `paths` name."""
    digest = hashlib.sha256()
    for file in rule_files(paths):
        content = read_bytes(file)
        digest.update(f"{file.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def read_bytes(file: Path) -> bytes:
    """Return the content of a rule file; raise InputError if it is unreadable or too large."""
    try:
        return read_whole(file, MAX_BYTES)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        problem, expected = f"the rule file cannot be read ({reason})", ""
        if error.errno == errno.EFBIG:
            problem, expected = "the rule file is too large", f"at most {MAX_BYTES} bytes"
        raise InputError(input_problem(problem, where=str(file), expected=expected)) from None
