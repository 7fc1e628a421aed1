"""What the providers of facts say of small programs: values of happenings, by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tcstatic.program.paths import Project, Root, explore, happenings

START = """\
import os
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x, y = torch.randn(8, 4), torch.zeros(8).long()
"""
TRAIN = "loss = F.cross_entropy(model(x), y)\n"
STEP = """\
optimizer.zero_grad()
loss.backward()
optimizer.step()
"""


def told(folder: Path, text: str, name: str) -> list[tuple[int, Any]]:
    """The lines at which a value was told in the program that is run, with the value."""
    script = folder / "main.py"
    script.write_text(text)
    found: list[tuple[int, Any]] = []

    def visit(root: Root) -> None:
        if not root.name:
            for one in happenings(root.block):
                if name in one.values:
                    found.append((one.place.node.lineno, one.values[name]))

    explore(Project(folder), script, visit)
    return found


@pytest.mark.parametrize(
    ("condition", "sided"),
    [
        ("dist.get_rank() == 0", True),
        ("not dist.get_rank()", True),
        ("dist.is_initialized() and dist.get_rank() == 0", True),
        ("int(os.environ['RANK']) < 1", True),
        ("os.environ.get('RANK') is not None", False),
        ("'RANK' in os.environ", False),
        ("dist.get_world_size() > 1", False),
        ("dist.is_initialized()", False),
        ("dist.get_rank() >= 0", False),
        ("dist.get_rank() in (0, 1)", False),
    ],
)
def test_a_collective_behind_a_condition(tmp_path: Path, condition: str, sided: bool) -> None:
    text = f"{START}dist.init_process_group()\nif {condition}:\n    dist.barrier()\n"
    text += TRAIN + STEP
    assert (12, True) in told(tmp_path, text, "one_sided") or not sided
    assert all(value is sided for _, value in told(tmp_path, text, "one_sided"))


@pytest.mark.parametrize(
    ("path", "everywhere"),
    [
        ("'model.pt'", True),
        ("f'model{dist.get_rank()}.pt'", False),
        ("os.path.join('a', 'b')", True),
    ],
)
def test_a_save_on_every_rank(tmp_path: Path, path: str, everywhere: bool) -> None:
    text = f"{START}dist.init_process_group()\ntorch.save(model.state_dict(), {path})\n"
    text += TRAIN + STEP
    assert told(tmp_path, text, "every_rank") == [(11, everywhere)]


@pytest.mark.parametrize(
    ("added", "lost"),
    [
        ("F.mse_loss(scores, scores * 0).item()", True),
        ("0.1 * scores.square().mean().detach()", True),
        ("float(scores.mean())", True),
        ("scores.mean()", False),
        ("scores.mean() * scores.mean().item()", False),
        ("x.mean().item()", False),
        ("F.mse_loss(scores, scores.detach())", False),
        ("0.0", False),
    ],
)
def test_a_term_of_the_loss(tmp_path: Path, added: str, lost: bool) -> None:
    loss = f"scores = model(x)\nloss = F.cross_entropy(scores, y) + {added}\n"
    found = told(tmp_path, START + loss + STEP, "lost_term")
    assert [value for _, value in found] == [lost]
    assert found[0][0] == (11 if lost else 13)


@pytest.mark.parametrize(
    ("seed", "again"),
    [("0", True), ("seed", True), ("step", False), ("seed + step", False)],
)
def test_a_seed_in_the_loop(tmp_path: Path, seed: str, again: bool) -> None:
    body = f"torch.manual_seed({seed})\nloss = F.cross_entropy(model(x), y)\n{STEP}"
    inner = "".join(f"    {line}\n" for line in body.splitlines())
    text = f"{START}seed = int(os.environ['SEED'])\nfor step in range(9):\n{inner}"
    assert told(tmp_path, text, "seed_again") == [(12, again)]


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        ("", "model.eval()", [True]),
        ("model.train()", "model.eval()", []),
        ("", "if step == 3:\n        model.eval()", [True]),
        ("", "model.eval()\n    model.train()", []),
    ],
)
def test_eval_mode_that_is_left_on(
    tmp_path: Path, before: str, after: str, left: list[bool]
) -> None:
    start = START.replace("nn.Linear(4, 2)", "nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))")
    body = f"{before or 'pass'}\nloss = F.cross_entropy(model(x), y)\n{STEP}"
    inner = "".join(f"    {line}\n" for line in body.splitlines())
    text = f"{start}for step in range(9):\n{inner}    {after}\n"
    assert [value for _, value in told(tmp_path, text, "left_in_eval")] == left


def test_a_module_that_is_only_called_is_looked_at(tmp_path: Path) -> None:
    losses = """\
from torch import bincount, nn


def weighed(labels):
    counts = bincount(labels, minlength=2).float()
    weights = counts / counts.sum()
    return nn.CrossEntropyLoss(weight=weights)
"""
    (tmp_path / "losses.py").write_text(losses)
    text = START + "from losses import weighed\nloss = weighed(y)(model(x), y)\n" + STEP
    assert told(tmp_path, text, "weighs_frequent") == [(6, True)]


def test_layers_before_a_rounding_are_cut_off(tmp_path: Path) -> None:
    text = """\
import torch
from torch import nn
from torch.nn import functional as F

x, y = torch.randn(8, 4), torch.zeros(8).long()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x):
        h = torch.sigmoid(self.body(x))
        return self.head({used})


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
    assert told(tmp_path, text.replace("{used}", "torch.round(h * 15) / 15"), "cut_off") == [
        (15, True)
    ]
    through = "h + (torch.round(h * 15) / 15 - h).detach()"
    assert told(tmp_path, text.replace("{used}", through), "cut_off") == []
