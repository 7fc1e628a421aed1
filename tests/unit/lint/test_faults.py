"""Operators change what they say, where they say, and leave the rest of a program alone."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from tests.properties.faults import OPERATORS, faults_of
from tests.properties.mutants import Mutant

TUTORIALS = Path(__file__).resolve().parents[3] / "fixtures" / "tutorials"
LOOP = """\
import copy
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 3)
    def forward(self, x):
        x = torch.relu(self.one(x))
        return self.two(x)
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
best = None
for epoch in range(3):
    net.train()
    for x, y in data:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    scheduler.step()
    net.eval()
    best = copy.deepcopy(net.state_dict())
"""
CHANGES = {
    "drop-clearing": [("-", "optimizer.zero_grad()")],
    "drop-update": [("-", "optimizer.step()")],
    "drop-backpropagation": [("-", "loss.backward()")],
    "drop-schedule": [("-", "scheduler.step()")],
    "backward-twice": [("+", "loss.backward(retain_graph=True)")],
    "step-twice": [("+", "optimizer.step()")],
    "step-after-loop": [("-", "optimizer.step()"), ("+", "optimizer.step()")],
    "schedule-each-batch": [("+", "scheduler.step()"), ("-", "scheduler.step()")],
    "training-mode-once": [("+", "net.train()"), ("-", "net.train()")],
    "model-made-again": [("+", "net = Net()")],
    "freeze-a-part": [("+", "net.one.requires_grad_(False)")],
    "no-rate": [
        ("-", "optimizer = torch.optim.SGD(net.parameters(), lr=0.1)"),
        ("+", "optimizer = torch.optim.SGD(net.parameters(), lr=0.0)"),
    ],
    "optimizer-of-a-part": [
        ("-", "optimizer = torch.optim.SGD(net.parameters(), lr=0.1)"),
        ("+", "optimizer = torch.optim.SGD(net.two.parameters(), lr=0.1)"),
    ],
    "detach-in-forward": [
        ("-", "x = torch.relu(self.one(x))"),
        ("+", "x = torch.relu(self.one(x)).detach()"),
    ],
    "layer-made-in-forward": [
        ("-", "return self.two(x)"),
        ("+", "return nn.Linear(4, 3)(x)"),
    ],
    "layer-replaced-in-forward": [("+", "self.one = nn.Linear(4, 4)")],
    "softmax-into-loss": [
        ("-", "loss = nn.functional.cross_entropy(net(x), y)"),
        ("+", "loss = nn.functional.cross_entropy(torch.softmax(net(x), dim=1), y)"),
    ],
    "kept-by-reference": [
        ("-", "best = copy.deepcopy(net.state_dict())"),
        ("+", "best = net.state_dict()"),
    ],
}


def changes(before: str, after: str) -> list[tuple[str, str]]:
    """The lines that a mutation takes away and puts in, in the order of the text."""
    lines = difflib.ndiff(before.split("\n"), after.split("\n"))
    return [(line[0], line[2:].strip()) for line in lines if line[0] in "+-"]


@pytest.fixture(scope="module")
def mutants() -> dict[str, Mutant]:
    """The first mutant of each operator."""
    first: dict[str, Mutant] = {}
    for mutant in faults_of(LOOP):
        first.setdefault(mutant.kind, mutant)
    return first


@pytest.mark.parametrize("name", CHANGES)
def test_an_operator_changes_what_it_says(name: str, mutants: dict[str, Mutant]) -> None:
    assert sorted(changes(LOOP, mutants[name].text)) == sorted(CHANGES[name])


def test_every_operator_says_why_it_does_harm() -> None:
    names = [one.name for one in OPERATORS]
    assert len(names) == len(set(names))
    assert all(one.fault.endswith(".") and one.family for one in OPERATORS)


def test_every_operator_breaks_some_tutorial_and_touches_little_of_it() -> None:
    used = set()
    for path in sorted(TUTORIALS.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        seen = {text}
        for mutant in faults_of(text):
            used.add(mutant.kind)
            assert mutant.text not in seen, (path.name, mutant.kind, mutant.edit)
            seen.add(mutant.text)
            lines = mutant.text.count("\n") + 1
            assert all(1 <= line <= lines for line in mutant.lines)
            assert abs(len(mutant.text) - len(text)) < 400
    assert {one.name for one in OPERATORS} <= used
