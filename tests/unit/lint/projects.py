"""Projects to lint, and how the command line ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tcstatic import cli
from tcstatic.lint import settings

# `step` of line 8 leaves the gradients: TCS112, and nothing else.
BAD = """\
import torch

model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(8, 4, 2):
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
"""
GOOD = BAD + "    optimizer.zero_grad()\n"
# The same in two files: lib/loop.py, which main.py imports.
LOOP = """\
def fit(model, optimizer, data):
    for x in data:
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
"""
MAIN = """\
import torch
from lib.loop import fit

torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
fit(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.randn(8, 4, 2))
"""


@dataclass(frozen=True, slots=True)
class Linted:
    """How a command line ended."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Folder:
    """A project; `write` makes files, `lint` lints them."""

    def __init__(self, path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capfd = capfd

    def write(self, **files: str) -> None:
        """Write modules by their dotted names: `lib__loop` is lib/loop.py."""
        for name, text in files.items():
            path = self.path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def settings(self, text: str) -> None:
        (self.path / "pyproject.toml").write_text(f"[tool.tcstatic]\n{text}")

    def text(self, name: str) -> str:
        return (self.path / name).read_text()

    def lint(self, *arguments: str) -> Linted:
        return self.run(["lint", *arguments])

    def concise(self, *arguments: str) -> list[str]:
        return self.lint("--output-format", "concise", *arguments).lines

    def places(self, *arguments: str) -> list[str]:
        """The findings as ``file:line CODE``."""
        found = self.lint("--output-format", "json", *arguments).report["findings"]
        return [f"{one['file']}:{one['line']} {one['code']}" for one in found]

    def run(self, arguments: Sequence[str]) -> Linted:
        settings._of_folder.cache_clear()
        self._capfd.readouterr()
        status = cli.main(arguments)
        captured = self._capfd.readouterr()
        return Linted(status, captured.out, captured.err)
