"""One module as root -> what its source decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from tcstatic.errors import InputError, input_problem
from tcstatic.model import Finding, Invariant, Verdict
from tcstatic.program.source import decode, parse

# A file without any of these cannot hold a training event.
RELEVANT: Final = (b"torch", b"backward", b".step")


@final
@dataclass(frozen=True, slots=True)
class Analysis:
    """Of one module: its body, and its functions that the body does not call.

    A finding may lie in another file than `path`: in one that it imports. `depends` are the files
    that were read for it, itself first. `skipped` says why it was not analysed at all. `coverage`
    maps a kind of site to (those whose role is known, all).
    """

    path: Path
    findings: tuple[Finding, ...] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    depends: tuple[Path, ...] = ()
    skipped: str = ""
    coverage: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@final
class Analyser:
    """Analyses the modules of a project; `root` is what locations are relative to.

    `overlay` holds text that stands for what lies on disk (standard input, a fix on trial).
    """

    def __init__(
        self,
        root: Path,
        invariants: Sequence[Invariant],
        overlay: Mapping[Path, bytes] | None = None,
    ) -> None:
        self._root = root
        self._invariants = tuple(invariants)
        self._overlay = dict(overlay or {})

    def analyse(self, path: Path) -> Analysis:
        """Return what is decided; raise InputError for a file that cannot be read or parsed."""
        source = self._read(path)
        if not any(word in source for word in RELEVANT):
            reason = "no torch in it"
            scope = Verdict("OUT_OF_SCOPE", reason)
            verdicts = {one.code: scope for one in self._invariants}
            return Analysis(path, verdicts=verdicts, depends=(path,), skipped=reason)
        parse(decode(source, str(path)).text, str(path))
        unknown = Verdict("UNKNOWN", "not analysed")
        verdicts = {one.code: unknown for one in self._invariants}
        return Analysis(path, verdicts=verdicts, depends=(path,))

    def _read(self, path: Path) -> bytes:
        if path in self._overlay:
            return self._overlay[path]
        try:
            return path.read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(input_problem(f"cannot be read ({reason})", where=str(path))) from None
