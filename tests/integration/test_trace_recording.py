"""Recording in real processes: killed ones, ranks, copies, and a folder that goes away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tcstatic.trace import Trace, open_trace
from tests.golden.running import FIXTURES, THREADS, free_port

# After each step it waits for a line; at the end of standard input it goes on.
SCRIPT = """\
import shutil, sys
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
x = torch.randn(6, 4)
for step in range(int(sys.argv[1])):
    optimizer.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    print(step, loss.item(), flush=True)
    sys.stdin.readline()
    if step == 5 and len(sys.argv) > 2:
        shutil.rmtree(sys.argv[2])
"""
TCSTATIC = ("-m", "tcstatic")
PATIENT = """\
import sys
from tcstatic.cli import main
from tcstatic.runtime.live import session
session.PART_SECONDS = {seconds}
sys.exit(main())
"""
# `tcstatic`, that writes whenever it could, or at the end alone.
ALWAYS = ("-c", PATIENT.format(seconds=0.0))
AT_THE_END = ("-c", PATIENT.format(seconds=1e9))


class Shell:
    """Starts processes in a folder of their own."""

    def __init__(self, folder: Path, repo: Path) -> None:
        self.folder = folder
        self.trace = folder / "trace"
        self.environment = {
            **os.environ,
            **THREADS,
            "PYTHONPATH": str(repo),
            "TCSTATIC_CACHE": str(folder / "cache"),
        }
        (folder / "train.py").write_text(SCRIPT, encoding="utf-8")

    def recorded(self, *words: str, tcstatic: Sequence[str] = TCSTATIC) -> list[str]:
        """The command that records a script."""
        run = [*tcstatic, "run", "--trace", str(self.trace)]
        return [*run, "--report", str(self.folder / "report.json"), *words]

    def python(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def killed(self, number: signal.Signals, steps: int, tcstatic: Sequence[str]) -> Trace:
        """Record a run, send it a signal after so many steps; return the trace."""
        with subprocess.Popen(
            [sys.executable, *self.recorded("train.py", str(steps + 1), tcstatic=tcstatic)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            for step in range(steps):
                if step:
                    print(file=process.stdin, flush=True)
                assert process.stdout.readline().split()[0] == str(step)
            process.send_signal(number)
            assert process.wait(300) == -number
        return open_trace(self.trace)

    def report(self) -> Any:
        return json.loads((self.folder / "report.json").read_text(encoding="utf-8"))

    def check(self) -> tuple[int, Any]:
        """The exit code and the report of `check`."""
        ran = self.python("-m", "tcstatic", "check", str(self.trace), "--output-format", "json")
        assert ran.stderr == ""
        return ran.returncode, json.loads(ran.stdout)


@pytest.fixture
def shell(tmp_path: Path, repo: Path) -> Shell:
    return Shell(tmp_path, repo)


def last_step(trace: Trace) -> int:
    return max(event.step for event in trace.events({"optimizer.step"}))


def test_a_sigkill_loses_what_came_after_the_last_write(shell: Shell) -> None:
    trace = shell.killed(signal.SIGKILL, 40, ALWAYS)
    assert not trace.runs[0].facts.finished
    assert last_step(trace) >= 38
    code, report = shell.check()
    assert code == 0
    assert report["incomplete"] == [
        "rank 0 ended without a last word (killed?): its last events are missing"
    ]


def test_a_signal_that_can_be_caught_loses_nothing(shell: Shell) -> None:
    trace = shell.killed(signal.SIGTERM, 40, TCSTATIC)
    (run,) = trace.runs
    assert (run.facts.finished, run.facts.exit_status) == (True, 128 + signal.SIGTERM)
    assert last_step(trace) == 39


def folder_gone(shell: Shell, tcstatic: Sequence[str]) -> str:
    """Take the folder of a recording away, after which the script goes on as ever; what is told."""
    words = ("train.py", "20", str(shell.trace))
    ran = shell.python(*shell.recorded(*words, tcstatic=tcstatic))
    assert (ran.returncode, ran.stdout) == (0, shell.python("train.py", "20").stdout)
    return ran.stderr


def test_a_folder_that_goes_away_stops_the_recording(shell: Shell) -> None:
    assert "recording stopped (FileNotFoundError: " in folder_gone(shell, ALWAYS)


def test_a_folder_that_goes_away_before_it_is_needed_is_made_again(shell: Shell) -> None:
    assert "recording stopped" not in folder_gone(shell, AT_THE_END)
    kinds = [event.kind for event in open_trace(shell.trace).events()]
    assert kinds.count("optimizer.step") == 20


@pytest.mark.distributed
def test_ranks_of_a_launcher_lie_beside_each_other(shell: Shell) -> None:
    launch = ("-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_port()}")
    script = FIXTURES / "scripts" / "ddp_gloo" / "train.py"
    ran = shell.python(*launch, *shell.recorded(str(script)))
    assert ran.returncode == 0, ran.stderr
    assert_two_ranks(shell)


@pytest.mark.distributed
def test_ranks_that_a_script_starts_lie_beside_each_other(shell: Shell) -> None:
    ran = shell.python(*shell.recorded(str(FIXTURES / "scripts" / "ddp_gloo" / "train.py")))
    assert ran.returncode == 0, ran.stderr
    assert_two_ranks(shell)


def assert_two_ranks(shell: Shell) -> None:
    trace = open_trace(shell.trace)
    assert [(run.facts.rank, run.facts.world_size) for run in trace.runs] == [(0, 2), (1, 2)]
    assert [run.facts.finished for run in trace.runs] == [True, True]
    assert all(run.count > 50 for run in trace.runs)
    for run in trace.runs:
        assert {event.rank for event in run.events({"optimizer.step"})} == {run.facts.rank}
    live = shell.report()
    code, replayed = shell.check()
    assert code == 0
    for part in ("findings", "invariants", "ranks", "incomplete", "probes"):
        assert replayed[part] == live[part], part


def test_a_copy_is_recorded_where_its_environment_says_so(shell: Shell) -> None:
    made = shell.python("-m", "tcstatic", "rewrite", "train.py", "-o", "copy")
    assert made.returncode == 0, made.stderr
    ran = shell.python("copy/train.py", "40", TCSTATIC_TRACE=str(shell.trace))
    assert ran.returncode == 0, ran.stderr
    (run,) = open_trace(shell.trace).runs
    assert sum(1 for _ in run.events({"optimizer.step"})) == 40


def test_a_budget_that_is_given_is_kept_to(shell: Shell) -> None:
    words = shell.recorded("--overhead-budget", "0%", "train.py", "60")
    assert shell.python(*words).returncode == 0
    (run,) = open_trace(shell.trace).runs
    assert run.facts.probes.sampled < 0.5
    assert shell.check()[1]["invariants"] == shell.report()["invariants"]


def test_a_folder_in_use_is_refused_before_the_script_begins(shell: Shell) -> None:
    assert shell.python(*shell.recorded("train.py", "2")).returncode == 0
    ran = shell.python(*shell.recorded("train.py", "2"))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.count("\n") == 1
    assert "expected a new or an empty folder" in ran.stderr


def test_a_folder_into_which_nothing_is_written_yet_is_in_use(shell: Shell) -> None:
    first = [sys.executable, *shell.recorded("train.py", "3", tcstatic=AT_THE_END)]
    with subprocess.Popen(
        first,
        cwd=shell.folder,
        env=shell.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("0 ")
        second = shell.python(*shell.recorded("train.py", "2"))
        process.communicate(timeout=300)
    assert process.returncode == 0
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.count("\n") == 1
    assert "got a folder that another run records into" in second.stderr
    (run,) = open_trace(shell.trace).runs
    assert run.facts.finished
