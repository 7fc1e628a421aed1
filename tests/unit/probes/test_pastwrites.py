"""What of a program's own source writes in ways that torch does not count."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tcstatic.runtime.probes.pastwrites import (
    averages_weights,
    sets_rates,
    sources,
    writes_past_torch,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a program of one module."""
    module = ModuleType("of_the_program")
    module.__file__ = str(tmp_path / "train.py")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "layer.weight.data[0] = row",
        "layer.weight.data *= 0.9",
        "layer.weight.data.mul_(0.9)",
        "layer.weight.data[3].zero_()",
        "weight = layer.weight.data\nweight[3] = 0",
        "for one in [1]:\n    a, b = p.data, 2\n    a.clamp_(-1, 1)"
        if False
        else "a = p.data\na.mul_(2)",
        "p.detach().numpy()[:] = kept",
        "array = p.detach().cpu().numpy()\narray += 1",
        "dist.recv(p.data, src=0)",
        "np.copyto(p.detach().numpy(), kept)",
    ],
)
def test_what_writes_past_torch(folder: Path, text: str) -> None:
    (folder / "train.py").write_text(text)
    assert writes_past_torch(str(folder))


@pytest.mark.parametrize(
    "text",
    [
        "norm = p.data.norm()",
        "for p in model.parameters():\n    p.mul_(2)",
        "plt.plot(losses.numpy())",
        "loader = torch.utils.data.DataLoader(rows)\nloader.append(3)",
        "this is no source (",
    ],
)
def test_what_does_not(folder: Path, text: str) -> None:
    (folder / "train.py").write_text(text)
    assert not writes_past_torch(str(folder))


def test_rates_that_are_set(folder: Path) -> None:
    (folder / "train.py").write_text("print(group['lr'])")
    assert not sets_rates(str(folder))
    (folder / "train.py").write_text("for group in groups:\n    group['lr'] = 1")
    assert not sets_rates(str(folder / "elsewhere"))


def test_modules_elsewhere_are_not_the_programs(folder: Path) -> None:
    assert sources(str(folder)) == [str(folder / "train.py")]
    assert sources(str(folder / "other")) == []


@pytest.mark.parametrize(
    ("text", "averages"),
    [
        ("for p in model.parameters():\n    dist.all_reduce(p.data)", True),
        ("flat = parameters_to_vector(ps)\ndist.all_reduce(flat)", True),
        ("averager.average_parameters(model.parameters())", True),
        ("with LocalSGD(accelerator=accelerator, model=model) as local:\n    pass", True),
        ("dist.all_reduce(p.grad)\ndist.all_reduce(loss)\ndist.all_gather(scores, score)", False),
        ("model.no_sync()", False),
    ],
)
def test_whether_weights_may_be_averaged(folder: Path, text: str, averages: bool) -> None:
    (folder / "train.py").write_text(text)
    assert averages_weights(str(folder)) is averages
