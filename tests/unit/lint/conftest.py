"""A project in a folder of its own, linted by the command line in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.lint.projects import Folder


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Folder:
    monkeypatch.setenv("TCSTATIC_CACHE", str(tmp_path / "cache"))
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text("")
    monkeypatch.chdir(project)
    return Folder(project, capfd)
