"""Programs in the shapes of real code, in files: each finding on the line that is announced."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

import pytest

from tests.golden.test_lint_fixtures import found_in
from tests.rules.test_lint_examples import expected

CHOSEN: Final = """\
    import torch
    import torch.nn.functional as F
    from torch import nn


    def weights_of(model):
        groups = [], []
        for module in model.modules():
            for name, weight in module.named_parameters(recurse=False):
                groups[name == "bias"].append(weight)
        return groups


    def train(args, loader):
        model = torch.hub.load(args.repository, args.model)
        weights, biases = weights_of(model)
        if args.optimizer == "adam":
            optimizer = torch.optim.Adam(weights, lr=args.rate)
        elif args.optimizer == "sgd":
            optimizer = torch.optim.SGD(weights, lr=args.rate)
        else:
            raise ValueError(args.optimizer)
        optimizer.add_param_group({"params": biases, "weight_decay": 0.0})
        scaler = torch.cuda.amp.GradScaler()
        for images, labels in loader:
            with torch.cuda.amp.autocast():
                loss = F.cross_entropy(model(images), labels)
            scaler.scale(loss).backward()
"""
CHOSEN_REST: Final = """\
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
"""

COPIED: Final = """\
    import copy

    import torch
    import torch.nn.functional as F
    from torch import nn


    def compare(inputs, labels):
        first = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        second = copy.deepcopy(first)
        one = torch.optim.Adam(first.parameters())
        two = torch.optim.Adam(second.parameters())
        for _ in range(10):
            F.cross_entropy(first(inputs), labels).backward()
            one.step()
            one.zero_grad()
            F.cross_entropy(second(inputs), labels).backward()
            two.step()
            two.zero_grad()
"""

SCHEDULED: Final = """\
    import torch
    import torch.nn.functional as F
    from library import download, make_model, make_optimizer
    from torch import nn


    def train(args, loader):
        loader = download(loader)
        model = make_model(args)
        optimizer = make_optimizer(model, args)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
        scaler = torch.cuda.amp.GradScaler()
        if args.parallel:
            model = download(model)
        for epoch in range(args.epochs):
            if args.weighted:
                download(model, loader)
            for images, labels in loader:
                with torch.cuda.amp.autocast():
                    loss = F.cross_entropy(model(images), labels)
                if args.check:
                    download(model)
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 10.0)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
                if args.log:
                    download(model)
            scheduler.step()
"""

HANDED: Final = """\
    import torch
    import torch.nn.functional as F
    from torch import optim


    class Trainer:
        def __init__(self, epochs):
            self.epochs = epochs

        def warm_up(self, model, loader):
            optimizer = optim.AdamW(model.parameters(), lr=1e-3)
            scheduler = optim.lr_scheduler.CyclicLR(
                optimizer, base_lr=1e-4, max_lr=1e-3, cycle_momentum=False
            )
            self.fit(
                model, loader, optimizer, scheduler, note=self.epochs
            )

        def fit(self, model, loader, optimizer, scheduler, note):
            for epoch in range(self.epochs):
                for images, labels in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(images), labels)
                    loss.backward()
                    optimizer.step()
                    scheduler.step()
