"""Lint over the fixtures: programs of several files, and training scripts that are right."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tcstatic.lint.analysis import Analyser
from tests.rules.test_lint_examples import LINTED, alarming, expected

FIXTURES: Final = Path(__file__).resolve().parents[2] / "fixtures"
PROGRAMS: Final = sorted(FIXTURES.glob("lint/*/*/"))
HEALTHY: Final = sorted(
    path
    for pattern in ("scripts/**/*.py", "healthy/**/*.py", "lookalikes/*.py", "stories/*/good*.py")
    for path in FIXTURES.glob(pattern)
    if "# expect: " not in path.read_text()
)


def found_in(folder: Path) -> set[tuple[str, str, int | None]]:
    """What linting all files of a program finds, as (file, code, line)."""
    analyser = Analyser(folder, LINTED)
    return {
        (one.where.file, one.code, one.where.line)
        for path in sorted(folder.rglob("*.py"))
        for one in analyser.analyse(path).findings
    }


@pytest.mark.parametrize(
    "program", [pytest.param(path, id=f"{path.parent.name}-{path.name}") for path in PROGRAMS]
)
def test_a_program_of_several_files_has_its_finding_alone(program: Path) -> None:
    announced = {
        (path.relative_to(program).as_posix(), code, line)
        for path in program.rglob("*.py")
        for code, line in expected(path.read_text())
    }
    code = program.parent.name.partition("-")[0]
    assert {code for _, code, _ in announced} == (
        {code} if program.name.startswith("bad") else set()
    )
    assert found_in(program) == announced


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=str(path.relative_to(FIXTURES))) for path in HEALTHY]
)
def test_healthy_training_gives_no_alarm(path: Path) -> None:
    assert alarming(Analyser(path.parent, LINTED).analyse(path).findings) == []
