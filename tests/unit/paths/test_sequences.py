"""The sequences in which happenings may come about."""

from pathlib import Path

from tcstatic.program.paths import Root, paths
from tests.unit.paths.exploring import explored

HEAD = """
import torch
from torch import nn
model = nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""
KINDS = {"optimizer.zero_grad": "z", "loss.backward": "b", "optimizer.step": "s"}


def ways(folder: Path, body: str) -> set[str]:
    """The sequences of clearing, backward and step, one letter each."""
    found: set[str] = set()

    def visit(root: Root) -> None:
        if root.name:
            return
        known = paths(root.block, lambda one: KINDS.get(one.kind, ""))
        assert known is not None
        found.update("".join(letter for _, letter in path.steps) for path in known)

    explored(folder, {"main.py": HEAD + body}, visit)
    return found


def test_a_loop_runs_not_at_all_once_and_twice(tmp_path: Path) -> None:
    body = """
for x in data:
    model(x).sum().backward()
    optimizer.step()
"""
    assert ways(tmp_path, body) == {"", "bs", "bsbs"}


def test_equal_conditions_decide_alike_within_a_round(tmp_path: Path) -> None:
    body = """
for i, x in enumerate(data):
    model(x).sum().backward()
    if (i + 1) % 4 == 0:
        optimizer.step()
    if (i + 1) % 4 == 0:
        optimizer.zero_grad()
"""
    assert ways(tmp_path, body) == {"", "b", "bsz", "bb", "bszb", "bbsz", "bszbsz"}


def test_a_negated_condition_is_the_same_condition(tmp_path: Path) -> None:
    body = """
if flag:
    optimizer.step()
if not flag:
    optimizer.zero_grad()
"""
    assert ways(tmp_path, body) == {"s", "z"}


def test_a_condition_from_outside_of_a_loop_holds_in_all_rounds(tmp_path: Path) -> None:
    body = """
for x in data:
    if flag:
        optimizer.zero_grad()
    optimizer.step()
"""
    assert ways(tmp_path, body) == {"", "s", "zs", "ss", "zszs"}


def test_break_leaves_the_loop_and_continue_the_round(tmp_path: Path) -> None:
    body = """
for x in data:
    if x > 1:
        break
    if x > 0:
        continue
    optimizer.step()
optimizer.zero_grad()
"""
    assert ways(tmp_path, body) == {"z", "sz", "ssz"}


def test_return_leaves_the_function_only(tmp_path: Path) -> None:
    body = """
def once(flag):
    if flag:
        return
    optimizer.step()
once(flag)
optimizer.zero_grad()
"""
    assert ways(tmp_path, body) == {"z", "sz"}


def test_a_path_that_ends_the_program_has_nothing_behind_it(tmp_path: Path) -> None:
    body = """
optimizer.step()
if flag:
    exit(1)
optimizer.zero_grad()
"""
    assert ways(tmp_path, body) == {"s", "sz"}


def test_a_path_that_only_complains_is_no_path(tmp_path: Path) -> None:
    body = """
optimizer.step()
if flag:
    raise ValueError(1)
optimizer.zero_grad()
"""
    assert ways(tmp_path, body) == {"sz"}


def test_what_is_known_is_no_choice(tmp_path: Path) -> None:
    body = """
AMP = False
scaler = None
if AMP or scaler is not None:
    optimizer.zero_grad()
else:
    optimizer.step()
"""
    assert ways(tmp_path, body) == {"s"}
