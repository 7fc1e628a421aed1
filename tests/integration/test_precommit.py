"""The hooks in a real ``pre-commit run``, on a real git repository.

pre-commit clones a snapshot of this repository, builds the hooks' environment and installs the
package into it. Only the libraries that the package needs are lent from this environment (else they
would be downloaded, torch among them); `lint` needs no torch.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.golden.commands import cost
from tests.unit.lint.projects import BAD, GOOD, LOOP, MAIN

pytestmark = pytest.mark.slow

# What `lint` needs at run time, and the build backend with what it needs.
LENT: Final = (
    "click libcst networkx packaging pathspec yaml _yaml hatchling pluggy trove_classifiers"
).split()
SHIPPED: Final = ("tcstatic", "rules", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")


def git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=0"]
    ran = subprocess.run(
        ["git", "-C", str(folder), *names, *words], capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


@pytest.fixture(scope="module")
def hooks(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository as it is now, committed."""
    folder = tmp_path_factory.mktemp("hooks")
    for name in (*SHIPPED, ".pre-commit-hooks.yaml"):
        source = repo / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
            )
        else:
            shutil.copy(source, folder / name)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "As it is now")
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where pre-commit keeps its environments, and pip takes no dependency from an index."""
    folder = tmp_path_factory.mktemp("home")
    lent = folder / "lent"
    lent.mkdir()
    for name in LENT:
        spec = importlib.util.find_spec(name)
        if spec is None:
            continue
        assert spec.origin is not None
        origin = Path(spec.origin)
        found = origin.parent if spec.submodule_search_locations else origin
        (lent / found.name).symlink_to(found)
    kept = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    return {
        **kept,
        "PRE_COMMIT_HOME": str(folder / "pre-commit"),
        "TCSTATIC_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(lent),
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_INDEX": "1",
    }


class Repository:
    """A repository of somebody who uses the hooks."""

    def __init__(self, path: Path, environment: dict[str, str]) -> None:
        self.path = path
        self._environment = environment

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        git(self.path, "add", name)

    def pre_commit(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "pre_commit", *words],
            cwd=self.path,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


@pytest.fixture
def theirs(tmp_path: Path, hooks: Path, environment: dict[str, str]) -> Repository:
    revision = git(hooks, "rev-parse", "HEAD")
    (tmp_path / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: {hooks}\n  rev: {revision}\n  hooks:\n"
        "  - id: tcstatic-lint\n  - id: tcstatic-fix\n    stages: [manual]\n"
    )
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "Begin")
    return Repository(tmp_path, environment)


def test_the_hooks_are_valid(theirs: Repository, repo: Path) -> None:
    ran = theirs.pre_commit("validate-manifest", str(repo / ".pre-commit-hooks.yaml"))
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


def test_a_commit_is_held_up_until_it_is_mended(theirs: Repository) -> None:
    theirs.write("train.py", BAD)
    theirs.write("notes.txt", "x")
    ran = theirs.pre_commit("run")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "train.py:8:5: error TCS112 gradients-not-cleared" in ran.stdout
    theirs.write("train.py", GOOD)
    ran = theirs.pre_commit("run")
    assert ran.returncode == 0, ran.stdout
    assert "Passed" in ran.stdout


def test_the_rest_of_the_program_is_read(theirs: Repository) -> None:
    """Only the changed file is handed over; what imports it is read, and not told of."""
    theirs.write("main.py", MAIN)
    theirs.write("lib/loop.py", LOOP)
    theirs.write("other.py", BAD)
    git(theirs.path, "commit", "-q", "-m", "More")
    theirs.write("lib/loop.py", f"# changed\n{LOOP}")
    ran = theirs.pre_commit("run")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "lib/loop.py:6:9: error TCS112" in ran.stdout
    assert "other.py" not in ran.stdout


def test_the_fixing_hook_changes_the_file(theirs: Repository) -> None:
    theirs.write("train.py", f"import torch\nx = 1  # noqa: TCS112\n{GOOD}")
    ran = theirs.pre_commit("run", "--hook-stage", "manual", "tcstatic-fix")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "files were modified by this hook" in ran.stdout
    assert (theirs.path / "train.py").read_text() == f"import torch\nx = 1\n{GOOD}"


def test_the_hook_answers_at_once(theirs: Repository, environment: dict[str, str]) -> None:
    theirs.write("train.py", GOOD)
    assert theirs.pre_commit("run").returncode == 0
    (command,) = Path(environment["PRE_COMMIT_HOME"]).glob("repo*/py_env-*/bin/tcstatic")
    costs = []
    for number in range(5):
        theirs.write("train.py", f"{GOOD}# {number}\n")
        costs.append(cost([str(command), "lint", "train.py"], theirs.path, environment))
    assert min(costs) < 10
