"""Which reads of a gradient are a use of it."""

from __future__ import annotations

import ast

import pytest

from tcstatic.program.source import uses_gradients

LOOKS = """
p.grad = None
p.grad.zero_()
p.grad.data *= 0.5
p.grad.detach().clamp_(-1, 1)
if p.grad is not None: print(p.grad)
total += p.grad.data.norm(2).item() ** 2
print(f"{p.grad}")
writer.add_histogram("gradient", p.grad, step)
assert torch.isfinite(p.grad).all()
assert not p.grad.isnan().any()
"""
USES = """
p.data -= 0.1 * p.grad.data
grads = [p.grad for p in parameters]
fisher += p.grad.detach() ** 2
maps.append(image.grad.abs().cpu())
adversarial = image + 0.1 * image.grad.sign()
dist.all_reduce(p.grad)
g = p.grad.clone()
first = p.grad[0]
"""


@pytest.mark.parametrize("line", LOOKS.strip().splitlines())
def test_what_is_only_looked_at_is_not_used(line: str) -> None:
    assert not uses_gradients(ast.parse(line))


@pytest.mark.parametrize("line", USES.strip().splitlines())
def test_what_is_kept_sent_or_computed_with_is_used(line: str) -> None:
    assert uses_gradients(ast.parse(line))
