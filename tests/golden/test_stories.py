"""Each story ends in one error, at the line to mend, however it is written and launched."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.golden.running import (
    FIXTURES,
    TCSTATIC,
    Ended,
    expected,
    findings,
    runs,
    torchrun,
    whole,
)
from tests.golden.variants import VARIANTS, write_variants

STORIES = sorted(path.name for path in (FIXTURES / "stories").iterdir())
# Without a launcher it starts its two ranks by itself.
SPAWNS = "bloom_176b"
# Each of its processes trains on its own, with the devices that it has.
ALONE = "gradients_not_applied"
WAYS = ("as_written", *VARIANTS)
COPIED = ("as_written", "split")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str, str], Path]:
    """The scripts by story, way and label: as they were written, and all of their variants."""
    scripts = {}
    for story in STORIES:
        folder = tmp_path_factory.mktemp(story)
        for path in write_variants(FIXTURES / "stories" / story, folder, seed=0):
            scripts[story, path.parents[1].name, path.parent.name] = path
        for label in ("bad", "good"):
            own = folder / "as_written" / label
            own.mkdir(parents=True)
            path = own / f"{label}.py"
            scripts[story, "as_written", label] = path
            shutil.copyfile(FIXTURES / "stories" / story / path.name, path)
    return scripts


def mended(report: Any, script: Path) -> bool:
    """Whether a report has found what the comments beside the script say, and nothing more."""
    wanted = expected(script.parent)
    assert len(wanted) == ("bad" in script.parts[-2:] or script.stem == "bad")
    assert findings(report) == wanted, (findings(report), wanted)
    return not wanted


def test_none_is_missing() -> None:
    assert {SPAWNS, ALONE, "flat_loss"} <= set(STORIES)
    assert len(VARIANTS) == 5


@pytest.mark.parametrize("label", ["bad", "good"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("story", STORIES)
def test_the_line_to_mend_is_named(
    written: Mapping[tuple[str, str, str], Path],
    tmp_path: Path,
    story: str,
    way: str,
    label: str,
) -> None:
    script = written[story, way, label]
    ranks = 2 if story == SPAWNS else 1
    report = runs().report(str(script), cwd=tmp_path, ranks=ranks)
    assert mended(report, script) is (label == "good")
    assert report["ranks"] == list(range(ranks))
    assert all(finding["witness"] for finding in report["findings"])


@pytest.mark.distributed
def test_ranks_that_a_story_starts_are_seen(
    written: Mapping[tuple[str, str, str], Path], tmp_path: Path
) -> None:
    script = written[SPAWNS, "as_written", "bad"]
    report = runs().report(str(script), cwd=tmp_path)
    assert not mended(report, script)
    assert report["ranks"] == [0, 1]


def told_once(ended: Ended) -> None:
    """The error is printed by one rank, the summary by one, in whatever order."""
    assert ended.stderr[0].count("tcstatic: error TCS") == 1, ended.stderr[0]
    assert ended.stderr[0].count("tcstatic: invariants:") == 1, ended.stderr[0]


@pytest.mark.distributed
@pytest.mark.parametrize("story", [SPAWNS, "flat_loss"])
def test_torchrun_gives_one_report(
    written: Mapping[tuple[str, str, str], Path], tmp_path: Path, story: str
) -> None:
    script = written[story, "as_written", "bad"]
    options = ("run", "--report", "report.json")
    ended = runs().process(*torchrun(), *TCSTATIC, *options, str(script), cwd=tmp_path)
    assert ended.status == (0,), ended.stderr[0]
    report = whole(tmp_path / "report.json")
    assert not mended(report, script)
    assert report["ranks"] == [0, 1]
    told_once(ended)


@pytest.fixture(scope="module")
def copied(
    written: Mapping[tuple[str, str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[tuple[str, str, str], Path]:
    """The instrumented copies of scripts with one module and with several."""
    copies = {}
    for key, script in written.items():
        if key[1] not in COPIED:
            continue
        folder = tmp_path_factory.mktemp("copy")
        words = ("rewrite", str(script), "-o", str(folder))
        ended = runs().fork(*TCSTATIC, *words, cwd=script.parent)
        assert (ended.status, ended.stdout) == ((0,), ("",)), ended.stderr
        copies[key] = folder / script.name
    return copies


@pytest.mark.parametrize("label", ["bad", "good"])
@pytest.mark.parametrize("way", COPIED)
@pytest.mark.parametrize("story", STORIES)
def test_a_copy_finds_the_same(
    written: Mapping[tuple[str, str, str], Path],
    copied: Mapping[tuple[str, str, str], Path],
    tmp_path: Path,
    story: str,
    way: str,
    label: str,
) -> None:
    path = tmp_path / "report.json"
    ranks = 2 if story == SPAWNS else 1
    told = {"TCSTATIC_REPORT": str(path), "TCSTATIC_QUIET": "1"}
    script = str(copied[story, way, label])
    ended = runs().fork(script, cwd=tmp_path, ranks=ranks, environment=told)
    assert (ended.status, ended.stderr) == ((0,) * ranks, ("",) * ranks)
    assert mended(whole(path), written[story, way, label]) is (label == "good")


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("story", "launcher"),
    [(SPAWNS, "python"), *((story, "torchrun") for story in STORIES)],
)
def test_a_copy_needs_no_command_of_ours(
    written: Mapping[tuple[str, str, str], Path],
    copied: Mapping[tuple[str, str, str], Path],
    tmp_path: Path,
    story: str,
    launcher: str,
) -> None:
    path = tmp_path / "report.json"
    words = torchrun() if launcher == "torchrun" else ()
    script = str(copied[story, "as_written", "bad"])
    told = {"TCSTATIC_REPORT": str(path)}
    ended = runs().process(*words, script, cwd=tmp_path, environment=told)
    assert ended.status == (0,), ended.stderr[0]
    report = whole(path)
    assert not mended(report, written[story, "as_written", "bad"])
    assert report["ranks"] == ([0, 1] if launcher == "torchrun" or story == SPAWNS else [0])
    told_once(ended)
