"""The command line by itself: its frozen surface, what it hands on, and one-line errors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest

from tcstatic import cli, pipeline
from tcstatic.errors import InputError, PlanError, RuleError, TcstaticError
from tcstatic.model import ProbePlan, RunOptions
from tcstatic.pipeline import Prepared, Request
from tcstatic.runtime import live
from tests.golden.commands import cost

WATCHING = {
    "--rules",
    "--select",
    "--ignore",
    "--invariants",
    "--report",
    "--on-violation",
    "--overhead-budget",
    "--mesh",
    "--quiet",
    "--include",
    "--explain",
}
JUDGING = {"--rules", "--select", "--ignore", "--invariants", "--report", "--output-format"}
LINTING = {
    "--output-format",
    "--select",
    "--extend-select",
    "--ignore",
    "--exclude",
    "--rules",
    "--invariants",
    "--fix",
    "--unsafe-fixes",
    "--diff",
    "--baseline",
    "--write-baseline",
    "--statistics",
    "--explain",
    "--stdin-filename",
    "--jobs",
    "--no-cache",
    "--isolated",
    "--show-settings",
    "--exit-zero",
}
SURFACE = {
    "tcstatic": {"-V", "--version"},
    "run": {*WATCHING, "-m", "--trace"},
    "check": JUDGING,
    "rewrite": {*WATCHING, "-o", "--show-rewrite", "--diff", "--calls"},
    "lint": LINTING,
    "explain": set(),
    "graph": {"--output-format", "--unknown"},
    "infer": {
        *("-o", "--output", "--relations", "--min-support", "--holdout"),
        *("--merge", "--why", "--jobs", "--executor"),
    },
    "trace": set(),
    "rules": {"--output-format"},
}
LOOKING = {
    "info": {"--output-format"},
    "show": {"--kind", "--step", "--rank", "--limit"},
    "export": {"--kind", "--step", "--rank", "--limit", "-o", "--output"},
}


def options_of(commands: Mapping[str, click.Command]) -> dict[str, set[str]]:
    return {
        name: {text for one in command.params if isinstance(one, click.Option) for text in one.opts}
        for name, command in commands.items()
    }


def test_the_set_of_options_is_frozen() -> None:
    assert options_of({"tcstatic": cli.tcstatic, **cli.tcstatic.commands}) == SURFACE
    trace = cli.tcstatic.commands["trace"]
    assert isinstance(trace, click.Group)
    assert options_of(trace.commands) == LOOKING


def test_the_exit_codes_are_frozen() -> None:
    codes = {
        one.__name__: one.exit_code for one in (TcstaticError, InputError, RuleError, PlanError)
    }
    assert codes == {"TcstaticError": 3, "InputError": 2, "RuleError": 2, "PlanError": 2}


class Handed:
    """What the command line has handed on."""

    request: Request
    options: RunOptions
    argv: list[str]
    module: bool


def ended(arguments: Sequence[str]) -> int:
    """The exit code of a command line, whose script may leave by SystemExit."""
    try:
        return cli.main(arguments)
    except SystemExit as left:
        assert isinstance(left.code, int)
        return left.code


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Handed:
    """Stands in for planning and running."""
    seen = Handed()

    def prepare(request: Request, options: RunOptions) -> Prepared:
        seen.request, seen.options = request, options
        return Prepared(ProbePlan(request.root, request.script))

    def become(module: bool) -> Any:
        def run(plan: ProbePlan, argv: Sequence[str]) -> NoReturn:
            seen.argv, seen.module = list(argv), module
            raise SystemExit(7)

        return run

    monkeypatch.setattr(pipeline, "prepare", prepare)
    monkeypatch.setattr(live, "run_script", become(False))
    monkeypatch.setattr(live, "run_module", become(True))
    # Taking click out of sys.modules is for the process that becomes a script.
    for name in [name for name in sys.modules if name.partition(".")[0] == "click"]:
        monkeypatch.setitem(sys.modules, name, sys.modules[name])
    return seen


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "train.py"
    path.write_text("print('trained')\n")
    return str(path)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--report", "x", "--quiet", "-m", "--help", "--no-such"],
        ["--", "-o", "--"],
        ["", "a b", "\udcff", "-", "@file", "--lr=1", "*"],
    ],
)
def test_all_after_the_script_is_the_scripts(
    handed: Handed, script: str, arguments: list[str]
) -> None:
    assert ended(["run", "--quiet", script, *arguments]) == 7
    assert handed.argv == [script, *arguments]
    assert handed.options == RunOptions(quiet=True)
    assert handed.request == Request(script, str(Path(script).parent))


def test_all_after_a_module_is_the_modules(
    handed: Handed, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(script).parent)
    assert ended(["run", "-m", "train", "-m", "--quiet", "--", "x"]) == 7
    assert handed.module
    assert handed.argv == ["train", "-m", "--quiet", "--", "x"]
    assert handed.request == Request(script, str(Path(script).parent), "train")


def test_options_are_handed_on(handed: Handed, script: str, tmp_path: Path) -> None:
    report = tmp_path / "new" / "r.json"
    report.parent.mkdir()
    line = "run --rules a.yaml --rules b --select TCS1,TCS2 --select x --ignore y --invariants i"
    line += f" --report {report} --report r.txt --on-violation stop --overhead-budget 0.5%"
    assert ended([*line.split(), "--include", "a.b", "--quiet", script]) == 7
    assert handed.request == Request(
        script,
        str(tmp_path),
        rules=("a.yaml", "b"),
        invariants=("i",),
        select=("TCS1", "TCS2", "x"),
        ignore=("y",),
        include=("a.b",),
    )
    assert handed.options == RunOptions(
        (str(report), str(Path("r.txt").absolute())), "stop", 0.005, True
    )


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("1", 0.01), ("0.5 %", 0.005), ("0", 0)])
def test_a_budget_is_a_percentage(handed: Handed, script: str, text: str, share: float) -> None:
    assert ended(["run", "--overhead-budget", text, script]) == 7
    assert handed.options.overhead_budget == share


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run", "Missing argument 'SCRIPT'"),
        ("run --no-such SCRIPT", "No such option"),
        ("run --on-violation warm SCRIPT", "'warm' is not one of 'warn', 'fail', 'stop'"),
        ("run --overhead-budget 101% SCRIPT", "expected a percentage"),
        ("run --overhead-budget nan SCRIPT", "expected a percentage"),
        ("run --overhead-budget -1 SCRIPT", "expected a percentage"),
        ("run --mesh data SCRIPT", "is no NAME=RANKS"),
        ("run --report r.html SCRIPT", "unknown kind of report"),
        ("run --report /dev/null/r.json SCRIPT", "cannot be written"),
        ("run --include ../x SCRIPT", "expected the name of a package"),
        ("run no/such.py", "no/such.py: the script cannot be read (No such file or directory)"),
        ("run FOLDER", "this is a folder"),
        ("run -m no_such_module", "no such module, got 'no_such_module'"),
        ("run -m ../x", "no such module"),
        ("rewrite SCRIPT", "nothing to do"),
        ("rewrite no/such.py -o x", "cannot be read"),
        ("wrte", "no such command"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    script: str, capfd: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    names = {"SCRIPT": script, "FOLDER": str(Path(script).parent)}
    assert ended([names.get(word, word) for word in line.split()]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("tcstatic: ")
    assert err.count("\n") == 1
    assert words in err


def test_a_bug_of_ours_is_one_line_and_exit_code_3(
    handed: Handed,
    script: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: Any) -> Prepared:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(pipeline, "prepare", broken)
    monkeypatch.delenv("TCSTATIC_DEBUG", raising=False)
    assert ended(["run", script]) == 3
    err = capfd.readouterr().err
    assert err.startswith("tcstatic: this is a bug in tcstatic (ZeroDivisionError: two lines); ")
    assert "report" in err
    assert err.count("\n") == 1


def test_what_is_wrong_just_before_the_script_begins_is_one_line(
    handed: Handed,
    script: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def gone(*_: Any) -> NoReturn:
        raise InputError("train.py: the script is gone")

    monkeypatch.setattr(live, "run_script", gone)
    assert cli.main(["run", script]) == 2
    assert capfd.readouterr().err == "tcstatic: train.py: the script is gone\n"


def test_where_planning_fails_the_script_runs_unwatched(
    handed: Handed,
    script: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    failed = Prepared(ProbePlan("", script), "ValueError: x")
    monkeypatch.setattr(pipeline, "prepare", lambda *_: failed)
    assert ended(["run", script]) == 7
    assert handed.argv == [script]
    said = capfd.readouterr().err
    assert said == "tcstatic: not watched, planning failed: ValueError: x\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["Commands:", "rewrite", "run"]),
        (["--help"], ["Commands:", "Exit codes"]),
        (["--version"], ["tcstatic 0."]),
        (["run", "--help"], ["[OPTIONS] SCRIPT [ARGS]...", "default: 1%"]),
        (["rewrite", "-h"], ["--show-rewrite"]),
    ],
)
def test_help(arguments: list[str], words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(arguments) == (0 if arguments else 2)
    out, err = capfd.readouterr()
    for word in words:
        assert word in out + err


@pytest.mark.parametrize("group", [[], ["trace"]])
def test_a_list_of_commands_says_each_in_whole_sentences(
    group: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert ended([*group, "--help"]) == 0
    assert "..." not in capfd.readouterr().out.partition("Commands:")[2]


def test_the_command_line_loads_nothing_heavy(repo: Path) -> None:
    code = (
        "import sys; import tcstatic.cli; print(sorted(sys.modules.keys() &"
        " {'torch', 'libcst', 'yaml', 'networkx', 'tcstatic.model', 'tcstatic.pipeline'}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True)
    assert ran.stdout == "[]\n", ran.stderr


def test_help_answers_at_once(repo: Path) -> None:
    words = [sys.executable, "-m", "tcstatic", "--help"]
    assert min(cost(words, repo, os.environ) for _ in range(5)) < 3
