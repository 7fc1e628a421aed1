"""Correct programs that look like mistakes stay silent; the index names each of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.golden.running import FIXTURES, expected, findings, runs

FOLDER = FIXTURES / "lookalikes"
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
PROGRAMS = sorted(FOLDER.glob("*.py"))
RULES = {one.stem for one in (FIXTURES.parent / "rules").glob("*.yaml")}


def rows() -> list[list[str]]:
    """The rows of the index, each as its cells."""
    lines = [line for line in INDEX.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[1] not in ("look-alike", "trap")]


def test_every_row_names_what_is_there() -> None:
    for name, _, where in rows():
        places = re.findall(r"`([^`]+)`", where)
        assert places or re.search(r"TCS\d+", where), name
        for place in places:
            assert (FOLDER / place).is_file() or (FIXTURES / place).is_file(), place
        assert set(re.findall(r"TCS\d+", where)) <= RULES


def test_every_program_is_in_the_index() -> None:
    assert len(PROGRAMS) >= 30
    named = " ".join(where for *_, where in rows())
    assert {one.name for one in PROGRAMS} <= set(re.findall(r"`([^`]+)`", named))


@pytest.mark.parametrize("script", PROGRAMS, ids=lambda path: path.stem)
def test_it_stays_silent(script: Path, tmp_path: Path) -> None:
    assert expected(script.parent, script.name) == []
    report = runs().report(str(script), cwd=tmp_path)
    assert findings(report) == []
    assert report["invariants"]["violated"] == []
    held = [one for one in report["invariants"]["held"] if report["invariants"]["checked"][one]]
    assert len(held) >= 8, held
