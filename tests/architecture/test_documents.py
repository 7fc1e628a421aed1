"""The README tells what there is, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.guards import python

COMMANDS = (
    "run",
    "rewrite",
    "lint",
    "check",
    "infer",
    "trace show",
    "trace export",
    "rules",
    "graph",
)


@pytest.fixture(scope="module")
def readme(repo: Path) -> str:
    return (repo / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_rule_by_its_name(repo: Path, readme: str) -> None:
    files = sorted((repo / "rules").glob("*.yaml"))
    assert files
    shipped = {file.stem: field(file, "name") for file in files}
    assert dict(re.findall(r"^\| (TCS\d+) \| `([a-z-]+)`", readme, re.MULTILINE)) == shipped


def test_the_readme_lists_every_option(repo: Path, readme: str) -> None:
    shown = "".join(python(repo, "-m", "tcstatic", *name.split(), "-h").stdout for name in COMMANDS)
    options = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", shown, re.MULTILINE)) - {"--help"}
    assert options
    assert {option for option in options if f"`{option}" not in readme} == set()


def field(file: Path, key: str) -> str:
    found = re.search(rf"^{key}: *([^\s#]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{file}: no {key}"
    return found[1]
