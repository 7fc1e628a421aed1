"""The commands as a user starts them: exit codes, one line per fault, the cache, the copy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Planned and rewritten like any script; most of what is tested here needs no torch. What the source
# cannot tell is probed.
LIGHT = """\
import sys

from helper import make_model

model = make_model()
vars()["model"].zero_grad()
print("trained", sys.argv[1:])
"""
HELPER = """\
class Model:
    def zero_grad(self):
        pass

    def train(self):
        raise ValueError("this model cannot train")


def make_model():
    return Model()
"""
TRAIN = """\
import sys

import torch

model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    optimizer.zero_grad()
    loss = model(torch.ones(2, 3)).square().mean()
    loss.backward()
    optimizer.step()
print("trained", sys.argv[1:])
"""
# A rule for tests: every step with a gradient changes a parameter.
RULE = """\
code: ZZ001
name: nothing-changes
relation: order
that: {existence: optimizer.zero_grad, between: [optimizer.step, optimizer.step]}
severity: error
message: nothing
why: nothing
cure: nothing
"""
# Stands for any failure in our own planning: the child cannot have libcst.
NO_LIBCST = "import sys; sys.modules['libcst'] = None\n"


class Folder:
    """A folder with a script, and a way to start commands in it."""

    def __init__(self, path: Path, repo: Path) -> None:
        self.path = path
        (path / "train.py").write_text(LIGHT)
        (path / "helper.py").write_text(HELPER)
        self.env = {
            **os.environ,
            "PYTHONPATH": str(repo),
            "TCSTATIC_CACHE": str(path.parent / "cache"),
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.path,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def tcstatic(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.start("-m", "tcstatic", *words)

    def without_libcst(self) -> None:
        """From here on planning fails, so that a good run proves that the cache was used."""
        site = self.path.parent / "site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(NO_LIBCST)
        self.env["PYTHONPATH"] = f"{site}{os.pathsep}{self.env['PYTHONPATH']}"


@pytest.fixture
def folder(tmp_path: Path, repo: Path) -> Folder:
    (tmp_path / "work").mkdir()
    return Folder(tmp_path / "work", repo)


def theirs(stderr: str) -> str:
    """What of stderr is the script's own."""
    return "".join(
        line for line in stderr.splitlines(keepends=True) if not line.startswith("tcstatic: ")
    )


def test_a_healthy_run_and_its_reports(folder: Folder) -> None:
    (folder.path / "train.py").write_text(TRAIN)
    ran = folder.tcstatic("run", "--report", "r.json", "--report", "r.txt", "train.py", "-m", "x")
    assert ran.stdout == "trained ['-m', 'x']\n"
    assert ran.returncode == 0
    assert theirs(ran.stderr) == ""
    assert "tcstatic: no finding" in ran.stderr
    report = json.loads((folder.path / "r.json").read_text())
    assert (report["schema"], report["exit_status"]) == ("tcstatic-report/1", 0)
    assert report["script"].endswith("train.py")
    assert report["command"].startswith("tcstatic run")
    assert report["command"].endswith("train.py -m x")
    assert report["probes"]["events"] > 0
    assert len(report["invariants"]["held"]) >= 8
    assert "tcstatic: no finding" in (folder.path / "r.txt").read_text()


def test_a_report_without_a_folder_is_refused_before_anything_runs(folder: Folder) -> None:
    (folder.path / "train.py").write_text(TRAIN)
    for words in (["run"], ["rewrite", "--diff"]):
        ran = folder.tcstatic(*words, "--report", "missing/r.json", "train.py")
        assert (ran.returncode, ran.stdout) == (2, "")
        (line,) = ran.stderr.splitlines()
        assert "missing/r.json" in line and "there is no folder" in line
    assert not (folder.path / "missing").exists()


def test_quiet_says_nothing(folder: Folder) -> None:
    ran = folder.tcstatic("run", "--quiet", "train.py")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "trained []\n", "")


