"""The real thing: ranks of every kind, workers, copies and compiled code, through the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.golden.running import free_port

pytestmark = pytest.mark.slow

# Gradients are never cleared: TCS112 on line 14, from step 1 on.
RANKS = """
import os, sys
import torch, torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
def train(rank=None):
    dist.init_process_group("gloo", **({} if rank is None else {"rank": rank, "world_size": 2}))
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(5):
        loss = model(torch.randn(8, 4)).pow(2).mean()
        loss.backward()
        optimizer.step()  # expect: TCS112 step=1
        if step == 3 and dist.get_rank() == 1:
            if "kill" in sys.argv: os.kill(os.getpid(), 9)
            if "fail" in sys.argv: raise RuntimeError("rank 1")
    dist.destroy_process_group()
if __name__ == "__main__":
    if sys.argv[1] in ("spawn", "fork"):
        mp.start_processes(train, nprocs=2, start_method=sys.argv[1])
        print("ranks are done")
    else:
        train()
"""
LINE = 1 + [line.endswith("step=1") for line in RANKS.splitlines()].index(True)

# Rank 0 averages its gradients, and never steps: what it has found is in the report all the same.
STEPLESS = """
import torch, torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
def train(rank):
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(5):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        for one in model.parameters():
            dist.all_reduce(one.grad)
            one.grad /= 2
        if rank:
            optimizer.step()
    dist.destroy_process_group()
if __name__ == "__main__":
    mp.start_processes(train, nprocs=2, start_method="spawn")
"""

WORKERS = """
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, get_worker_info
class Data(Dataset):
    def __len__(self): return 8
    def __getitem__(self, i):
        if i in (0, 4): print("worker", get_worker_info().id, get_worker_info().seed, flush=True)
        return torch.full((4,), float(i)), torch.rand(1)
if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    for x, y in DataLoader(Data(), 4, num_workers=1, multiprocessing_context=sys.argv[1]):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    print(loss.item(), torch.rand(1).item())
"""

COMPILED = """
import torch
from torch import nn
from torch._dynamo.utils import counters
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
    def forward(self, x):
        x = nn.functional.dropout(self.layer(x), 0.1, training=self.training)
        for _ in range(2):
            x = torch.relu(x).clone()
        return x
model = torch.compile(Net(), backend="eager")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(4):
    optimizer.zero_grad()
    loss = model(torch.ones(2, 4)).sum()
    loss.backward()
    optimizer.step()
