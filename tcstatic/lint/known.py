"""The baseline of one project: which findings are known, and the file that says so."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from tcstatic.errors import InputError, input_problem
from tcstatic.lint.baseline import Entry, entry_of, merged, read_baseline, write_baseline
from tcstatic.lint.discovery import Project
from tcstatic.model import Finding


@final
@dataclass(frozen=True, slots=True)
class Baseline:
    """The entries of a baseline; without a `path` there is none."""

    root: Path
    linted: frozenset[Path]
    path: Path | None = None
    entries: tuple[Entry, ...] = ()

    @staticmethod
    def of(named: str, project: Project, to_write: bool) -> Baseline:
        """Return the baseline that the command line names, or the settings of a project.

        Raises InputError where it cannot be read; one that is `to_write` need not exist.
        """
        settings, linted = project.settings, frozenset(project.files)
        if named:
            path = Path(os.path.abspath(named))
        elif settings.baseline:
            path = settings.folder / settings.baseline
        elif to_write:
            cure = "name it with --baseline FILE, or in pyproject.toml"
            raise InputError(input_problem("--write-baseline has no file to write", cure=cure))
        else:
            return Baseline(project.root, linted)
        if to_write and not path.exists():
            return Baseline(project.root, linted, path)
        return Baseline(project.root, linted, path, read_baseline(path))

    @property
    def fingerprints(self) -> frozenset[str]:
        """Return what is known."""
        return frozenset(one.fingerprint for one in self.entries)

    def split(self, findings: Iterable[Finding]) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
        """Return the findings that are new, and those that are known."""
        known = self.fingerprints
        every = tuple(findings)
        return (
            tuple(one for one in every if one.fingerprint not in known),
            tuple(one for one in every if one.fingerprint in known),
        )

    def gone(self, findings: Iterable[Finding]) -> int:
        """Return how many entries of the files at hand are found no more."""
        seen = {one.fingerprint for one in findings}
        return sum(
            self._was_linted(one.file) and one.fingerprint not in seen for one in self.entries
        )

    def written(self, findings: Sequence[Finding]) -> Baseline:
        """Write the findings as known; entries of other files stay. Return what is written."""
        if self.path is None:
            return self
        new = (entry_of(one, self._name(self.root / one.where.file)) for one in findings)
        entries = merged(self.entries, new, self._was_linted)
        write_baseline(self.path, entries)
        return replace(self, entries=entries)

    def _name(self, path: Path) -> str:
        """How the baseline names a file: seen from its own folder, so that both may move."""
        assert self.path is not None
        return Path(os.path.relpath(path, self.path.parent)).as_posix()

    def _was_linted(self, name: str) -> bool:
        """Whether a file is among those at hand, or is no more."""
        assert self.path is not None
        path = Path(os.path.normpath(self.path.parent / name))
        return path in self.linted or not path.exists()
