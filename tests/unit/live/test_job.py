"""A job: parts, claims, and one report of all processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tcstatic.model import Finding, Location, ProbeCounts, Report
from tcstatic.runtime.live import job as jobs
from tcstatic.runtime.live.job import Job, current_rank

REPORT = Report("tcstatic run train.py", "train.py", None)
FINDING = Finding("TCS1", "n", "error", "m", Location("train.py", 1), "w", "c", fingerprint="f")


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.tempfile, "gettempdir", lambda: str(tmp_path))
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_ERROR_FILE"):
        monkeypatch.delenv(name, raising=False)


def launched(monkeypatch: pytest.MonkeyPatch, rank: int, world: int = 2) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(world))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(world))
    monkeypatch.setenv("MASTER_PORT", "29500")


def part_of_another(folder: Path, **changes: Any) -> None:
    """Write the part of a rank 1 that is `alive` (as this process) or dead."""
    own = json.loads(next(folder.glob("part-*")).read_text(encoding="utf-8"))
    alive = changes.pop("alive", False)
    other = {**own, "rank": 1, "finished": False, "steps": 3, **changes}
    if not alive:
        other |= {"pid": 2**22 + 1, "born": "1"}
    (folder / "part-other.json").write_text(json.dumps(other), encoding="utf-8")


def test_a_process_alone_leaves_only_its_report(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    job = Job((path,))
    job.begin(REPORT)
    assert job.alone and job.claim("f") and not job.claim("f")
    job.publish(REPORT, 1, everywhere=True)
    merged = job.finish(replace(REPORT, exit_status=0), 2)
    assert merged is not None and merged.exit_status == 0
    assert os.listdir(tmp_path) == ["out.json"]


def test_ranks_of_a_launcher_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, 0)
    first = Job(())
    launched(monkeypatch, 1)
    assert Job(()).meeting_place == first.meeting_place
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert Job(()).meeting_place != first.meeting_place


def test_claims_are_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, 0)
    first, second = Job(()), Job(())
    first.begin(REPORT)
    second.begin(REPORT)
    assert first.claim("f")
    assert not second.claim("f")
    assert second.claim("g")


@pytest.mark.parametrize("own", [0, 143])
def test_who_is_last_merges(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: int) -> None:
    """The status is that of the first to fail: what a launcher then does to the others is not."""
    launched(monkeypatch, 0)
    path = tmp_path / "out.json"
    job = Job((path,))
    job.begin(REPORT)
    found = replace(REPORT, findings=(FINDING,), probes=ProbeCounts(events=2))
    report = json.loads(jobs.to_json(replace(found, exit_status=3)))
    part_of_another(job.meeting_place, finished=True, report=report)
    merged = job.finish(replace(found, exit_status=own), 3)
    assert merged is not None
    assert (merged.ranks, merged.exit_status, merged.incomplete) == ((0, 1), 3, ())
    assert merged.findings[0].count == 2 and merged.probes.events == 4
    assert json.loads(path.read_text(encoding="utf-8"))["ranks"] == [0, 1]
    assert not job.meeting_place.exists()


def test_who_is_not_last_leaves_the_last_word_to_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launched(monkeypatch, 0)
    path = tmp_path / "out.json"
    job = Job((path,))
    job.begin(REPORT)
    part_of_another(job.meeting_place, alive=True)
    assert job.finish(replace(REPORT, exit_status=0), 1) is None
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["incomplete"] == ["rank 1 was still running"]
    assert report["exit_status"] is None
    assert job.meeting_place.exists()


def test_a_rank_that_has_not_begun_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    launched(monkeypatch, 0)
    job = Job((tmp_path / "out.json",))
    job.begin(REPORT)
    assert job.finish(replace(REPORT, exit_status=0), 1) is None
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["incomplete"] == ["nothing was heard of rank 1"]


def test_a_dead_rank_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, 0)
    job = Job(())
    job.begin(REPORT)
    part_of_another(job.meeting_place)
    merged = job.finish(replace(REPORT, exit_status=0), 1)
    assert merged is not None and merged.ranks == (0, 1)
    assert len(merged.incomplete) == 1
    assert "rank 1 ended without a last word" in merged.incomplete[0]
    assert "optimizer step 3" in merged.incomplete[0]


def test_what_an_earlier_job_left_is_swept_away(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, 0)
    crashed = Job(())
    crashed.begin(REPORT)
    crashed.claim("f")
    for part in crashed.meeting_place.glob("part-*"):
        data = json.loads(part.read_text(encoding="utf-8"))
        part.write_text(json.dumps({**data, "born": "1"}), encoding="utf-8")
    fresh = Job(())
    fresh.begin(REPORT)
    assert fresh.claim("f")
    assert len(list(fresh.meeting_place.glob("part-*"))) == 1


def test_a_child_joins_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    parent = Job((path,))
    parent.begin(REPORT)
    assert parent.claim("told before")
    folder = parent.folder(lambda: REPORT)
    assert folder is not None and not parent.alone
    child = Job((path,), folder=folder, child=True)
    assert not child.claim("told before")
    part_of_another(
        folder, finished=True, child=True, rank=0, report=json.loads(jobs.to_json(REPORT))
    )
    merged = parent.finish(replace(REPORT, exit_status=5), 0)
    assert merged is not None
    assert (merged.ranks, merged.exit_status, merged.incomplete) == ((0,), 5, ())
    assert not folder.exists()


def test_a_forked_child_that_made_the_folder_is_found(tmp_path: Path) -> None:
    parent = Job(())
    child = Job((), folder=parent.meeting_place, child=True)
    child.begin(REPORT)
    assert parent.alone
    parent.publish(REPORT, 0, everywhere=False)
    assert not parent.alone


def test_a_damaged_part_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, 0, world=1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    job = Job(())
    job.begin(REPORT)
    (job.meeting_place / "part-bad.json").write_text("{", encoding="utf-8")
    (job.meeting_place / "part-old.json").write_text('{"pid": 1}', encoding="utf-8")
    assert job.finish(replace(REPORT, exit_status=0), 1) is not None


def test_without_a_place_to_meet_each_is_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(jobs.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    launched(monkeypatch, 0)
    job = Job(())
    job.begin(REPORT)
    assert job.alone and job.claim("f")
    assert job.finish(REPORT, 1) == REPORT


def test_a_rank_once_known_stays_known(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(())
    assert job.learn_rank() is None
    monkeypatch.setenv("RANK", "3")
    assert job.learn_rank() == 3 == current_rank()
    monkeypatch.delenv("RANK")
    assert job.learn_rank() == 3
    monkeypatch.setenv("RANK", "first")
    assert current_rank() is None


def test_a_process_is_known_by_its_birth() -> None:
    own = jobs._birth(os.getpid())
    assert own != ""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert jobs._birth(ended.pid) == ""
