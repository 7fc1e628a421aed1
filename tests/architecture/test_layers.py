"""The layers of pyproject.toml hold, and a violation is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.guards import lint_imports

LAYERS = "Layers of the rooms"
WINGS = "Every room of a wing has its place in the layers"
LIVE = "The user's process loads no parser, solver, graph or option library"


def test_the_layers_hold(repo: Path) -> None:
    ran = lint_imports(repo)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("path", "line", "contract"),
    [
        ("errors.py", "import tcstatic.model", LAYERS),
        ("model/events.py", "import tcstatic.check", LAYERS),
        ("runtime/probes/__init__.py", "import tcstatic.runtime.live", LAYERS),
        ("check/__init__.py", "import tcstatic.report", LAYERS),
        ("report/__init__.py", "import tcstatic.rewrite", LAYERS),
        ("helpers.py", "", LAYERS),
        ("invariants/extras.py", "", WINGS),
        ("runtime/live/__init__.py", "import yaml", LIVE),
        ("model/__init__.py", "def read():\n    import z3", LIVE),
        ("runtime/live/recording.py", "import tcstatic.trace", LIVE),
    ],
)
def test_a_violation_is_reported(copy: Path, path: str, line: str, contract: str) -> None:
    target = copy / "tcstatic" / path
    before = target.read_text(encoding="utf-8") if target.exists() else ""
    target.write_text(f"{before}\n{line}\n", encoding="utf-8")
    if path.startswith("model/__init__"):
        live = copy / "tcstatic/runtime/live/__init__.py"
        live.write_text(f"{live.read_text(encoding='utf-8')}\nimport tcstatic.model\n")
    ran = lint_imports(copy)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert f"{contract} BROKEN" in ran.stdout
