"""Several ranks give one report and one summary, in whatever order they begin and end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.launching import SECONDS, Ended, Launcher, job, probed
from tests.unit.live.standin import ERROR

RANKS = """
import os, sys
rank = int(os.environ.get("RANK") or os.environ["SLURM_PROCID"])
x = 1
print("ready", flush=True)
sys.stdin.readline()
if rank == 1:
    os.environ.get("DIE") and os.kill(os.getpid(), 9)
    sys.exit(int(os.environ.get("STATUS", "0")))
"""

SRUN = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "3",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2",
    "SLURM_NODEID": "0",
}


def ranks(
    launcher: Launcher, *order: int, held: bool = False, name: str = "RANK", **environment: str
) -> tuple[list[Ended], Any]:
    """Two ranks, started at once, that end in this order; what tells them apart has this `name`.

    `held`: the second begins only when the first is over.
    """
    launcher.write(train=RANKS)
    text = probed(ERROR, RANKS)
    common = job() if name == "RANK" else SRUN
    command = launcher.command("train.py", probed=text, quiet=False, reports=("out.json",))
    gate = ["sh", "-c", 'read _; exec "$@"', "sh"]
    started = [
        launcher.start(
            [*(gate if held and rank else []), *command],
            **{**common, **environment, name: str(rank)},
        )
        for rank in range(2)
    ]
    for one in started[: 1 if held else 2]:
        assert one.stdout is not None
        one.stdout.readline()
    said = {rank: started[rank].communicate("begin\nend\n", timeout=SECONDS) for rank in order}
    ended = [Ended(one.args, one.returncode, *said[rank]) for rank, one in enumerate(started)]
    report = json.loads((launcher.folder / "out.json").read_text(encoding="utf-8"))
    return ended, report


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_ranks_give_one_report_and_one_summary(launcher: Launcher, order: tuple[int, int]) -> None:
    ended, report = ranks(launcher, *order)
    err = "".join(one.stderr for one in ended)
    assert err.count("error TCS66") == 1
    assert err.count("tcstatic: invariants:") == 1
    assert report["ranks"] == [0, 1] and report["incomplete"] == []
    assert report["exit_status"] == 0
    assert report["probes"]["events"] == 2
    assert [finding["count"] for finding in report["findings"]] == [2]
    assert not list(launcher.folder.parent.glob("tcstatic-job-*"))


def test_tasks_of_a_slurm_step_are_ranks_of_one_job(launcher: Launcher) -> None:
    ended, report = ranks(launcher, 1, 0, name="SLURM_PROCID")
    assert "".join(one.stderr for one in ended).count("tcstatic: invariants:") == 1
    assert report["ranks"] == [0, 1] and report["incomplete"] == []


def test_a_rank_that_is_over_before_the_other_begins_is_in_the_report(launcher: Launcher) -> None:
    """Both were started at once; the second is held up before Python begins."""
    for _ in range(2):
        ended, report = ranks(launcher, 0, 1, held=True)
        assert [one.returncode for one in ended] == [0, 0]
        assert "".join(one.stderr for one in ended).count("tcstatic: invariants:") == 1
        assert report["ranks"] == [0, 1] and report["incomplete"] == []
        assert report["probes"]["events"] == 2


def test_what_a_killed_job_left_behind_is_not_in_the_next_report(launcher: Launcher) -> None:
    """The same launcher starts the job again, on the same port."""
    port = job()["MASTER_PORT"]
    _, report = ranks(launcher, 0, 1, DIE="1", MASTER_PORT=port)
    assert report["incomplete"] == ["rank 1 was still running"]
    assert list(launcher.folder.parent.glob("tcstatic-job-*"))
    ended, report = ranks(launcher, 0, 1, held=True, MASTER_PORT=port)
    assert "".join(one.stderr for one in ended).count("tcstatic: invariants:") == 1
    assert report["incomplete"] == [] and report["probes"]["events"] == 2


def test_a_rank_that_fails_gives_its_status(launcher: Launcher) -> None:
    _, report = ranks(launcher, 1, 0, STATUS="4")
    assert report["exit_status"] == 4 and report["incomplete"] == []


def test_a_rank_that_dies_is_named(launcher: Launcher) -> None:
    ended, report = ranks(launcher, 1, 0, DIE="1")
    assert [one.returncode for one in ended] == [0, -9]
    assert len(report["incomplete"]) == 1
    assert report["incomplete"][0].startswith("rank 1 ended without a last word")
    assert report["ranks"] == [0, 1] and report["probes"]["events"] >= 1
    assert "incomplete: rank 1" in ended[0].stderr
