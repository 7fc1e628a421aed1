"""The wheel and the editable install both bring the rules along."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tcstatic

FOLDER = "from tcstatic.invariants.rules import default_rules_folder as f; print(f())"


@pytest.fixture(scope="module")
def wheel(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built without the network, by the build backend of the development set."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    command += ["--no-index", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder), "."]
    ran = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (built,) = folder.glob("*.whl")
    return built


def rules(repo: Path) -> list[Path]:
    found = sorted((repo / "rules").rglob("*.yaml"))
    assert found
    return found


def test_the_wheel_holds_every_rule_and_nothing_foreign(repo: Path, wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"tcstatic/_rules/{path.relative_to(repo / 'rules')}" for path in rules(repo)}
    assert {name for name in names if name.endswith(".yaml")} == expected
    assert "tcstatic/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tcstatic"}


def test_the_wheel_finds_its_rules(repo: Path, wheel: Path, tmp_path: Path) -> None:
    rules(repo)
    zipfile.ZipFile(wheel).extractall(tmp_path)
    assert rules_folder(tmp_path) == (tmp_path / "tcstatic" / "_rules").resolve()


def test_the_editable_install_finds_the_rules_of_the_repository(tmp_path: Path, repo: Path) -> None:
    rules(repo)
    assert rules_folder(tmp_path) == repo / "rules"


def rules_folder(start: Path) -> Path:
    """The shipped rules, as a process started in `start` finds them; a package there wins."""
    ran = subprocess.run(
        [sys.executable, "-c", FOLDER], cwd=start, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return Path(ran.stdout.strip()).resolve()


def test_the_version_is_told_once() -> None:
    assert importlib.metadata.version("tcstatic") == tcstatic.__version__
