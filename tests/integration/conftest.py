"""A launcher with a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.launching import Launcher


@pytest.fixture
def launcher(tmp_path: Path, repo: Path) -> Launcher:
    folder = tmp_path / "project"
    folder.mkdir()
    return Launcher(folder, repo)
