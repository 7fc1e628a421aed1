"""What a root does when it may not follow every call."""

import textwrap
from pathlib import Path

import pytest

from tcstatic.program.paths import Happening, Root, happenings
from tests.unit.paths.exploring import explored

# A module whose forward costs more than a function that trains may spend.
LARGE = "\n".join(
    [
        "import torch",
        "class Large(torch.nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        "        self.weight = torch.nn.Parameter(torch.zeros(3))",
        "    def forward(self, x):",
        *(f"        x = x + self.weight * {number} + x * x" for number in range(1200)),
        "        return x",
    ]
)
TRAIN = """
import torch
from large import Large
"""
TEST = """
def test_{number}():
    model = Large()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for x, y in batches:
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).sum(){detour}
        loss.backward()
        optimizer.step()
"""


def _steps(folder: Path, main: str) -> dict[str, list[Happening]]:
    found: dict[str, list[Happening]] = {}

    def visit(root: Root) -> None:
        assert not root.machine.exhausted, root.name
        found[root.name] = [
            one
            for one in happenings(root.block)
            if one.kind in ("loss.backward", "optimizer.step") or one.wild
        ]

    explored(folder, {"main.py": main, "large.py": LARGE}, visit)
    return found


@pytest.mark.parametrize("count", [1, 2, 12])
def test_each_function_is_seen_to_its_end_whatever_those_before_it_cost(
    tmp_path: Path, count: int
) -> None:
    tests = "".join(TEST.format(number=number, detour="") for number in range(count))
    found = _steps(tmp_path, TRAIN + tests)

    for number in range(count):
        backward, step = found[f"test_{number}"]
        assert backward.subjects == step.subjects
        assert not backward.assumed


def test_what_a_call_that_is_left_out_is_handed_may_be_anything_from_there_on(
    tmp_path: Path,
) -> None:
    helper = "\n".join(
        [
            "def busy(x, optimizer):",
            *(f"    x = x + {number} * x" for number in range(1200)),
            "    return x",
            "def idle(x, optimizer):",
            "    return x.model",
        ]
    )
    detour = "\n    busy(y, 1)\n    idle(y, optimizer)"
    text = (
        textwrap.dedent(TRAIN)
        + "from helper import busy, idle\n"
        + TEST.format(number=0, detour=detour.replace("\n    ", "\n        "))
    )
    (tmp_path / "helper.py").write_text(helper)
    found = _steps(tmp_path, text)

    assert [one.wild for one in found["test_0"]] == [True, False, False]
