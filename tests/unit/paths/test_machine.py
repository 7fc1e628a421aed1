"""What the abstract machine sees of a program."""

from pathlib import Path

import pytest

from tests.unit.paths.exploring import events, kinds

TRAIN = """
import torch
from torch import nn
import torch.nn.functional as F
"""


def test_calls_are_followed_across_files(tmp_path: Path) -> None:
    found = kinds(
        tmp_path,
        TRAIN
        + """
from engine import train
model = nn.Linear(2, 2)
train(model, torch.optim.SGD(model.parameters(), lr=0.1), data)
""",
        engine="""
import torch.nn.functional as F
def train(net, opt, batches):
    for x, y in batches:
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
""",
    )
    assert found == [
        "optimizer.new",
        "optimizer.zero_grad",
        "model.forward",
        "loss.forward",
        "loss.backward",
        "optimizer.step",
    ]


@pytest.mark.parametrize(
    "made",
    [
        "torch.optim.Adam(model.parameters())",
        "getattr(torch.optim, name)(model.parameters(), lr=0.1)",
        "optims[kind](model.parameters(), lr=0.1)",
        "build(model)",
        "Mine(model.parameters(), lr=0.1)",
        "functools.partial(torch.optim.SGD, lr=0.1)(model.parameters())",
        "torch.optim.SGD([{'params': [p for p in model.parameters() if p.requires_grad]}], lr=0.1)",
    ],
)
def test_an_optimizer_is_known_however_it_is_made(tmp_path: Path, made: str) -> None:
    text = f"""
import functools
import torch
from torch import nn
class Mine(torch.optim.SGD):
    pass
def build(m):
    return torch.optim.SGD(m.parameters(), lr=0.1)
optims = {{"sgd": torch.optim.SGD, "adam": torch.optim.Adam}}
model = nn.Linear(2, 2)
opt = {made}
for x in data:
    loss = model(x).sum()
    loss.backward()
    opt.step()
"""
    backward, step = events(tmp_path, text, "loss.backward", "optimizer.step")

    assert len(backward.subjects["optimizer"]) == len(step.subjects["optimizer"]) >= 1
    assert not step.assumed


def test_a_backward_reaches_the_optimizer_of_the_model_that_was_called(tmp_path: Path) -> None:
    text = (
        TRAIN
        + """
g, d = nn.Linear(2, 2), nn.Linear(2, 1)
opt_g = torch.optim.Adam(g.parameters())
opt_d = torch.optim.Adam(d.parameters())
for z in data:
    d(g(z).detach()).mean().backward()
    opt_d.step()
    d(g(z)).mean().backward()
    opt_g.step()
"""
    )
    first, of_d, second, of_g = events(tmp_path, text, "loss.backward", "optimizer.step")

    assert len(first.subjects["optimizer"]) == 1
    assert len(second.subjects["optimizer"]) == 2
    assert of_d.subjects != of_g.subjects


def test_modes_are_known_through_methods_and_parts(tmp_path: Path) -> None:
    text = (
        TRAIN
        + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    def forward(self, x):
        return self.body(x)
model = Net().to("cpu")
model(x)
model.eval()
with torch.no_grad():
    model(x)
model.train()
model(x).sum().backward()
"""
    )
    found = events(tmp_path, text, "model.forward")

    assert [one.values["training"] for one in found] == [True, False, True]
    assert [one.facts.get("stage") for one in found] == [None, "evaluate", "train"]


@pytest.mark.parametrize(
    ("loss", "connected"),
    [
        ("loss", True),
        ("loss.detach().requires_grad_()", False),
        ("torch.tensor(loss.item(), requires_grad=True)", False),
        ("loss / 4 + 0.1", True),
        ("sum([loss, loss])", True),
    ],
)
def test_a_loss_is_connected_or_cut(tmp_path: Path, loss: str, connected: bool) -> None:
    text = (
        TRAIN
        + f"""
model = nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in data:
    loss = F.cross_entropy(model(x), y)
    ({loss}).backward()
    optimizer.step()
"""
    )
    assert events(tmp_path, text, "loss.backward")[0].values.get("connected") is connected


def test_parameters_replaced_after_the_optimizer_was_built_are_told_at_its_step(
    tmp_path: Path,
) -> None:
    text = (
        TRAIN
        + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 10)
    def forward(self, x):
        return self.head(self.body(x))
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model.head = nn.Linear(4, 2)
for x, y in data:
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
"""
    )
    step = events(tmp_path, text, "optimizer.step")[0]

    assert step.values["replaced"] is True