def test_a_module_runs_as_a_module(folder: Folder) -> None:
    package = folder.path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "main.py").write_text(
        "import sys\nfrom . import other\nprint(__name__, __package__, other.x, sys.argv[1:])\n"
    )
    (package / "other.py").write_text("x = 5\n")
    ran = folder.tcstatic("run", "--quiet", "-m", "pkg.main", "--quiet", "-m")
    assert (ran.returncode, ran.stdout) == (0, "__main__ pkg 5 ['--quiet', '-m']\n"), ran.stderr
    assert ran.stdout == folder.start("-m", "pkg.main", "--quiet", "-m").stdout


@pytest.mark.parametrize(
    "script",
    [
        "import sys\nsys.exit(5)\n",
        "import sys\nsys.exit('with words')\n",
        "from helper import make_model\ndef f():\n    make_model().train(); f()\nf()\n",
        "import helper\nhelper.make_model()(\n",
        "x = '\n",
    ],
)
def test_the_end_is_pythons_own(folder: Folder, script: str) -> None:
    (folder.path / "ends.py").write_text(script)
    plain, watched = folder.start("ends.py"), folder.tcstatic("run", "ends.py")
    assert watched.returncode == plain.returncode
    assert watched.stdout == plain.stdout
    assert theirs(watched.stderr) == plain.stderr
    assert "bug in tcstatic" not in watched.stderr


def test_a_script_with_a_syntax_error_is_told_in_one_line(folder: Folder) -> None:
    (folder.path / "ends.py").write_text("for x in\n")
    ran = folder.tcstatic("run", "ends.py")
    lines = [line for line in ran.stderr.splitlines() if line.startswith("tcstatic: ")]
    assert sum("ends.py" in line for line in lines) == 1, ran.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("between:", "betwen:"), "rule.yaml:4: unknown key 'betwen'"),
        (("relation: order", "relation: ordr"), "rule.yaml:3: unknown relation 'ordr'"),
        (("severity:", "severty:"), "rule.yaml:5: unknown key 'severty'"),
        (("code:", "{"), "rule.yaml:"),
    ],
)
def test_a_wrong_rule_stops_before_training(
    folder: Folder, change: tuple[str, str], words: str
) -> None:
    (folder.path / "rule.yaml").write_text(RULE.replace(*change))
    ran = folder.tcstatic("run", "--rules", "rule.yaml", "train.py")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"tcstatic: {words}"), ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_rule_that_is_not_there(folder: Folder) -> None:
    ran = folder.tcstatic("run", "--select", "TCS999", "train.py")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "--select matches no rule, got 'TCS999'" in ran.stderr
    ran = folder.tcstatic("run", "--include", "no_such_package", "train.py")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)


def test_the_cache_needs_no_second_planning(folder: Folder) -> None:
    assert "planning failed" not in folder.tcstatic("run", "train.py").stderr
    folder.without_libcst()
    ran = folder.tcstatic("run", "--report", "r.json", "train.py")
    assert "planning failed" not in ran.stderr
    assert json.loads((folder.path / "r.json").read_text())["probes"]["installed"] > 0


@pytest.mark.parametrize("change", ["script", "helper", "shadow", "entry", "code", "rules"])
def test_the_cache_sees_what_has_changed(folder: Folder, change: str) -> None:
    (folder.path / "rule.yaml").write_text(RULE)
    words = ("run", "--rules", "rule.yaml", "train.py")
    folder.tcstatic(*words)
    cache = folder.path.parent / "cache"
    if change == "script":
        (folder.path / "train.py").write_text(LIGHT + "\n")
    elif change == "helper":
        (folder.path / "helper.py").write_text(HELPER + "\n")
    elif change == "shadow":
        (folder.path / "helper").mkdir()
        (folder.path / "helper" / "__init__.py").write_text(HELPER)
    elif change == "rules":
        (folder.path / "rule.yaml").write_text(RULE + "\n")
    else:
        for path in cache.rglob("*.json" if change == "entry" else "*.code"):
            path.write_text("{}") if change == "entry" else path.unlink()
    folder.without_libcst()
    ran = folder.tcstatic(*words)
    assert "planning failed" in ran.stderr
    assert (ran.returncode, ran.stdout) == (0, "trained []\n")