print(loss.item(), dict(counters["stats"]), dict(counters["frames"]), dict(counters["graph_break"]))
print(dict(counters["recompiles"]))
"""

Ended = subprocess.CompletedProcess[str]


class Project:
    def __init__(self, folder: Path, repo: Path, temporary: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self.temporary = temporary
        port = free_port()
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(repo),
            "TMPDIR": str(self.temporary),
            "TCSTATIC_CACHE": str(folder / "cache"),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "OMP_NUM_THREADS": "1",
        }
        self.launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2"]
        self.launcher += [f"--master_port={port}"]

    def python(self, *words: str, **environment: str) -> Ended:
        return subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**self.environment, **environment},
            timeout=300,
            check=False,
        )

    def report(self) -> Any:
        return json.loads((self.folder / "out.json").read_text(encoding="utf-8"))

    def left_behind(self) -> list[str]:
        return [name for name in os.listdir(self.temporary) if "tcstatic" in name]


@pytest.fixture
def project(tmp_path: Path, repo: Path) -> Iterator[Project]:
    # A socket's path holds 107 bytes: pytest's own folders are too deep for multiprocessing's.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        yield Project(tmp_path, repo, Path(temporary))


RUN = ("-m", "tcstatic", "run", "--report", "out.json")


def one_finding(project: Project, ran: Ended) -> Any:
    report = project.report()
    assert [(f["code"], f["line"], f["step"]) for f in report["findings"]] == [("TCS112", LINE, 1)]
    assert report["ranks"] == [0, 1]
    assert ran.stderr.count("tcstatic: error TCS112") == 1
    assert ran.stderr.count("tcstatic: invariants:") == 1
    assert project.left_behind() == []
    return report


@pytest.mark.distributed
@pytest.mark.parametrize("how", ["", "fail", "kill"])
def test_ranks_of_torchrun_give_one_report(project: Project, how: str) -> None:
    (project.folder / "train.py").write_text(RANKS, encoding="utf-8")
    ran = project.python(*project.launcher, *RUN, "train.py", f"torchrun-{how}", how)
    report = one_finding(project, ran)
    # Rank 0 fails at a collective without rank 1, unless torchrun ends it before.
    expected = {"": [0], "fail": [1], "kill": [1, 128 + signal.SIGTERM]}[how]
    assert ran.returncode == bool(how) and report["exit_status"] in expected
    named = [line for line in report["incomplete"] if line.startswith("rank 1 ended without")]
    assert len(named) == len(report["incomplete"]) == (how == "kill")


@pytest.mark.distributed
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_ranks_that_the_script_starts_are_watched(project: Project, method: str) -> None:
    (project.folder / "train.py").write_text(RANKS, encoding="utf-8")
    ran = project.python(*RUN, "train.py", method)
    report = one_finding(project, ran)
    assert ran.stdout == "ranks are done\n"
    assert (ran.returncode, report["exit_status"], report["incomplete"]) == (0, 0, [])


@pytest.mark.distributed
def test_what_a_rank_without_steps_has_found_is_in_the_report(project: Project) -> None:
    (project.folder / "train.py").write_text(STEPLESS, encoding="utf-8")
    project.python(*RUN, "train.py")
    report = project.report()
    assert [(f["code"], f["step"], f["rank"]) for f in report["findings"]] == [("TCS501", 0, 1)]
    assert (report["ranks"], report["incomplete"]) == ([0, 1], [])


@pytest.mark.distributed
@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "2"}], ids=["", "size"])
def test_an_error_in_a_rank_counts_for_the_job(
    project: Project, environment: dict[str, str]
) -> None:
    (project.folder / "train.py").write_text(RANKS, encoding="utf-8")
    words = (*RUN, "--on-violation", "fail", "--quiet", "train.py", "fork")
    ran = project.python(*words, **environment)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "ranks are done\n", "")
    assert project.report()["incomplete"] == []


@pytest.mark.distributed
@pytest.mark.parametrize("start", ["torchrun", "spawn", "fork"])
def test_a_copy_is_watched_under_any_launcher_wherever_it_was_moved_to(
    project: Project, start: str
) -> None:
    (project.folder / "train.py").write_text(RANKS, encoding="utf-8")
    written = project.python("-m", "tcstatic", "rewrite", "train.py", "-o", "../copy")
    assert written.returncode == 0, written.stderr
    moved = (project.folder / "../copy").resolve().rename(project.folder / "moved")
    launcher = project.launcher if start == "torchrun" else []
    report = str(project.folder / "out.json")
    ran = project.python(*launcher, "moved/train.py", start, TCSTATIC_REPORT=report)
    merged = one_finding(project, ran)
    assert merged["exit_status"] == ran.returncode == 0
    assert merged["findings"][0]["file"] == "train.py"
    assert merged["script"] == str(moved / "train.py")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_loader_are_left_alone(project: Project, method: str) -> None:
    (project.folder / "train.py").write_text(WORKERS, encoding="utf-8")
    native = project.python("train.py", method)
    watched = project.python(*RUN, "--quiet", "train.py", method)
    assert (watched.stdout, watched.stderr) == (native.stdout, native.stderr)
    assert "worker 0" in watched.stdout
    report = project.report()
    assert (report["ranks"], report["incomplete"], report["findings"]) == ([0], [], [])
    assert project.left_behind() == []


def test_compiled_code_is_traced_as_ever(project: Project) -> None:
    (project.folder / "train.py").write_text(COMPILED, encoding="utf-8")
    native = project.python("train.py")
    watched = project.python(*RUN, "--quiet", "train.py")
    assert (watched.stdout, watched.stderr) == (native.stdout, native.stderr)
    assert native.returncode == 0