def test_objects_given_to_unknown_code_may_be_anything_from_there_on(tmp_path: Path) -> None:
    text = (
        TRAIN
        + """
from somewhere import prepare
model = nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
prepare(model, optimizer)
optimizer.step()
"""
    )
    found = events(tmp_path, text, "call", "optimizer.step")
    (wild,) = [one for one in found if one.wild]

    (step,) = [one for one in found if one.kind == "optimizer.step"]

    assert set(step.subjects["optimizer"]) <= wild.maybe


def test_a_function_that_nobody_calls_is_explored_with_unknown_arguments(tmp_path: Path) -> None:
    text = """
import torch
def fit(model: torch.nn.Module, optimizer: torch.optim.Optimizer, loader):
    for x, y in loader:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
"""
    backward, step = events(tmp_path, text, "loss.backward", "optimizer.step")

    assert step.place.function == "fit"
    assert not step.assumed
    assert backward.assumed
    assert backward.subjects == step.subjects


def test_a_program_that_recurses_ends(tmp_path: Path) -> None:
    text = """
import torch
def walk(node, optimizer):
    for child in node:
        walk(child, optimizer)
    optimizer.step()
walk(tree, torch.optim.SGD(parameters, lr=0.1))
"""
    assert kinds(tmp_path, text) == ["optimizer.new", "optimizer.step"]


@pytest.mark.parametrize(
    "manager",
    [
        """
@contextlib.contextmanager
def update(opt):
    opt.zero_grad()
    yield
    opt.step()
""",
        """
class update:
    def __init__(self, opt):
        self.opt = opt
    def __enter__(self):
        self.opt.zero_grad()
    def __exit__(self, *error):
        self.opt.step()
""",
    ],
)
def test_a_manager_of_the_project_goes_around_the_body_of_its_with(
    tmp_path: Path, manager: str
) -> None:
    text = f"""
import contextlib
{TRAIN}{manager}
model = nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with update(optimizer):
    F.mse_loss(model(x), y).backward()
"""
    assert kinds(tmp_path, text) == [
        "optimizer.new",
        "optimizer.zero_grad",
        "model.forward",
        "loss.forward",
        "loss.backward",
        "optimizer.step",
    ]


def test_a_body_that_leaves_its_with_is_seen_behind_the_manager(tmp_path: Path) -> None:
    text = f"""
import contextlib
{TRAIN}
@contextlib.contextmanager
def timed():
    yield
    print("done")
model = nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in data:
    with timed():
        if not x:
            continue
        F.mse_loss(model(x), y).backward()
        optimizer.step()
"""
    assert "optimizer.step" in kinds(tmp_path, text)


def test_a_comprehension_over_a_few_models_makes_an_optimizer_for_each(tmp_path: Path) -> None:
    text = f"""{TRAIN}
first, second = nn.Linear(2, 2), nn.Linear(2, 2)
one, other = (torch.optim.SGD(model.parameters(), lr=0.1) for model in (first, second))
one.step()
other.step()
"""
    steps = events(tmp_path, text, "optimizer.step")
    assert len({step.subjects["optimizer"] for step in steps}) == 2


def test_a_parameter_of_a_module_belongs_to_its_optimizer_wherever_it_is_used(
    tmp_path: Path,
) -> None:
    text = f"""{TRAIN}
class Curve(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
    def at(self, x):
        return self.scale * x
curve = Curve()
optimizer = torch.optim.SGD(curve.parameters(), lr=0.1)
curve.at(x).sum().backward()
optimizer.step()
"""
    backward, step = events(tmp_path, text, "loss.backward", "optimizer.step")
    assert backward.subjects == step.subjects
