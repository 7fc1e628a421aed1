"""Programs to learn from, and faults that no shipped rule covers: shipped rules are silent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcstatic.lint.analysis import Analyser
from tests.golden.running import FIXTURES, TCSTATIC, findings, runs, whole
from tests.rules.test_lint_examples import LINTED, alarming

LEARNING = FIXTURES / "learning"
LIBRARY = LEARNING / "minitrain"
HEALTHY = sorted(LEARNING.glob("healthy/*.py"))
BAD = sorted(LEARNING.glob("bad/*/train.py"))
MARK = "# expect: learnt"
RELATIONS = {"order", "member", "count", "equal", "effect", "argument", "result", "flow"}
# Of the faults, those that a rule which was shipped later sees by what comes of them.
SEEN = {"float_mask": ["TCS443"]}
# The library is importable when such a run starts, so that it is watched as well: a new process.
INCLUDED = [HEALTHY[0], BAD[0]]


def name(script: Path) -> str:
    """What a program is called."""
    return script.parent.name if script.name == "train.py" else script.stem


def forked(script: Path) -> Iterator[tuple[Path, Path]]:
    """The modules of the library that a bad program has its own version of, and the originals."""
    for path in sorted(script.parent.glob("minitrain/**/*.py")):
        yield path, LIBRARY / path.relative_to(script.parent / "minitrain")


def described() -> dict[str, str]:
    """The relation of each bad program, from the table."""
    lines = (LEARNING / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    return {row[0]: row[2] for row in rows[2:]}


def test_none_is_missing() -> None:
    assert len(HEALTHY) >= 10 and len(BAD) >= 18
    relations = described()
    assert sorted(relations) == [name(script) for script in BAD]
    assert set(relations.values()) == RELATIONS


@pytest.mark.parametrize("script", BAD, ids=name)
def test_one_line_is_to_mend(script: Path) -> None:
    files = sorted(script.parent.rglob("*.py"))
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    assert sum(line.endswith("  " + MARK) for line in lines) == 1
    assert sum("expect:" in line for line in lines) == 1


def test_healthy_programs_have_no_line_to_mend() -> None:
    for path in [*HEALTHY, *LIBRARY.rglob("*.py")]:
        assert "expect:" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("script", [one for one in BAD if [*forked(one)]], ids=name)
def test_a_fault_of_the_library_is_a_line_of_it(script: Path) -> None:
    ((path, original),) = forked(script)
    known = original.read_text(encoding="utf-8").splitlines()
    own = path.read_text(encoding="utf-8").splitlines()
    changed = [number for number, line in enumerate(own) if line not in known]
    (fault,) = (number for number, line in enumerate(own) if line.endswith(MARK))
    assert fault in changed and set(changed) <= {fault - 1, fault}
    assert len(known) - len(own) in (0, 1)


@pytest.mark.parametrize("script", HEALTHY[::2] + BAD, ids=name)
def test_shipped_rules_are_silent(script: Path, tmp_path: Path) -> None:
    found = findings(runs().report(str(script), cwd=tmp_path))
    assert [code for _, code, *_ in found] == SEEN.get(name(script), [])


@pytest.mark.parametrize("script", INCLUDED, ids=name)
def test_shipped_rules_are_silent_over_the_library(script: Path, tmp_path: Path) -> None:
    path = os.pathsep.join(filter(None, [str(LEARNING), os.environ.get("PYTHONPATH", "")]))
    words = ("run", "--quiet", "--include", "minitrain", "--report", "report.json", str(script))
    ended = runs().process(*TCSTATIC, *words, cwd=tmp_path, environment={"PYTHONPATH": path})
    assert ended.status == (0,), ended.stderr
    report = whole(tmp_path / "report.json")
    assert findings(report) == []
    assert len(report["invariants"]["held"]) >= 12


@pytest.mark.parametrize("folder", [LEARNING / "healthy", *(one.parent for one in BAD)])
def test_lint_is_silent(folder: Path) -> None:
    analyser = Analyser(folder, LINTED)
    for path in sorted(folder.rglob("*.py")):
        assert alarming(analyser.analyse(path).findings) == []


def test_lint_is_silent_over_everything() -> None:
    analyser = Analyser(LEARNING, LINTED)
    for path in [*LIBRARY.rglob("*.py"), *HEALTHY]:
        assert alarming(analyser.analyse(path).findings) == []
