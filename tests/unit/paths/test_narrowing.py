"""What is made at its first use, in the ways in which programs write that: lint knows it again."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.unit.paths.test_assumptions import found

PROGRAM = """\
import functools
import torch
from torch import nn


class Trainer:
    kept = None

    def __init__(self, net):
        self.net = net
        self._o = None
        self.ready = False
        self.held = {}

    def new(self):
        return torch.optim.Adam(self.net.parameters(), lr=0.01)

DECORATED
    def optimizer(self):
BODY

    def fit(self, x, y):
        for _ in range(30):
            CLEAR
            nn.functional.cross_entropy(self.net(x), y).backward()
            OPTIMIZER.step()


torch.manual_seed(0)
trainer = Trainer(nn.Linear(9, 4))
trainer.fit(torch.randn(50, 9), torch.randint(4, (50,)))
"""

FIRST_USES = {
    "is none": "if self._o is None:\n    self._o = self.new()\nreturn self._o",
    "false": "if not self._o:\n    self._o = self.new()\nreturn self._o",
    "returned early": (
        "if self._o is not None:\n    return self._o\nself._o = self.new()\nreturn self._o"
    ),
    "by an else": (
        "if self._o is not None:\n    o = self._o\nelse:\n    o = self._o = self.new()\nreturn o"
    ),
    "by a name": "o = self._o\nif o is None:\n    o = self._o = self.new()\nreturn o",
    "and more": (
        "if self._o is None and self.net is not None:\n    self._o = self.new()\nreturn self._o"
    ),
    "in one line": "self._o = self.new() if self._o is None else self._o\nreturn self._o",
    "by a flag": "if not self.ready:\n    self._o, self.ready = self.new(), True\nreturn self._o",
    "of the class": "if self.kept is None:\n    self.kept = self.new()\nreturn self.kept",
    "no attribute": "if not hasattr(self, 'one'):\n    self.one = self.new()\nreturn self.one",
    "no key": "if 'o' not in self.held:\n    self.held['o'] = self.new()\nreturn self.held['o']",
    "tried": (
        "try:\n"
        "    return self.one\n"
        "except AttributeError:\n"
        "    self.one = self.new()\n"
        "    return self.one"
    ),
}
KEPT = ["@functools.cached_property", "@functools.lru_cache(maxsize=None)", "@functools.cache"]


def program(body: str, decorator: str, *, cleared: bool) -> str:
    use = "self.optimizer" if "property" in decorator else "self.optimizer()"
    clear = f"{use}.zero_grad()" if cleared else "pass"
    text = PROGRAM.replace("DECORATED", textwrap.indent(decorator, "    "))
    text = text.replace("BODY", textwrap.indent(body, " " * 8))
    return text.replace("CLEAR", clear).replace("OPTIMIZER", use)


@pytest.mark.parametrize("decorator", ["", "@property"])
@pytest.mark.parametrize("way", FIRST_USES)
def test_it_is_one_object_at_each_use(way: str, decorator: str, tmp_path: Path) -> None:
    body = FIRST_USES[way]
    for code in ("TCS112", "TCS117", "TCS125"):
        assert found(tmp_path, program(body, decorator, cleared=True), code) == []
    assert found(tmp_path, program(body, decorator, cleared=False), "TCS112")


@pytest.mark.parametrize("decorator", KEPT)
def test_what_a_function_gave_is_kept(decorator: str, tmp_path: Path) -> None:
    for code in ("TCS112", "TCS117", "TCS125"):
        assert found(tmp_path, program("return self.new()", decorator, cleared=True), code) == []
    assert found(tmp_path, program("return self.new()", decorator, cleared=False), "TCS112")


def test_what_is_made_at_each_use_is_another_each_time(tmp_path: Path) -> None:
    text = program("return self.new()", "@property", cleared=True)
    assert found(tmp_path, text, "TCS125")


def test_a_choice_stays_one_behind_a_condition_on_it(tmp_path: Path) -> None:
    """Both ways on from a condition meet again: an equal one decides alike."""
    text = """\
        import sys
        import torch
        from torch import nn

        model = nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler() if "amp" in sys.argv else None
        for _ in range(10):
            optimizer.zero_grad()
            loss = model(torch.randn(8, 4)).square().mean()
            if scaler is not None:
                scaler.scale(loss).backward()
            else:
                loss.backward()
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
    """
    for code in ("TCS111", "TCS112", "TCS113", "TCS131", "TCS132", "TCS133"):
        assert found(tmp_path, text, code) == []


def test_a_model_and_its_optimizer_are_made_at_their_first_use(tmp_path: Path) -> None:
    text = """\
        import torch
        from torch import nn


        class Classifier:
            def __init__(self):
                self._net = None
                self.optimizer = None

            def net(self):
                if self._net is None:
                    self._net = nn.Linear(4, 2)
                return self._net

            def ensure(self):
                if self.optimizer is None:
                    self.optimizer = torch.optim.Adam(self.net().parameters())

            def partial_fit(self, x, y):
                self.ensure()
                CLEAR
                nn.functional.cross_entropy(self.net()(x), y).backward()
                self.optimizer.step()


        classifier = Classifier()
        for _ in range(5):
            classifier.partial_fit(torch.randn(8, 4), torch.randint(2, (8,)))
    """
    cleared = text.replace("CLEAR", "self.optimizer.zero_grad()")
    for code in ("TCS111", "TCS112", "TCS113", "TCS117", "TCS125", "TCS201", "TCS203"):
        assert found(tmp_path, cleared, code) == []
    assert found(tmp_path, text.replace("CLEAR", "pass"), "TCS112") == [23]
