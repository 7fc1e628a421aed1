"""Sizes, doors and the top level."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.architecture.guards import DOORS, oversized, wrong_doors

TOP_LEVEL = {"fixtures", "rules", "tcstatic", "tests"}
BUILT = {"__pycache__", "build", "dist"}


def test_functions_and_modules_stay_small(repo: Path) -> None:
    assert list(oversized(repo)) == []


def test_the_size_alarm_rings(copy: Path) -> None:
    long_function = "def long() -> None:\n" + "    pass\n" * 50
    (copy / "tcstatic/long_function.py").write_text(long_function, encoding="utf-8")
    (copy / "tcstatic/long_module.py").write_text("x = 1\n" * 401, encoding="utf-8")
    assert [line for line in oversized(copy) if "/long_" in line] == [
        "tcstatic/long_function.py:1: long has 51 lines, at most 50",
        "tcstatic/long_module.py: 401 lines, at most 400",
    ]


def test_each_library_has_one_door(repo: Path) -> None:
    assert list(wrong_doors(repo)) == []


def test_a_second_door_is_seen(copy: Path) -> None:
    lines = [f"def f{i}():\n    from {name} import x" for i, name in enumerate(sorted(DOORS))]
    (copy / "tcstatic/errors.py").write_text("\n".join(lines), encoding="utf-8")
    seen = [line for line in wrong_doors(copy) if line.startswith("tcstatic/errors.py:")]
    assert [line.split()[1] for line in seen] == sorted(DOORS)


def test_ruff_knows_the_same_libraries(repo: Path) -> None:
    libraries = ("click", "distributed", "libcst", "networkx", "pyarrow", "yaml", "z3")
    source = "".join(f"import {name}\n" for name in libraries)
    ran = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select=TID251", "--output-format=concise"]
        + ["--stdin-filename=tcstatic/errors.py", "-"],
        input=source,
        capture_output=True,
        text=True,
        cwd=repo,
        check=False,
    )
    assert ran.stdout.count("TID251") == len(libraries), ran.stdout + ran.stderr


def test_the_top_level_stays_as_it_is(repo: Path) -> None:
    folders = {path.name for path in repo.iterdir() if path.is_dir()}
    assert {name for name in folders if not name.startswith(".")} <= TOP_LEVEL | BUILT
