"""A copy of the package that a meta-guard may break."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def copy(repo: Path, tmp_path: Path) -> Path:
    """A folder with its own tcstatic/ and pyproject.toml."""
    shutil.copytree(
        repo / "tcstatic", tmp_path / "tcstatic", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(repo / "pyproject.toml", tmp_path)
    return tmp_path
