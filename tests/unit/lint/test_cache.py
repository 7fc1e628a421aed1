"""The cache: an answer holds until a file changes that it rests on; damage and age harm nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tcstatic.lint import jobs
from tests.unit.lint.projects import BAD, GOOD, LOOP, MAIN, Folder

WRAPPER = """\
class Wrapper:
    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self):
        self.optimizer.step()
        self.optimizer.zero_grad()
"""
BESIDE = MAIN.replace("lib.loop", "loop")


@pytest.fixture
def analysed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that were analysed, not taken from the cache."""
    names: list[str] = []
    one = jobs._one

    def noting(analyser: object, path: Path, overlay: object) -> jobs.Outcome:
        names.append(path.name)
        return one(analyser, path, overlay)  # type: ignore[arg-type]

    monkeypatch.setattr(jobs, "_one", noting)
    return names


def again(folder: Folder, analysed: list[str], *arguments: str) -> tuple[list[str], list[str]]:
    analysed.clear()
    return folder.places(*arguments), sorted(analysed)


def test_a_second_run_analyses_nothing(folder: Folder, analysed: list[str]) -> None:
    folder.write(a=BAD, b=GOOD, c="print(1)\n")
    first = folder.lint("--output-format", "json").report
    assert again(folder, analysed) == (["a.py:8 TCS112"], [])
    assert folder.lint("--output-format", "json").report == first
    assert again(folder, analysed, "--no-cache")[1] == ["a.py", "b.py", "c.py"]


def test_what_has_changed_is_analysed_again(folder: Folder, analysed: list[str]) -> None:
    folder.write(a=BAD, b=GOOD)
    folder.lint()
    status = os.stat("a.py")
    folder.write(a=BAD.replace("0.1", "0.2"))
    os.utime("a.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert again(folder, analysed)[1] == ["a.py"]


def test_an_imported_file_counts(folder: Folder, analysed: list[str]) -> None:
    folder.write(main=BESIDE, loop=LOOP, other=GOOD)
    assert folder.places() == ["loop.py:5 TCS112"]
    folder.write(loop=LOOP + "        optimizer.zero_grad()\n")
    assert again(folder, analysed) == ([], ["loop.py", "main.py"])


def test_a_file_that_appears_counts(folder: Folder, analysed: list[str]) -> None:
    folder.write(main=BESIDE, other=GOOD)
    assert folder.places() == []
    folder.write(loop=LOOP)
    assert again(folder, analysed) == (["loop.py:5 TCS112"], ["loop.py", "main.py"])


def test_a_class_that_an_optimizer_may_be_of_counts(folder: Folder, analysed: list[str]) -> None:
    folder.write(loop="import torch\n" + LOOP, other=GOOD)
    assert folder.places() == ["loop.py:6 TCS112"]
    folder.write(wrapper=WRAPPER)
    assert again(folder, analysed) == ([], ["loop.py", "wrapper.py"])
    assert again(folder, analysed) == ([], [])
    folder.write(wrapper=WRAPPER.replace("zero_grad", "count"))
    assert again(folder, analysed) == (["loop.py:6 TCS112"], ["loop.py", "wrapper.py"])


def test_rules_and_selection_are_part_of_the_key(
    folder: Folder, analysed: list[str], repo: Path
) -> None:
    folder.write(a=BAD)
    folder.lint()
    assert again(folder, analysed, "--select", "TCS112")[1] == ["a.py"]
    own = folder.path / "own.yaml"
    own.write_text((repo / "rules" / "TCS112.yaml").read_text())
    assert again(folder, analysed, "--rules", "own.yaml")[1] == ["a.py"]
    assert again(folder, analysed, "--rules", "own.yaml")[1] == []
    own.write_text(own.read_text().replace("severity: error", "severity: warning"))
    assert again(folder, analysed, "--rules", "own.yaml")[1] == ["a.py"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"x\n{}", None])
def test_a_damaged_cache_is_ignored(
    folder: Folder, analysed: list[str], damage: bytes | None
) -> None:
    folder.write(a=BAD)
    folder.lint()
    entries = list(Path(os.environ["TCSTATIC_CACHE"]).rglob("*.json"))
    assert len(entries) == 2
    for entry in entries:
        content = entry.read_bytes()
        entry.write_bytes(content[:-9] if damage is None else damage)
    assert again(folder, analysed) == (["a.py:8 TCS112"], ["a.py"])
    assert again(folder, analysed) == (["a.py:8 TCS112"], [])


def test_an_unwritable_cache_harms_nothing(folder: Folder) -> None:
    Path(os.environ["TCSTATIC_CACHE"]).write_text("a file")
    folder.write(a=BAD)
    assert folder.places() == ["a.py:8 TCS112"]


def test_what_imports_a_given_file_is_read(folder: Folder, analysed: list[str]) -> None:
    folder.write(main=BESIDE, loop=LOOP, other=GOOD, bad=BAD)
    assert again(folder, analysed, "loop.py") == (["loop.py:5 TCS112"], ["loop.py", "main.py"])
    assert again(folder, analysed, "main.py") == ([], [])
    said = "findings as well in what was not named, and is used by it: loop.py"
    assert said in folder.lint("main.py").lines
    step = "        optimizer.step()"
    folder.write(loop=LOOP.replace(step, f"{step}  # noqa: TCS112"))
    assert folder.lint("main.py").lines == ["no finding in 1 file"]
