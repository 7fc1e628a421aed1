"""Where mutants may break a file: not where a name is that of something else."""

from __future__ import annotations

import pytest

from tests.properties.mutants import mutants_of

LOSSES = """\
import torch
from torch import nn
def classify(net, optimizer, data):
    loss = nn.{first}()
    for x, y in data:
        optimizer.zero_grad()
        out = net(x)
        value = loss(out, y)
        value.backward()
        optimizer.step()
def predict(net, data):
    loss = nn.{second}()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in data:
        optimizer.zero_grad()
        out = net(x)
        value = loss(out, y)
        value.backward()
        optimizer.step()
"""
LOADERS = """\
import torch
from torch.utils.data import DataLoader
def words(size):
    batches = DataLoader(Words(), size, shuffle=True)
    return batches
def train(net, batches):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in batches:
        optimizer.zero_grad()
        value = loss(net(x), y)
        value.backward()
        optimizer.step()
"""


def sites(text: str, kind: str) -> list[int]:
    return sorted(one.site for one in mutants_of(text) if one.kind == kind)


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("CrossEntropyLoss", "CrossEntropyLoss", [8, 17]),
        ("CrossEntropyLoss", "MSELoss", [8]),
        ("L1Loss", "MSELoss", []),
    ],
)
def test_a_loss_is_the_one_of_its_own_function(first: str, second: str, found: list[int]) -> None:
    text = LOSSES.format(first=first, second=second)
    assert sites(text, "swap-loss-arguments") == found


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("", []),
        ("def main():\n    train(net, words(8))\n", [4]),
        ("def main():\n    words(8)\n    batches = DataLoader(data, shuffle=False)\n", []),
    ],
)
def test_a_loader_is_one_that_a_loop_reads(more: str, found: list[int]) -> None:
    assert sites(LOADERS + more, "no-shuffle") == found


COPIES = """\
import torch
def compare(net, copy, data):
    one = torch.optim.SGD(net.parameters(), lr=0.1)
    two = torch.optim.SGD(copy.parameters(), lr=0.1)
    for x, y in data:
        loss(net(x), y).backward()
        one.step()
        one.zero_grad()
        {gradients}
        two.step()
        two.zero_grad()
"""


@pytest.mark.parametrize(
    ("gradients", "found"),
    [
        ("loss(copy(x), y).backward()", [8, 11]),
        ("for w, v in zip(copy.parameters(), net.parameters()):\n            w.grad = v.grad", [8]),
    ],
)
def test_gradients_that_are_set_by_hand_need_no_clearing(gradients: str, found: list[int]) -> None:
    assert sites(COPIES.format(gradients=gradients), "clear-wrong-optimizer") == found


@pytest.mark.parametrize(("layer", "found"), [("Linear(4, 4)", [6]), ("Dropout(0.1)", [])])
def test_one_layer_without_weights_is_as_good_as_several(layer: str, found: list[int]) -> None:
    text = f"""\
import torch
from torch import nn
class Stack(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.layers = nn.ModuleList([nn.{layer} for _ in range(depth)])
    def forward(self, x):
        return x
"""
    assert sites(text, "layer-times-n") == found
