"""What a program does to gradients by hand: what clears them, and what only looks so."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.unit.paths.test_assumptions import found

PROGRAM = """\
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for x, y in [(torch.randn(4, 8), torch.zeros(4).long())] * 8:
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
"""
EACH = """\
for p in model.parameters():
    if p.grad is not None:
        {}
"""


def stepped_without_clearing(folder: Path, after: str) -> bool:
    """Whether the step is found to follow gradients that were not cleared."""
    lines = found(folder, PROGRAM + textwrap.indent(after, "    "), "TCS112")
    assert lines in ([], [9])
    return bool(lines)


@pytest.mark.parametrize(
    "statement",
    [
        "p.grad = None",
        "del p.grad",
        "p.grad *= 0",
        "p.grad -= p.grad",
        "p.grad = 0 * p.grad",
        "p.grad = torch.zeros_like(p)",
        "p.grad.mul_(0)",
        "p.grad.sub_(p.grad)",
        "p.grad.fill_(0.0)",
        "p.grad.copy_(torch.zeros_like(p.grad))",
        "p.grad.data *= 0",
        "p.grad.data -= p.grad.data",
        "p.grad.data.mul_(0)",
        "p.grad.data.zero_()",
        "p.grad.data.fill_(value=0)",
        "p.grad.data.view(-1).zero_()",
        "p.grad.data = torch.zeros_like(p.grad)",
        "p.grad.data = p.grad.new_zeros(p.grad.shape)",
        "p.grad.data = p.grad.data * 0",
        "p.grad.data[...] = 0.0",
        "p.grad.data[:] = 0",
        "p.grad.detach_().zero_()",
        "p.grad.detach().zero_()",
        "p.grad.requires_grad_(False).zero_()",
        "p.grad.numpy().fill(0)",
        "g = p.grad; g *= 0",
        "torch.zero_(p.grad)",
        "torch.mul(p.grad, 0, out=p.grad)",
        "nn.init.zeros_(p.grad)",
        "nn.init.constant_(p.grad, 0)",
    ],
)
def test_gradients_that_are_cleared_one_by_one(tmp_path: Path, statement: str) -> None:
    assert not stepped_without_clearing(tmp_path, EACH.format(statement))


@pytest.mark.parametrize(
    "statements",
    [
        "torch._foreach_zero_([p.grad for p in model.parameters()])",
        "torch._foreach_mul_([p.grad for p in model.parameters() if p.grad is not None], 0)",
        "grads = [p.grad for p in model.parameters()]\ntorch._foreach_sub_(grads, grads)",
        "grads = tuple(p.grad for p in optimizer.param_groups[0]['params'])\n"
        "torch._foreach_zero_(grads)",
        "grads = []\nfor p in model.parameters():\n    grads.append(p.grad)\n"
        "torch._foreach_zero_(grads)",
        "for g in [p.grad for p in model.parameters()]:\n    g.zero_()",
        "for group in optimizer.param_groups:\n    for p in group['params']:\n"
        "        p.grad.data *= 0",
        "for layer in model:\n    if isinstance(layer, nn.Linear):\n"
        "        layer.weight.grad.zero_()\n        layer.bias.grad.zero_()",
        "model.apply(lambda m: [p.grad.zero_() for p in m.parameters(recurse=False)])",
    ],
)
def test_gradients_that_are_cleared_together(tmp_path: Path, statements: str) -> None:
    assert not stepped_without_clearing(tmp_path, statements)


@pytest.mark.parametrize(
    "statement",
    [
        "p.grad *= 0.9",
        "p.grad /= 2",
        "p.grad.mul_(0.5)",
        "p.grad.data *= 0.5",
        "p.grad.data *= loss.item()",
        "p.grad.data.mul_(0.5)",
        "p.grad.data = p.grad.data * 0.5",
        "p.grad * 0",
        "p.data -= 0 * p.grad",
        "n = p.grad.clone(); n.zero_()",
        "g = p.grad.data.clone(); g *= 0",
        "g = torch.zeros_like(p.grad)",
        "print(p.grad.norm())",
        "torch._foreach_mul_([p.grad], 0.5)",
    ],
)
def test_gradients_that_are_not_cleared(tmp_path: Path, statement: str) -> None:
    assert stepped_without_clearing(tmp_path, EACH.format(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "p.grad *= loss.item() > 1",
        "p.grad.add_(p.grad, alpha=-1)",
        "p.grad = torch.autograd.grad(loss, p)[0]",
        "p.grad[0] = 0",
    ],
)
def test_what_may_clear_is_not_reported(tmp_path: Path, statement: str) -> None:
    assert not stepped_without_clearing(tmp_path, EACH.format(statement))


def test_a_buffer_of_noughts_that_is_filled_is_a_gradient(tmp_path: Path) -> None:
    program = """\
        import torch
        from torch import nn

        model = nn.Linear(4, 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        for _ in range(25):
            grads = [torch.zeros_like(p) for p in model.parameters()]
            for p, g in zip(model.parameters(), grads):
                g.add_(torch.randn_like(p))
            for p, g in zip(model.parameters(), grads):
                p.grad = g
            optimizer.step()
    """
    assert found(tmp_path, program, "TCS111") == []
