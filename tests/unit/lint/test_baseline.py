"""The baseline: what is known waits, whatever moves; what is gone is dropped."""

from __future__ import annotations

import json

import pytest

from tests.unit.lint.projects import BAD, GOOD, Folder

WRITE = ("--baseline", "known.json", "--write-baseline")
READ = ("--baseline", "known.json")


def entries(folder: Folder) -> list[str]:
    data = json.loads(folder.text("known.json"))
    assert data["schema"] == "tcstatic-baseline/1"
    return [f"{one['file']} {one['code']}" for one in data["findings"]]


def test_what_is_known_is_not_told(folder: Folder) -> None:
    folder.write(train=BAD)
    written = folder.lint(*WRITE)
    assert (written.status, written.lines[-1]) == (0, "no finding in 1 file, 1 in the baseline")
    assert entries(folder) == ["train.py TCS112"]
    assert folder.lint(*READ).status == 0
    assert folder.lint().status == 1


def test_moved_lines_are_the_same_finding(folder: Folder) -> None:
    folder.write(train=BAD)
    folder.lint(*WRITE)
    moved = BAD.replace("import torch\n", "# a comment\nimport torch\n\nprint('more')\n")
    folder.write(train=moved.replace("optimizer.step()", "optimizer.step( )  # now"))
    assert folder.lint(*READ).status == 1
    folder.write(train=moved)
    assert folder.lint(*READ).status == 0


def test_a_second_one_is_new(folder: Folder) -> None:
    folder.write(train=BAD)
    folder.lint(*WRITE)
    again = BAD.partition("model =")[2]
    folder.write(train=f"{BAD}\nmodel ={again}")
    assert folder.places(*READ) == ["train.py:15 TCS112"]


def test_what_is_gone_is_dropped(folder: Folder) -> None:
    folder.write(a=BAD, b=BAD, c=BAD)
    folder.lint(*WRITE)
    folder.write(a=GOOD)
    (folder.path / "c.py").unlink()
    found = folder.lint(*READ)
    assert "2 of the baseline found no more; --write-baseline drops them" in found.lines
    folder.lint(*WRITE, "a.py")
    assert entries(folder) == ["b.py TCS112"]


def test_a_baseline_in_the_settings(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.settings('baseline = "known.json"\n')
    folder.write(lib__train=BAD)
    folder.lint("--write-baseline")
    monkeypatch.chdir(folder.path / "lib")
    assert folder.lint().status == 0
    assert entries(folder) == ["lib/train.py TCS112"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "x", "findings": []}'])
def test_what_is_no_baseline(folder: Folder, text: str) -> None:
    folder.write(train=BAD)
    (folder.path / "known.json").write_text(text)
    said = folder.lint(*READ)
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "no baseline" in said.err


def test_fixes_leave_the_known_alone(folder: Folder) -> None:
    folder.write(train="import torch\nx = 1  # noqa: TCS112\n")
    folder.lint(*WRITE)
    assert folder.lint(*READ, "--fix").status == 0
    assert "noqa" in folder.text("train.py")
