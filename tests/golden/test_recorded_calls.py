"""A run that records its calls leaves what `python` leaves; and what it records of a project."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.golden.running import TCSTATIC, runs
from tests.golden.test_harmless import (
    COMPILED,
    CRASHES,
    HEALTHY,
    LIGHT_CRASHES,
    RANKED,
    SCRIPTS,
    Both,
    name,
    project,
)

# The frame in which Python runs out of them is one that we add.
CAUGHT = [crash for crash in LIGHT_CRASHES if crash != "deep recursion"]


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path, recorded=True)


@pytest.mark.parametrize("script", SCRIPTS + HEALTHY[::4], ids=name)
def test_every_bit_is_the_same(both: Both, script: Path) -> None:
    ranks = 2 if name(script).partition("-")[0] in RANKED else 1
    words = ("--out", "out") if script in SCRIPTS else ()
    both.fork(script, *words, ranks=ranks, observed=True)
    assert both.same().status == (0,) * ranks
    both.same_state(ranks)


@pytest.mark.parametrize("crash", CRASHES)
def test_tracebacks_are_the_same(both: Both, crash: str) -> None:
    both.fork(project(both.folder, CRASHES[crash]))
    ended = both.same()
    assert "Traceback" in ended.stderr[0]


@pytest.mark.parametrize("crash", CAUGHT)
def test_tracebacks_without_torch_are_the_same(both: Both, crash: str) -> None:
    both.fork(project(both.folder, LIGHT_CRASHES[crash]))
    both.same()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_code_is_the_same(both: Both, backend: str) -> None:
    both.fork(project(both.folder, COMPILED), backend)
    ended = both.same()
    assert ended.status == (0,), ended.stderr


ENGINE = """\
import torch
import torch.nn.functional as F
from torch import nn


def scale(x, factor=2.0):
    return x * factor


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x, gain=1.0):
        x = F.dropout(F.relu(self.linear(x)), 0.1, training=self.training)
        return scale(x, factor=gain)


class Engine:
    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer

    def fit(self, batches, epochs=1):
        return [self.step(x, y) for _ in range(epochs) for x, y in batches]

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.mse_loss(self.model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=1.0)
        self.optimizer.step()
        return loss.item() > 0
"""
TRAIN = """\
import torch
from torch import nn
from engine import Block, Engine

torch.manual_seed(0)
model = Block(4)
nn.init.zeros_(model.linear.bias)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
engine = Engine(model, optimizer)
engine.fit([(torch.randn(8, 4), torch.randn(8, 4))] * 3, epochs=2)
with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
    model(torch.ones(2, 4))
model.linear.weight.data.mul_(0.5)
"""


def called(folder: Path, *words: str) -> list[dict[str, Any]]:
    """The `call` events of the project, from its trace."""
    (folder / "engine.py").write_text(ENGINE, encoding="utf-8")
    (folder / "train.py").write_text(TRAIN, encoding="utf-8")
    ended = runs().fork(*TCSTATIC, *words, "--trace", "trace", "train.py", cwd=folder)
    assert ended.status == (0,), ended.stderr
    shown = runs().fork(*TCSTATIC, "trace", "export", "trace", "--kind", "call", cwd=folder)
    events = [json.loads(line) for line in shown.stdout[0].splitlines()]
    return [event for event in events if "name" in event["values"]]


def test_the_calls_of_a_project(tmp_path: Path) -> None:
    events = called(tmp_path, "run", "--quiet")
    assert Counter(event["values"]["name"] for event in events) == {
        "engine.Block": 1,
        "engine.Block.forward": 7,
        "engine.Engine": 1,
        "engine.Engine.fit": 1,
        "engine.Engine.step": 6,
        "engine.scale": 7,
        "torch.Tensor.mul_": 1,
        "torch.optim.Optimizer.__init__": 1,
        "torch.amp.autocast": 1,
        "torch.nn.Linear": 7,
        "torch.nn.functional.dropout": 7,
        "torch.nn.functional.mse_loss": 6,
        "torch.nn.functional.relu": 7,
        "torch.nn.init.zeros_": 1,
        "torch.nn.utils.clip_grad_norm_": 6,
    }
    (made,) = (one for one in events if one["values"]["name"] == "engine.Engine")
    assert made["where"]["line"] == 9
    assert set(made["subjects"]) == {"model", "optimizer", "made", "given"}
    linear = [one for one in events if one["values"]["name"] == "torch.nn.Linear"]
    assert linear[0]["values"] == {
        "name": "torch.nn.Linear",
        "arg_self_type": "Linear",
        "arg_self_training": True,
        "arg_self_optimized": "all",
        "arg_input_type": "Tensor",
        "arg_input_dtype": "float32",
        "arg_input_device": "cpu",
        "arg_input_requires_grad": False,
        "arg_input_ndim": 2,
        "arg_input_rows": 8,
        "arg_input_width": 4,
        "result_type": "Tensor",
        "result_dtype": "float32",
        "result_device": "cpu",
        "result_requires_grad": True,
        "result_ndim": 2,
        "result_rows": 8,
        "result_width": 4,
    }
    last = linear[-1]
    assert last["values"]["result_dtype"] == last["values"]["autocast"] == "bfloat16"
    assert last["context"]["grad_enabled"] is False
    assert [one["step"] for one in linear] == [0, 1, 2, 3, 4, 5, 6]
    assert {one["values"]["arg_max_norm"] for one in events if "clip" in one["values"]["name"]} == {
        1.0
    }


def test_without_a_trace_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "engine.py").write_text(ENGINE, encoding="utf-8")
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    shown = runs().fork(*TCSTATIC, "rewrite", "--show-rewrite", "train.py", cwd=tmp_path)
    assert "after" in shown.stdout[0]
    assert "Engine)(" not in shown.stdout[0]
    asked = runs().fork(*TCSTATIC, "rewrite", "--show-rewrite", "--calls", "train.py", cwd=tmp_path)
    assert "Engine)(" in asked.stdout[0]
