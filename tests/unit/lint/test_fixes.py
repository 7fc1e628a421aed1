"""Fixes: what each writes, that formatting stays, and when they are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcstatic.lint.fixes import FIXES, fix_for
from tcstatic.model import Finding, Location
from tcstatic.rewrite.fixing import apply_fixes
from tests.unit.lint.projects import BAD, GOOD, Folder

LOOP = """\
import torch

for x in data:  # each
    loss = model(x)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(p, 1.0)  # at most one
    optimizer.step()
    scheduler.step()
"""
AMP = """\
scaler.scale(loss).backward()
clip(model.parameters(), 1.0)
scaler.step(optimizer)
scaler.update()
"""


def finding(text: str, spot: str) -> Finding:
    """A finding at the one place in `text` that reads `spot`."""
    assert text.count(spot) == 1
    before = text[: text.index(spot)]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    lines = spot.split("\n")
    end = len(lines[-1]) + (column if len(lines) == 1 else 1)
    where = Location("a.py", line, column, line + len(lines) - 1, end)
    return Finding("TCS999", "x", "error", "m", where, "w", "c")


def fixed(name: str, text: str, spot: str) -> str | None:
    fix = fix_for(name, finding(text, spot), text.encode())
    if fix is None:
        return None
    assert not fix.safe
    applied = apply_fixes(text.encode(), [fix], "a.py")
    assert applied.used == (fix,)
    return applied.content.decode()


@pytest.mark.parametrize(
    ("name", "text", "spot", "expected"),
    [
        ("call-it", "optimizer.step  # now\n", "optimizer.step", "optimizer.step()  # now\n"),
        (
            "insert-zero-grad",
            LOOP,
            "optimizer.step()",
            LOOP.replace("optimizer.step()\n", "optimizer.step()\n    optimizer.zero_grad()\n"),
        ),
        (
            "insert-zero-grad",
            "while 1:\r\n\tscaler.step(opt)",
            "scaler.step(opt)",
            "while 1:\r\n\tscaler.step(opt)\r\n\topt.zero_grad()",
        ),
        (
            "move-zero-grad",
            "loss.backward()\nopt.zero_grad()  # why\nopt.step()\nx = 1\n",
            "opt.zero_grad()",
            "loss.backward()\nopt.step()\nopt.zero_grad()  # why\nx = 1\n",
        ),
        (
            "move-clip",
            "if 1:\n  loss.backward()\n  opt.step()\n  clip(  # a\n    p,  # b\n  )\n",
            "clip(  # a\n    p,  # b\n  )",
            "if 1:\n  loss.backward()\n  clip(  # a\n    p,  # b\n  )\n  opt.step()\n",
        ),
        (
            "unscale-first",
            AMP,
            "clip(model.parameters(), 1.0)",
            AMP.replace("clip(", "scaler.unscale_(optimizer)\nclip("),
        ),
        (
            "move-scheduler",
            "scheduler.step()\nloss.backward()\noptimizer.step()\n",
            "scheduler.step()",
            "loss.backward()\noptimizer.step()\nscheduler.step()\n",
        ),
        (
            "spell-requires-grad",
            "for p in ps:\n    p.require_grad = False\n",
            "p.require_grad",
            "for p in ps:\n    p.requires_grad = False\n",
        ),
        (
            "assign-it",
            "for p in ps:\n    p.requires_grad == False\n",
            "p.requires_grad == False",
            "for p in ps:\n    p.requires_grad = False\n",
        ),
        (
            "group-the-sum",
            "if i + 1 % self.k == 0 or last:\n    o.step()\n",
            "i + 1 % self.k",
            "if (i + 1) % self.k == 0 or last:\n    o.step()\n",
        ),
        ("group-the-sum", "p = p + 1 % n\n", "p + 1 % n", "p = (p + 1) % n\n"),
        ("assign-result", "x.to(dev)\n", "x.to(dev)", "x = x.to(dev)\n"),
        ("assign-result", "b.x.to(\n  dev)\n", "b.x.to(\n  dev)", "b.x = b.x.to(\n  dev)\n"),
        ("swap-arguments", "l = f(y, g(x), w=1)\n", "f(y, g(x), w=1)", "l = f(g(x), y, w=1)\n"),
        (
            "deepcopy-it",
            '"""D."""\nfrom __future__ import annotations\nimport torch\nb = m.state_dict()\n',
            "m.state_dict()",
            '"""D."""\nfrom __future__ import annotations\nimport copy\nimport torch\n'
            "b = copy.deepcopy(m.state_dict())\n",
        ),
        (
            "deepcopy-it",
            "from copy import deepcopy as dc\nbest = model\n",
            "best = model",
            "from copy import deepcopy as dc\nbest = dc(model)\n",
        ),
    ],
)
def test_what_a_fix_writes(name: str, text: str, spot: str, expected: str) -> None:
    assert fixed(name, text, spot) == expected


@pytest.mark.parametrize(
    ("name", "text", "spot"),
    [
        ("call-it", "x = 1; optimizer.step\n", "optimizer.step"),
        ("insert-zero-grad", "if x: optimizer.step()\n", "optimizer.step()"),
        ("insert-zero-grad", "optimizer.step(); y()\n", "optimizer.step()"),
        ("insert-zero-grad", "optimizers[0].step()\n", "optimizers[0].step()"),
        ("insert-zero-grad", "optimizer.step(closure=f)\n", "optimizer.step(closure=f)"),
        ("move-zero-grad", "opt.step()\nopt.zero_grad()\n", "opt.zero_grad()"),
        ("move-clip", LOOP, "torch.nn.utils.clip_grad_norm_(p, 1.0)"),
        ("unscale-first", LOOP, "torch.nn.utils.clip_grad_norm_(p, 1.0)"),
        ("spell-requires-grad", "p.grad = None\n", "p.grad"),
        ("assign-result", "f(x).to(dev)\n", "f(x).to(dev)"),
        ("assign-result", "y = x.to(dev)\n", "x.to(dev)"),
        ("swap-arguments", "f(*a)\n", "f(*a)"),
        ("deepcopy-it", "import torch\ncopy = 1\nbest = model\n", "best = model"),
        ("no-such-fix", "x = 1\n", "x"),
        ("call-it", "def f(:\n  x.step\n", "x.step"),
    ],
)
def test_what_is_not_that_simple_is_left_alone(name: str, text: str, spot: str) -> None:
    assert fixed(name, text, spot) is None


def test_every_fix_is_tried_above() -> None:
    marks = getattr(test_what_a_fix_writes, "pytestmark", [])
    assert {case[0] for case in marks[0].args[1]} == set(FIXES)


def own_rule(folder: Folder, repo_rules: str, fix: str) -> None:
    text = repo_rules
    if "\nfix:" not in text:
        text = text.replace("\nseverity:", f"\nfix: {fix}\nseverity:", 1)
    (folder.path / "own.yaml").write_text(text)
    folder.settings('rules = ["own.yaml"]\n')


@pytest.fixture
def mendable(folder: Folder, repo: Path) -> Folder:
    rule = (repo / "rules" / "TCS112.yaml").read_text()
    own_rule(folder, rule, "insert-zero-grad")
    return folder


def test_an_unsafe_fix_needs_both_options(mendable: Folder) -> None:
    mendable.write(train=BAD)
    told = mendable.lint()
    assert "  fix: clear the gradients after the step (--fix --unsafe-fixes)" in told.lines
    assert mendable.lint("--fix").status == 1
    assert mendable.text("train.py") == BAD
    mended = mendable.lint("--fix", "--unsafe-fixes")
    assert (mended.status, mended.lines) == (0, ["no finding in 1 file, 1 fixed"])
    assert mendable.text("train.py") == GOOD


def test_a_diff_writes_nothing(mendable: Folder) -> None:
    mendable.write(train=BAD)
    shown = mendable.lint("--diff", "--unsafe-fixes")
    assert shown.status == 1
    assert shown.lines[:2] == ["--- a/train.py", "+++ b/train.py"]
    assert shown.lines[-1] == "+    optimizer.zero_grad()"
    assert mendable.text("train.py") == BAD
    safe = mendable.lint("--diff")
    assert (safe.status, safe.out) == (0, "")


def test_the_report_has_the_fix(mendable: Folder) -> None:
    mendable.write(train=BAD)
    (found,) = mendable.lint("--output-format", "json").report["findings"]
    assert found["fix"] == {
        "title": "clear the gradients after the step",
        "safe": False,
        "edits": [
            {
                "file": "train.py",
                "line": 9,
                "column": 1,
                "end_line": 9,
                "end_column": 1,
                "text": "    optimizer.zero_grad()\n",
            }
        ],
    }


def test_a_fix_that_does_not_help_is_not_kept(folder: Folder, repo: Path) -> None:
    rule = (repo / "rules" / "TCS112.yaml").read_text()
    lines = [line for line in rule.splitlines() if not line.startswith("fix:")]
    own_rule(folder, "\n".join(lines) + "\n", "call-it")
    folder.write(train=BAD.replace("optimizer.step()", "optimizer.step  ()"))
    assert folder.lint("--fix", "--unsafe-fixes").status == 1
    assert "zero_grad" not in folder.text("train.py")


def test_mode_links_and_encoding_stay(mendable: Folder) -> None:
    text = BAD.replace("import torch\n", "# coding: latin-1\nimport torch  # \xe9\n")
    real = mendable.path / "real"
    real.write_bytes(text.replace("\n", "\r\n").encode("latin-1"))
    real.chmod(0o754)
    (mendable.path / "train.py").symlink_to(real)
    assert mendable.lint("--fix", "--unsafe-fixes").status == 0
    assert (mendable.path / "train.py").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o754
    expected = text + "    optimizer.zero_grad()\n"
    assert real.read_bytes() == expected.replace("\n", "\r\n").encode("latin-1")
