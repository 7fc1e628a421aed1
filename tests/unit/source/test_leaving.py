"""Loops that end each pass in its first turn, and those that only look like it."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tcstatic.program.source import read_module


def left(body: str, head: str = "for i, b in enumerate(loader):") -> int:
    """The line that the first loop of a function is left by, counted from its ``for``."""
    text = f"def f():\n    {head}\n" + "".join(
        f"        {line}\n" for line in dedent(body).strip("\n").splitlines()
    )
    found = read_module(Path("m.py"), text.encode(), "m").loops[0].left
    return found - 2 if found else 0


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("train(b)\nbreak", 2),
        ("train(b)\nreturn b", 2),
        ("with scope():\n    train(b)\n    break", 3),
        ("train(b)\nif i % 10 == 0:\n    print(b)\n    return", 4),
        ("train(b)\nif bad(b):\n    print(b)\nbreak", 4),
    ],
)
def test_a_pass_ends_with_its_first_turn(body: str, line: int) -> None:
    assert left(body) == line


@pytest.mark.parametrize(
    "body",
    [
        "train(b)",
        "train(b)\nif done:\n    break",
        "train(b)\nif i >= 3:\n    break",
        "train(b)\nif i % 10 == 1:\n    break",
        "train(b)\nif j % 10 == 0:\n    break",
        "if skip(b):\n    continue\ntrain(b)\nbreak",
        "try:\n    train(b)\n    break\nexcept OSError:\n    pass",
        "for c in b:\n    break\ntrain(b)",
        "train(b)\nbreak  # overfit one batch",
        "train(b)\n# a single batch is enough to see that it runs\nbreak",
    ],
)
def test_a_pass_may_go_on(body: str) -> None:
    assert left(body) == 0


def test_a_counter_that_begins_elsewhere_is_none() -> None:
    body = "train(b)\nif i % 10 == 0:\n    break"
    assert left(body, "for i, b in enumerate(loader, 1):") == 0
    assert left(body, "for i, b in numbered(loader):") == 0
