"""Arguments of a loss that are swapped, where the batches come from a parameter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.test_lint_fixtures import found_in

FIT = """\
import torch
import torch.nn.functional as F
from torch import nn


def fit({given}):
    model = nn.Linear(8, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    criterion = {criterion}
    for inputs, labels in {given}:
        optimizer.zero_grad()
        loss = criterion({first}, {second})
        loss.backward()
        optimizer.step()
"""
CROSS = "nn.CrossEntropyLoss()"


@pytest.mark.parametrize(
    ("given", "criterion", "first", "second", "swapped"),
    [
        ("loader", CROSS, "labels", "model(inputs)", True),
        ("train_loader", "F.binary_cross_entropy", "labels", "model(inputs).sigmoid()", True),
        ("loader", CROSS, "model(inputs)", "labels", False),
        # what these hand out may come from another network
        ("pairs", CROSS, "labels", "model(inputs)", False),
        ("loader", CROSS, "teacher(inputs)", "model(inputs)", False),
        # either way it is the same
        ("loader", "nn.MSELoss()", "labels", "model(inputs)", False),
        ("loader", "nn.L1Loss()", "labels", "model(inputs)", False),
    ],
)
def test_a_loss_gets_its_arguments_in_order(
    tmp_path: Path, given: str, criterion: str, first: str, second: str, swapped: bool
) -> None:
    text = FIT.format(given=given, criterion=criterion, first=first, second=second)
    (tmp_path / "main.py").write_text(text)
    assert found_in(tmp_path) == ({("main.py", "TCS409", 12)} if swapped else set())
