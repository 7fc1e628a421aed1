"""Programs with one fault each, whose comments name the line to mend, and what is said of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from tests.golden.running import FIXTURES, TCSTATIC, Runs

CAUSES: Final = FIXTURES / "causes"
EXPECT: Final = re.compile(r"# expect: (TCS\d+)$")
_RANKS: Final = 2  # of a program that starts a process group


@final
@dataclass(frozen=True, slots=True)
class Program:
    """A program and the line to mend in it; `name` begins with the rule that it is a case of."""

    name: str
    script: Path
    code: str
    file: str
    line: int
    ranks: int


@final
@dataclass(frozen=True, slots=True)
class Told:
    """What was said of a program: findings as (severity, code, file, line), and the lines that they
    and the links of their chains name."""

    program: Program
    status: tuple[int, ...]
    findings: tuple[tuple[str, str, str, int], ...]
    candidates: frozenset[tuple[str, int]]

    @property
    def first(self) -> bool:
        """Whether the line to mend is the one that the first finding names."""
        place = (self.program.file, self.program.line)
        return bool(self.findings) and self.findings[0][2:] == place

    @property
    def among(self) -> bool:
        """Whether the line to mend is named at all."""
        return (self.program.file, self.program.line) in self.candidates

    @property
    def alone(self) -> bool:
        """Whether the fault gave one finding."""
        return len(self.findings) == 1


def programs() -> list[Program]:
    """Return all of them: a file each, or a folder with a train.py."""
    return [program for entry in sorted(CAUSES.glob("TCS*/*")) for program in _programs_of(entry)]


def _programs_of(entry: Path) -> Iterator[Program]:
    script = entry / "train.py" if entry.is_dir() else entry
    files = sorted(script.parent.glob("*.py")) if entry.is_dir() else [entry]
    if not script.exists():
        return
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    ranks = _RANKS if any("init_process_group" in text for text in texts.values()) else 1
    for file, text in texts.items():
        for number, line in enumerate(text.split("\n"), 1):
            if found := EXPECT.search(line):
                name = f"{entry.parent.name}/{entry.stem}"
                yield Program(name, script, found[1], file, number, ranks)


def told(runs: Runs, program: Program, folder: Path) -> Told:
    """Run a program under tcstatic in a folder of its own."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    words = ("run", "--quiet", "--report", str(report), str(program.script))
    ended = runs.fork(*TCSTATIC, *words, cwd=folder, ranks=program.ranks)
    found = json.loads(report.read_text(encoding="utf-8"))["findings"] if report.exists() else []
    chains = [(link["file"], link["line"]) for one in found for link in one["witness"]]
    chains += [(one["file"], one["line"]) for one in found]
    return Told(
        program,
        ended.status,
        tuple((one["severity"], one["code"], one["file"], one["line"]) for one in found),
        frozenset((Path(file).name, line) for file, line in chains),
    )