def test_where_planning_fails_training_goes_on(folder: Folder) -> None:
    folder.without_libcst()
    ran = folder.tcstatic("run", "--report", "r.json", "train.py", "--x")
    assert (ran.returncode, ran.stdout) == (0, "trained ['--x']\n")
    assert ran.stderr.startswith("tcstatic: not watched, planning failed: ")
    assert theirs(ran.stderr) == ""
    report = json.loads((folder.path / "r.json").read_text())
    assert "planning failed" in report["skipped"][0]["reason"]


def test_an_unwritable_cache_harms_nothing(folder: Folder) -> None:
    (folder.path.parent / "cache").write_text("a file")
    ran = folder.tcstatic("run", "train.py")
    assert (ran.returncode, ran.stdout, theirs(ran.stderr)) == (0, "trained []\n", "")
    assert "planning failed" not in ran.stderr


def test_names_of_ours_in_the_users_folder(folder: Folder) -> None:
    for name in ("click", "yaml", "libcst", "report", "cli", "model"):
        (folder.path / f"{name}.py").write_text(f"print('their own {name}')\n")
    script = "import click, yaml, report, cli, model\n" + LIGHT
    (folder.path / "train.py").write_text(script)
    plain, watched = folder.start("train.py"), folder.tcstatic("run", "train.py")
    assert watched.stdout == plain.stdout
    assert theirs(watched.stderr) == ""
    assert "planning failed" not in watched.stderr


def test_the_copy_runs_under_python(folder: Folder) -> None:
    (folder.path / "train.py").write_text(TRAIN)
    ran = folder.tcstatic("rewrite", "--report", "r.json", "train.py", "-o", "copy")
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    assert (folder.path / "copy" / "plan.json").is_file()
    ran = folder.start("copy/train.py", "a")
    assert (ran.returncode, ran.stdout) == (0, "trained ['a']\n"), ran.stderr
    assert "tcstatic: no finding" in ran.stderr
    assert json.loads((folder.path / "r.json").read_text())["probes"]["events"] > 0


@pytest.mark.parametrize("words", [("run",), ("rewrite", "--diff")])
def test_a_copy_is_not_watched_twice(folder: Folder, words: tuple[str, ...]) -> None:
    assert folder.tcstatic("rewrite", "train.py", "-o", "copy").returncode == 0
    ran = folder.tcstatic(*words, "copy/train.py")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert "copy/train.py: this lies in a copy by `tcstatic rewrite`; expected a sc" in ran.stderr


def test_the_copy_never_overwrites(folder: Folder) -> None:
    ran = folder.tcstatic("rewrite", "train.py", "-o", ".")
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr
    assert (folder.path / "train.py").read_text() == LIGHT


def test_the_rewrite_is_shown_line_for_line(folder: Folder) -> None:
    ran = folder.tcstatic("rewrite", "--show-rewrite", "train.py")
    assert ran.returncode == 0, ran.stderr
    shown = ran.stdout.splitlines()
    assert "_tcstatic.after(" in ran.stdout
    assert len(shown) == len((LIGHT + HELPER).splitlines())
    ran = folder.tcstatic("rewrite", "--diff", "train.py")
    added = [line for line in ran.stdout.splitlines() if line.startswith("+") and line[1] != "+"]
    removed = [line for line in ran.stdout.splitlines() if line.startswith("-") and line[1] != "-"]
    assert len(added) == len(removed) > 0
    assert all("_tcstatic" in line for line in added)
    assert not (folder.path / "plan.json").exists()


@pytest.mark.parametrize(("mode", "status"), [("warn", 0), ("fail", 1), ("stop", 1)])
def test_what_a_violation_does_to_the_exit_status(folder: Folder, mode: str, status: int) -> None:
    bad = TRAIN.replace("    loss.backward()\n", "")
    (folder.path / "train.py").write_text(f"try:\n    {bad.replace(chr(10), chr(10) + '    ')}")
    with (folder.path / "train.py").open("a") as stream:
        stream.write("\nfinally:\n    print('cleaned up')\n")
    ran = folder.tcstatic("run", "--on-violation", mode, "train.py")
    assert ran.returncode == status, ran.stderr
    assert ran.stdout.endswith("cleaned up\n")
    assert ("trained" in ran.stdout) is (mode != "stop")
    assert "tcstatic: error TCS1" in ran.stderr
