"""`[tool.tcstatic]`: every key, the nearest file wins, and one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcstatic.errors import InputError
from tcstatic.lint.settings import Settings, as_range, concerns, settings_for
from tests.unit.lint.projects import BAD, GOOD, Folder

WHOLE = """\
[project]
dependencies = ["numpy", "torch>=2.1 ; python_version > '3.8'"]

[tool.tcstatic]
select = ["TCS1"]
ignore = ["TCS113"]
extend-select = ["loss-disconnected"]
exclude = ["old/"]
baseline = "known.json"
rules = ["own"]
output-format = "concise"

[tool.tcstatic.per-file-ignores]
"tests/*" = ["TCS112"]
"""


def settings(folder: Path, text: str) -> Settings:
    (folder / "pyproject.toml").write_text(text)
    return settings_for(folder)


def test_all_keys(tmp_path: Path) -> None:
    found = settings(tmp_path, WHOLE)
    assert found == Settings(
        file=str(tmp_path / "pyproject.toml"),
        select=("TCS1",),
        ignore=("TCS113",),
        extend_select=("loss-disconnected",),
        exclude=("old/",),
        per_file_ignores=(("tests/*", ("TCS112",)),),
        baseline="known.json",
        rules=("own",),
        output_format="concise",
        torch=">=2.1",
    )
    assert settings_for(tmp_path / "a" / "b") == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.tcstatic]\nselct = []", ":2: unknown key 'selct' in [tool.tcstatic]; expected one"),
        ("[tool.tcstatic]\nselct = []", "did you mean 'select'?"),
        ("[tool.tcstatic]\nextend_select = []", "did you mean 'extend-select'?"),
        ("[tool.tcstatic]\n\nselect = 'TCS1'", ":3: 'select', got 'TCS1'; expected a list"),
        ("[tool.tcstatic]\nignore = [1]", "expected a list of texts"),
        ("[tool.tcstatic]\nbaseline = ''", "'baseline', got ''; expected text"),
        ("[tool.tcstatic]\noutput-format = 'sarfi'", "did you mean 'sarif'?"),
        ("[tool.tcstatic]\ntorch = 'new'", "expected a version or a range"),
        ("[tool.tcstatic]\nper-file-ignores = 1", "expected a table of patterns"),
        ("[tool.tcstatic.per-file-ignores]\na = 'x'", ":2: 'a', got 'x'; expected a list"),
        ("[tool]\ntcstatic = 1", "expected a table"),
        ("[tool.tcstatic", "no valid TOML"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        settings(tmp_path, text)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "pyproject.toml"))
    assert "\n" not in str(caught.value)


def test_a_file_of_others_says_nothing(tmp_path: Path) -> None:
    assert settings(tmp_path, "[tool.ruff]\nselect = ['tcstatic']\n").file == ""
    inner = tmp_path / "inner"
    inner.mkdir()
    assert settings(inner, "").file == ""


@pytest.mark.parametrize(
    ("rule", "project", "matters"),
    [
        ("", "2.4", True),
        (">=2.0", "", True),
        (">=2.0", "2.4", True),
        (">=2.6", "2.4", False),
        (">=2.6", ">=2.4", True),
        ("<2.0", ">=2.1,<2.5", False),
        ("<2.0", "1.13.1", True),
    ],
)
def test_versions_of_torch(rule: str, project: str, matters: bool) -> None:
    assert concerns(rule, project) is matters


def test_a_bare_version_has_patches() -> None:
    assert as_range("2.4") == "==2.4.*"


def test_the_command_obeys(folder: Folder) -> None:
    folder.write(train=BAD, tests__helper=BAD, old__train=BAD)
    assert len(folder.places()) == 3
    folder.settings('exclude = ["old/"]\nper-file-ignores = {"tests/*" = ["TCS1"]}\n')
    assert folder.places() == ["train.py:8 TCS112"]
    assert len(folder.places("--isolated")) == 3
    assert folder.places("old/train.py") == []
    folder.settings('ignore = ["gradients-not-cleared"]\n')
    assert folder.places() == []
    assert folder.places("--select", "TCS112") == []
    folder.settings('select = ["TCS4"]\noutput-format = "json"\n')
    assert folder.lint().report["findings"] == []
    assert len(folder.places("--select", "TCS112")) == 3
    assert len(folder.places("--extend-select", "TCS112")) == 3
    folder.settings('select = ["TCS9"]\n')
    wrong = folder.lint()
    assert wrong.status == 2
    assert "pyproject.toml: select matches no rule, got 'TCS9'" in wrong.err


def test_the_command_line_leaves_out_too(folder: Folder) -> None:
    folder.write(train=BAD, old__train=BAD)
    assert folder.places("--exclude", "old") == ["train.py:8 TCS112"]


def test_the_nearest_file_wins(folder: Folder) -> None:
    folder.settings('ignore = ["TCS112"]\n')
    folder.write(train=BAD, inner__train=BAD, inner__deep__train=GOOD)
    (folder.path / "inner" / "pyproject.toml").write_text("[tool.tcstatic]\nselect = ['TCS112']\n")
    assert folder.places() == ["inner/train.py:8 TCS112"]


def test_settings_are_shown(folder: Folder) -> None:
    folder.write(train=BAD)
    folder.settings('ignore = ["TCS112"]\n')
    shown = folder.lint("--show-settings")
    assert shown.status == 0
    assert "  ignore = ('TCS112',)" in shown.lines
    assert "  output-format = ''" in shown.lines


def test_rules_of_the_project(folder: Folder, repo: Path) -> None:
    text = (repo / "rules" / "TCS112.yaml").read_text()
    (folder.path / "own.yaml").write_text(text.replace("TCS112", "MY001"))
    folder.settings('rules = ["own.yaml"]\n')
    folder.write(train=BAD)
    assert folder.places() == ["train.py:8 MY001"]


def test_a_rule_about_another_torch_is_out_of_scope(folder: Folder, repo: Path) -> None:
    text = (repo / "rules" / "TCS112.yaml").read_text()
    own = text.replace("severity:", 'torch: ">=2.6"\nseverity:', 1)
    (folder.path / "own.yaml").write_text(own)
    folder.settings('rules = ["own.yaml"]\ntorch = "2.5"\n')
    folder.write(train=BAD)
    report = folder.lint("--output-format", "json").report
    assert report["findings"] == []
    assert "about torch >=2.6" in report["invariants"]["out_of_scope"]["TCS112"]
