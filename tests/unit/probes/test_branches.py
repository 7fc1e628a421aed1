"""What the program's own source says of a line that some ranks leave out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcstatic.runtime.probes.branches import branch_around, rate_written

LEFT = """\
for x in data:
    loss = model(x)
    loss.backward()
    if noisy:
        print(loss)
    if loss > 3:
        skipped += 1
        continue
    optimizer.step()
"""
AROUND = """\
def turn(loss):
    loss.backward()
    if loss < 3:
        optimizer.step()
"""


def written(folder: Path, text: str) -> str:
    path = folder / "train.py"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "after", "line", "branch"), [(LEFT, 3, 9, 6), (AROUND, 2, 4, 3), (LEFT, 6, 9, None)]
)
def test_the_branch_that_leaves_a_line_out(
    tmp_path: Path, text: str, after: int, line: int, branch: int | None
) -> None:
    assert branch_around(written(tmp_path, text), after, line) == branch


def test_a_source_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert branch_around(str(tmp_path / "gone.py"), 1, 2) is None
    assert branch_around(written(tmp_path, "if (:"), 1, 2) is None


def test_the_only_line_that_sets_a_rate(tmp_path: Path) -> None:
    one = "for g in o.param_groups:\n    g['lr'] *= 0.5\n"
    assert rate_written(written(tmp_path, one)) == 2
    (tmp_path / "b").mkdir()
    assert rate_written(written(tmp_path / "b", one + "o.param_groups[0]['lr'] = 1\n")) is None