"""

ENGINE: Final = """\
    import torch
    from library import Engine


    def make_trainer(model, optimizer, criterion, lr_scheduler):
        def update(engine, batch):
            inputs, labels = batch
            model.train()
            loss = criterion(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            lr_scheduler.step()
            return loss.item()

        return Engine(update)
"""

TOGETHER: Final = """\
    import torch
    import torch.nn.functional as F
    from torch import nn


    def train(inputs, labels):
        first, second = nn.Linear(4, 2), nn.Linear(4, 2)
        one = torch.optim.Adam(first.parameters())
        two = torch.optim.Adam(second.parameters())
        for _ in range(10):
            one.zero_grad()
            two.zero_grad()
            F.cross_entropy(first(inputs), labels).backward()
            F.cross_entropy(second(inputs), labels).backward()
            one.step()
            two.step()
"""

OTHERS: Final = """

    def alone(model, inputs, labels):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(10):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            print([weight.grad for weight in model.parameters()], inputs.grad)
            optimizer.step()
"""

MASKED: Final = """\
    import torch
    from torch import nn


    class Explainer:
        def __init__(self, epochs):
            self.epochs = epochs
            self.mask = None

        def explain(self, model, x, target):
            self.mask = nn.Parameter(torch.randn(x.shape[0], 1) * 0.1)
            optimizer = torch.optim.Adam([self.mask], lr=0.01)
            for _ in range(self.epochs):
                optimizer.zero_grad()
                loss = (model(x * self.mask.sigmoid()) - target).square().mean()
                loss.backward()
                optimizer.step()
                self.last = self.mask.grad.abs()
"""

CALLBACK: Final = """\
    import copy

    import torch


    class EarlyStopping:
        def __init__(self, patience=3):
            self.patience = patience
            self.best_weights = None
            self.best = float("inf")
            self.waited = 0

        def on_epoch_end(self, trainer, loss):
            if loss < self.best:
                self.best = loss
                self.waited = 0
                self.best_weights = copy.deepcopy(trainer.network.state_dict())
            else:
                self.waited += 1
            return self.waited < self.patience

        def on_train_end(self, trainer):
            if self.best_weights is not None:
                trainer.network.load_state_dict(self.best_weights)
"""

SWITCHED: Final = """\
    import torch
    import torch.nn.functional as F
    from torch import nn


    class Block(nn.Module):
        def __init__(self, width, attention=False, dropout=0.1):
            super().__init__()
            self.attention = attention
            self.dropout = dropout
            self.mix = nn.Linear(width, width)

        def forward(self, x):
            x = self.mix(x)
            if self.attention:
                x = F.dropout(x.softmax(dim=-1), p=self.dropout, training=self.training)
            return x
"""

PART: Final = """\
    import torch
    import torch.nn.functional as F
    import torchvision


    def tune(loader):
        model = torchvision.models.resnet18()
        optimizer = torch.optim.Adam(model.fc.parameters(), lr=1e-2)
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()


    def tune_given(model, loader):
        optimizer = torch.optim.Adam(model.decoder.head.parameters(), lr=1e-2)
        for images, labels in loader:
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()


    class Trainer:
        def __init__(self, model):
            self.model = model
            self.optimizer = torch.optim.Adam(self.model.head.parameters())

        def fit(self, loader):
            for images, labels in loader:
                self.optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(self.model(images), labels).backward()
                self.optimizer.step()
"""

REPEATED: Final = """\
    import torch
    from torch import nn


    class TSTiEncoderLayer(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.mix = nn.Linear(width, width)

        def forward(self, x):
            return x + torch.relu(self.mix(x))


    class Encoder(nn.Module):
        def __init__(self, width, depth):
            super().__init__()
            self.layers = nn.ModuleList([TSTiEncoderLayer(width) for _ in range(depth)])

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x


    def train(loader):
        model = Encoder(8, 3)
        optimizer = torch.optim.Adam(model.parameters())
        for inputs, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
"""


def changed(text: str, old: str, new: str) -> str:
    """The text with one part of it replaced, which stands in it once."""
    assert text.count(old) == 1
    return text.replace(old, new)


PROGRAMS: Final = {
    "one of several optimizers, by its name": CHOSEN + CHOSEN_REST,
    "one of several optimizers, never cleared": CHOSEN
    + CHOSEN_REST.replace(
        "scaler.step(optimizer)", "scaler.step(optimizer)  # expect: TCS112"
    ).replace("            optimizer.zero_grad()\n", ""),
    "one of several optimizers, stepped past its scaler": CHOSEN
    + CHOSEN_REST.replace("scaler.step(optimizer)", "optimizer.step()  # expect: TCS121"),
    "two optimizers, each cleared": COPIED,
    "two optimizers, the second cleared for the first": changed(
        COPIED, "one.zero_grad()", "two.zero_grad()  # expect: TCS112"
    ),
    "two optimizers, the first cleared for the second": changed(
        COPIED, "two.zero_grad()", "one.zero_grad()  # expect: TCS112"
    ),
    "an optimizer that a library gave, scheduled": SCHEDULED,
    "an optimizer that a library gave, never scheduled": changed(
        changed(SCHEDULED, "            scheduler.step()\n", ""),
        "args.epochs)\n        scaler",
        "args.epochs)  # expect: TCS119\n        scaler",
    ),
    "a loss scale that stays while models are handed to others": changed(
        changed(SCHEDULED, "                scaler.unscale_(optimizer)\n", ""),
        "10.0)",
        "10.0)  # expect: TCS114",
    ),
    "a loss scale that others may take off": changed(
        changed(SCHEDULED, "                scaler.unscale_(optimizer)\n", ""),
        "scaler.scale(loss).backward()",
        "scaler.scale(loss).backward()\n                download(scaler)",
    ),
    "built here, stepped there": HANDED,
    "built here, never stepped there": changed(
        changed(HANDED, "                    scheduler.step()\n", ""),
        "CyclicLR(",
        "CyclicLR(  # expect: TCS119",
    ),
    "built here, stepped there in the wrong order": changed(
        changed(HANDED, "                    scheduler.step()\n", ""),
        "loss.backward()",
        "loss.backward()\n                    scheduler.step()  # expect: TCS118",
    ),
    "a step function, handed to an engine": ENGINE,
    "a step function that steps the scheduler first": changed(
        changed(ENGINE, "            lr_scheduler.step()\n", ""),
        "loss.backward()",
        "loss.backward()\n            lr_scheduler.step()  # expect: TCS118",
    ),
    "a schedule that is told the step": changed(
        changed(ENGINE, "            lr_scheduler.step()\n", ""),
        "loss.backward()",
        "loss.backward()\n            lr_scheduler.step(engine.step)",
    ),
    "a schedule set before anything is computed": changed(
        changed(ENGINE, "            lr_scheduler.step()\n", ""),
        "inputs, labels = batch",
        "inputs, labels = batch\n            lr_scheduler.step()",
    ),
    "two optimizers, the first never stepped": changed(
        TOGETHER, "one.step()", "two.step()  # expect: TCS117"
    )
    + OTHERS,
    "two optimizers, the second never stepped": changed(
        TOGETHER, "two.step()", "one.step()  # expect: TCS117"
    )
    + OTHERS,
    "a part of a model that is not known is trained": PART,
    "a part of a model that is not known is trained, and never cleared": changed(
        changed(PART, "            optimizer.zero_grad()\n", ""),
        "model(images), labels).backward()\n            optimizer.step()\n\n\n    def tune_given",
        "model(images), labels).backward()\n            optimizer.step()  # expect: TCS112\n\n\n"
        "    def tune_given",
    ),
    "a mask is learned, and its gradient read": MASKED,
    "a mask whose gradient is read, and that is never stepped": changed(
        changed(MASKED, "                optimizer.step()\n", ""),
        "loss.backward()",
        "loss.backward()  # expect: TCS117",
    ),
    "the gradient of an input, by an optimizer that only clears": changed(
        changed(MASKED, "                optimizer.step()\n", ""),
        "self.mask.grad.abs()",
        "x.grad.abs()",
    ),
    "a callback that copies the best state": CALLBACK,
    "a callback that keeps the best state by reference": changed(
        CALLBACK,
        "copy.deepcopy(trainer.network.state_dict())",
        "trainer.network.state_dict()  # expect: TCS701",
    ),
    "a callback that keeps the state of the averaged model": changed(
        CALLBACK, "copy.deepcopy(trainer.network.state_dict())", "trainer.average.state_dict()"
    ),
    "a callback that keeps the last state, to hand it on": changed(
        CALLBACK, "copy.deepcopy(trainer.network.state_dict())", "trainer.network.state_dict()"
    ).replace("best_weights", "weights"),
    "dropout behind a switch that is off by default": SWITCHED,
    "dropout behind a switch that is off by default, always on": changed(
        SWITCHED, "p=self.dropout, training=self.training)", "p=self.dropout)  # expect: TCS303"
    ),
    "layers, each its own": REPEATED,
    "layers that are one, in a class whose name only looks like a word": changed(
        REPEATED,
        "[TSTiEncoderLayer(width) for _ in range(depth)])",
        "[TSTiEncoderLayer(width)] * depth)  # expect: TCS209",
    ),
}


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_program_has_what_it_announces(tmp_path: Path, text: str) -> None:
    text = textwrap.dedent(text)
    (tmp_path / "main.py").write_text(text)
    announced = {("main.py", code, line) for code, line in expected(text)}
    assert found_in(tmp_path) == announced
