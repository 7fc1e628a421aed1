"""What an import may load. Each guard is followed by a proof that it can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.guards import broken_imports, loaded_by, modules

HEAVY = {"click", "libcst", "networkx", "pyarrow", "torch", "yaml", "z3"}
LIVE = "import tcstatic.runtime.live"


def test_the_users_process_loads_no_heavy_library(repo: Path) -> None:
    assert not loaded_by(repo, LIVE) & HEAVY


@pytest.mark.parametrize("library", sorted(HEAVY - {"torch"}))
def test_that_guard_sees_each_library(repo: Path, library: str) -> None:
    assert library in loaded_by(repo, f"{LIVE}\nimport {library}")


def test_that_guard_sees_an_import_deep_in_the_package(copy: Path) -> None:
    append(copy / "tcstatic/errors.py", "import yaml")
    assert "yaml" in loaded_by(copy, "import tcstatic.errors")


def test_every_module_imports_alone_and_without_a_warning(repo: Path) -> None:
    once = "import click, libcst, networkx, pyarrow, torch, yaml"
    assert broken_imports(repo, modules(repo), once=once) == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import no_such_module", "ModuleNotFoundError"),
        ('import warnings; warnings.warn("old")', "UserWarning: old"),
        ('print("working")', "working"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_that_guard_sees_a_module_that_does_not(copy: Path, line: str, said: str) -> None:
    append(copy / "tcstatic/errors.py", line)
    assert said in broken_imports(copy, ["tcstatic", "tcstatic.errors"])


def append(path: Path, line: str) -> None:
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
