"""Fixes on trial: applied to the text, linted again, and kept only if that has helped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from tcstatic.errors import InputError
from tcstatic.lint.analysing import Analysed
from tcstatic.lint.analysis import Analyser
from tcstatic.lint.choosing import Chosen
from tcstatic.lint.discovery import Project, file_name
from tcstatic.lint.findings import Told, tell
from tcstatic.lint.results import Analysis
from tcstatic.lint.sources import Sources
from tcstatic.model import Finding, Fix
from tcstatic.rewrite.fixing import apply_fixes

# A fix may uncover another finding; more rounds than these mean that two fixes undo each other.
_ROUNDS: Final = 10


@final
@dataclass(frozen=True, slots=True)
class Mended:
    """The new contents of files, the findings that are gone, and what is left to tell."""

    contents: Mapping[Path, bytes]
    fixed: tuple[Finding, ...]
    told: Told
    analyses: tuple[Analysis, ...]


@final
@dataclass(frozen=True, slots=True)
class _State:
    """What is known of a project with some fixes in it."""

    overlay: Mapping[Path, bytes]
    analyses: tuple[Analysis, ...]
    told: Told


@final
class Mender:
    """Tries the fixes of one project; state: what is known with the fixes kept so far."""

    def __init__(
        self,
        project: Project,
        chosen: Chosen,
        analysed: Analysed,
        told: Told,
        overlay: Mapping[Path, bytes],
    ) -> None:
        self._project = project
        self._chosen = chosen
        self._given = dict(overlay)
        self._state = _State(dict(overlay), analysed.analyses, told)
        self._marked = analysed.marked
        self._fixed: list[Finding] = []

    def mend(self, *, unsafe: bool, untouched: frozenset[str]) -> Mended:
        """Apply what helps: safe fixes, with `unsafe` the others as well.

        `untouched` are fingerprints of findings to leave alone.
        """
        for path in self._project.files:
            for _ in range(_ROUNDS):
                if not self._one_round(path, unsafe, untouched):
                    break
        state = self._state
        changed = {
            path: text for path, text in state.overlay.items() if self._given.get(path) != text
        }
        return Mended(changed, tuple(self._fixed), state.told, state.analyses)

    def _one_round(self, path: Path, unsafe: bool, untouched: frozenset[str]) -> bool:
        """Apply all fixes of a file at once, else one by one; whether any of them has helped."""
        name = file_name(path, self._project.root)
        wanted = [
            one
            for one in self._state.told.findings
            if one.where.file == name
            and one.fix is not None
            and (one.fix.safe or unsafe)
            and one.fingerprint not in untouched
        ]
        if not wanted:
            return False
        return self._try(path, name, wanted) or (
            len(wanted) > 1 and any(self._try(path, name, [one]) for one in wanted)
        )

    def _try(self, path: Path, name: str, wanted: Sequence[Finding]) -> bool:
        before = self._state
        fixes: dict[Fix, Finding] = {one.fix: one for one in wanted if one.fix is not None}
        try:
            source = Sources(before.overlay).read(path)
        except InputError:
            return False
        applied = apply_fixes(source, list(fixes), name)
        used = [fixes[fix] for fix in applied.used]
        if not used:
            return False
        after = self._linted({**before.overlay, path: applied.content}, path)
        if after is None or not _helps(before.told, after.told, used):
            return False
        self._state = after
        self._fixed.extend(used)
        return True

    def _linted(self, overlay: Mapping[Path, bytes], path: Path) -> _State | None:
        """Lint again what depends on a changed file; None where it is no Python any more."""
        analyser = Analyser(self._project.root, self._chosen.judged, overlay)
        try:
            analyses = tuple(
                analyser.analyse(one.path) if path in one.depends or one.path == path else one
                for one in self._state.analyses
            )
        except InputError:
            return None
        told = tell(self._project, self._chosen, analyses, Sources(overlay), self._marked)
        return _State(overlay, analyses, told)


def _helps(before: Told, after: Told, used: Sequence[Finding]) -> bool:
    """Whether the findings are gone, and no other has come in their place."""
    left = _counted(before.findings)
    left.subtract(_counted(used))
    return all(left[key] >= number for key, number in _counted(after.findings).items())


def _counted(findings: Sequence[Finding]) -> Counter[tuple[str, str, str]]:
    return Counter((one.where.file, one.code, one.where.function) for one in findings)
