"""Findings that are known and wait: a file of fingerprints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from tcstatic.caching import write_whole
from tcstatic.errors import InputError, input_problem
from tcstatic.model import Finding

SCHEMA: Final = "tcstatic-baseline/1"


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """One known finding. `fingerprint` decides; the rest is for those who read the file."""

    fingerprint: str
    file: str
    code: str
    function: str
    message: str


def entry_of(finding: Finding, file: str) -> Entry:
    """Return the entry for a finding in `file`, as the baseline names it."""
    return Entry(finding.fingerprint, file, finding.code, finding.where.function, finding.message)


def read_baseline(path: Path) -> tuple[Entry, ...]:
    """Return the entries of a baseline; raise InputError in one line where it is none."""
    try:
        data = json.loads(path.read_bytes())
        if data["schema"] != SCHEMA:
            raise ValueError(f"its schema is {data['schema']!r}")
        return tuple(Entry(**one) for one in data["findings"])
    except FileNotFoundError:
        cure = "--write-baseline makes one"
        raise InputError(input_problem("no such baseline", where=str(path), cure=cure)) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            input_problem(f"the baseline cannot be read ({reason})", where=str(path))
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            input_problem(f"no baseline ({reason})", where=str(path), expected=SCHEMA)
        ) from None


def merged(
    old: Iterable[Entry], new: Iterable[Entry], was_linted: Callable[[str], bool]
) -> tuple[Entry, ...]:
    """Return the entries of a baseline written anew.

    What was found now, and the old entries of files that were not looked at: those of files that
    were, and are no longer found, are dropped.
    """
    kept = {one.fingerprint: one for one in old if not was_linted(one.file)}
    kept.update((one.fingerprint, one) for one in new)
    return tuple(sorted(kept.values(), key=lambda one: (one.file, one.code, one.fingerprint)))


def write_baseline(path: Path, entries: Iterable[Entry]) -> None:
    """Write a baseline whole; raise InputError where that cannot be."""
    findings = [{name: getattr(one, name) for name in Entry.__slots__} for one in entries]
    text = json.dumps({"schema": SCHEMA, "findings": findings}, indent=1) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            input_problem(f"the baseline cannot be written ({reason})", where=str(path))
        ) from None
