"""`tcstatic lint`: every option, the exit codes, and files that cannot be read."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.unit.lint.projects import BAD, GOOD, Folder

PLACE = "train.py:8 TCS112"


def test_clean_and_found(folder: Folder) -> None:
    folder.write(train=GOOD)
    assert folder.lint().status == 0
    folder.write(train=BAD)
    found = folder.lint("train.py")
    assert (found.status, found.err) == (1, "")
    assert found.lines[0] == "train.py:8:5: error TCS112 gradients-not-cleared"
    assert "1 error in 1 file" in found.lines
    assert folder.places() == [PLACE]


def test_exit_zero(folder: Folder) -> None:
    folder.write(train=BAD)
    assert folder.lint("--exit-zero").status == 0
    folder.write(broken="def f(:\n")
    assert folder.lint("--exit-zero").status == 2


def test_the_report(folder: Folder) -> None:
    folder.write(train=BAD)
    report = folder.lint("--output-format", "json", "train.py").report
    assert (report["schema"], report["command"]) == ("tcstatic-report/1", "lint")
    assert (report["script"], report["exit_status"]) == ("train.py", 1)
    assert "TCS112" in report["invariants"]["violated"]
    (finding,) = report["findings"]
    assert (finding["file"], finding["line"], finding["column"]) == ("train.py", 8, 5)
    assert (finding["step"], finding["severity"]) == (None, "error")
    assert len(finding["fingerprint"]) == 32


def test_the_report_says_what_was_understood(folder: Folder) -> None:
    guess = "import torch\ndef fit(trainer, x):\n    model.loss(x).backward()\n    x.y[0].step()\n"
    folder.write(train=BAD, other=guess, alone="x = 1\n")
    cold, warm = (folder.lint("--output-format", "json").report["coverage"] for _ in range(2))
    assert cold == warm
    assert cold["roles"]["loss.backward"]["sites"] == 2
    assert 1 <= cold["roles"]["optimizer.step"]["known"] <= cold["roles"]["optimizer.step"]["sites"]
    unknown = folder.lint("--output-format", "json", "other.py").report["coverage"]["unknown"]
    assert unknown and set(unknown.values()) == {1}


def test_selecting_rules(folder: Folder) -> None:
    folder.write(train=BAD)
    assert folder.places("--select", "TCS112") == [PLACE]
    assert folder.places("--select", "TCS1") == [PLACE]
    assert folder.places("--select", "gradients-not-cleared") == [PLACE]
    assert folder.places("--select", "TCS4") == []
    assert folder.places("--select", "TCS4", "--extend-select", "TCS112") == [PLACE]
    assert folder.places("--ignore", "TCS112") == []
    assert folder.places("--select", "TCS112", "--ignore", "TCS1") == []
    wrong = folder.lint("--select", "TCS999")
    assert (wrong.status, wrong.err.count("\n")) == (2, 1)
    assert "--select matches no rule, got 'TCS999'" in wrong.err


def test_what_no_file_is_chosen_for(folder: Folder) -> None:
    said = folder.lint()
    assert (said.status, said.err) == (0, "tcstatic: nothing to lint in .\n")
    missing = folder.lint("no.py")
    assert (missing.status, missing.err) == (2, "tcstatic: no.py: no such file or folder\n")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("broken.py", b"import torch\ndef f(:\n", "syntax error, got invalid syntax (line 2)"),
        ("plain.py", b"x = = 1\n", "syntax error, got invalid syntax (line 1)"),
        ("two.py", b"import torch\nprint 'x'\n", "syntax error"),
        ("merge.py", b"import torch\n<<<<<<< HEAD\nx = 1\n=======\n", "syntax error"),
        ("magic.py", b"import torch\n%matplotlib inline\n!ls\n", "syntax error"),
        ("latin.py", b"import torch\nx = '\xff'\n", "cannot be decoded"),
        ("coding.py", b"# coding: klingon\nimport torch\n", "cannot be decoded"),
        ("binary.py", b"import torch\0\0", "this is no text"),
        ("deep.py", b"import torch\nx = " + b"(" * 5000 + b")" * 5000, ""),
    ],
)
def test_a_file_that_cannot_be_read(folder: Folder, name: str, content: bytes, reason: str) -> None:
    folder.write(train=BAD)
    (folder.path / name).write_bytes(content)
    found = folder.lint("--output-format", "concise")
    assert found.status == 2
    assert found.err.startswith(f"tcstatic: {name}: ")
    assert found.err.count("\n") == 1
    assert reason in found.err
    assert [line.split()[0] for line in found.lines] == ["train.py:8:5:"]


def test_links_folders_and_giants(folder: Folder) -> None:
    folder.write(train=BAD)
    (folder.path / "gone.py").symlink_to("nowhere.py")
    (folder.path / "folder.py").mkdir()
    os.mkfifo(folder.path / "pipe.py")
    with (folder.path / "giant.py").open("wb") as giant:
        giant.truncate(2 << 30)
    found = folder.lint("--output-format", "concise")
    assert found.status == 2
    assert sorted(found.err.splitlines()) == [
        "tcstatic: giant.py: too large to lint, got 2,147,483,648 bytes;"
        " expected at most 8,000,000",
        "tcstatic: gone.py: a link to nothing",
        "tcstatic: pipe.py: this is no regular file",
    ]
    assert len(found.lines) == 1
    assert folder.lint("gone.py").status == 2


def test_a_file_without_permission(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write(train=BAD, secret=GOOD)
    read = Path.read_bytes

    def refusing(path: Path) -> bytes:
        if path.name == "secret.py":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refusing)
    found = folder.lint("--output-format", "concise")
    said = "tcstatic: secret.py: cannot be read (Permission denied)\n"
    assert (found.status, found.err, len(found.lines)) == (2, said, 1)


def standard_input(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr(sys, "stdin", stream)


def test_standard_input(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, BAD)
    assert folder.concise("-", "--stdin-filename", "lib/train.py")[0].startswith("lib/train.py:8:5")
    standard_input(monkeypatch, BAD)
    assert folder.concise("-")[0].startswith("stdin.py:8:5")
    standard_input(monkeypatch, "def f(:\n")
    broken = folder.lint("-", "--stdin-filename", "new.py")
    assert (broken.status, broken.err[:18]) == (2, "tcstatic: new.py: ")


def test_standard_input_stands_for_its_file(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(train=GOOD)
    standard_input(monkeypatch, BAD)
    assert folder.concise("-", "--stdin-filename", "train.py")[0].startswith("train.py:8:5")
    assert folder.places() == []


def test_a_fix_of_standard_input(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, "import torch\nx = 1  # noqa: TCS112\n")
    fixed = folder.lint("-", "--fix")
    assert (fixed.status, fixed.out) == (0, "import torch\nx = 1\n")
    assert "no finding in 1 file, 1 fixed" in fixed.err


def test_wrong_usage_is_one_line(folder: Folder) -> None:
    folder.write(train=GOOD)
    for line in (
        "--unsafe-fixes",
        "--write-baseline --fix",
        "--stdin-filename x.py",
        "- train.py",
        "--jobs 0",
        "--output-format xml",
        "--write-baseline",
        "--baseline no.json",
        "--rules no.yaml",
    ):
        said = folder.lint(*line.split())
        assert (said.status, said.out, said.err.count("\n")) == (2, "", 1), line


def test_statistics(folder: Folder) -> None:
    folder.write(a=BAD, b=BAD, c="import torch  # noqa: TCS112\n")
    lines = folder.lint("--statistics").lines
    assert lines[-2:] == [
        "2 TCS112 gradients-not-cleared" + (" (2 with a fix)" if "with a fix" in lines[-2] else ""),
        "1 TCS001 useless-suppression (1 with a fix)",
    ]
    as_json = folder.lint("--statistics", "--output-format", "json")
    assert len(as_json.report["findings"]) == 3
    assert "2 TCS112" in as_json.err


def test_explanations_of_one_file(folder: Folder) -> None:
    folder.write(train=BAD)
    lines = folder.lint("--explain", "train.py").lines
    at = lines.index("TCS112 gradients-not-cleared")
    assert lines[at + 1] == "  violated (train.py)"
    at = lines.index("TCS101 step-changes-nothing") if "TCS101 step-changes-nothing" in lines else 0
    assert at == 0 or "train.py" in lines[at + 1] or "out of scope" in lines[at + 1]


def test_explanations_of_many_files(folder: Folder) -> None:
    folder.write(train=BAD, good=GOOD, other="print('x')\n", another="x = 1\n")
    report = folder.lint("--explain", "--output-format", "json").report
    mine = [one for one in report["verdicts"] if one["code"] == "TCS112"]
    counts: Counter[str] = Counter()
    for one in mine:
        counts[one["verdict"]] += one["files"]
    assert counts == {"VIOLATED": 1, "HOLDS": 1, "OUT_OF_SCOPE": 2}
    assert all(one["reason"] for one in report["verdicts"] if one["verdict"] == "OUT_OF_SCOPE")


def test_several_processes_find_the_same(folder: Folder) -> None:
    folder.write(**{f"train{number}": BAD for number in range(20)}, broken="def f(:\n")
    alone = folder.lint("--no-cache", "--jobs", "1", "--output-format", "json")
    together = folder.lint("--no-cache", "--jobs", "2", "--output-format", "json")
    assert alone.report == together.report
    assert (alone.status, len(alone.report["findings"])) == (2, 20)


def test_no_cache_leaves_nothing(folder: Folder) -> None:
    folder.write(train=BAD)
    folder.lint("--no-cache")
    cache = Path(os.environ["TCSTATIC_CACHE"])
    assert not cache.exists() or not list(cache.rglob("*.json"))


def test_colours_only_on_request(folder: Folder) -> None:
    folder.write(train=BAD)
    assert "\x1b" not in folder.lint().out


def test_a_rule_of_ones_own(folder: Folder, repo: Path) -> None:
    folder.write(train=BAD)
    text = (repo / "rules" / "TCS112.yaml").read_text()
    own = text.replace("code: TCS112", "code: MY001").replace("gradients-not-cleared", "mine")
    own = own.replace("# expect: TCS112", "# expect: MY001")
    (folder.path / "own.yaml").write_text(own)
    assert folder.places("--rules", "own.yaml") == ["train.py:8 MY001"]
    both = folder.places("--invariants", "own.yaml", "--select", "MY,TCS112")
    assert both == ["train.py:8 MY001", "train.py:8 TCS112"]


def test_names_that_are_no_text(folder: Folder) -> None:
    for name in (b"a\xff.py", b"n\nl.py", "ü.py".encode()):
        Path(os.fsdecode(name)).write_text(BAD)
    for output in ("text", "json", "sarif", "github", "concise"):
        assert folder.lint("--output-format", output).status == 1, output
    lines = folder.concise()
    assert [line.split(":")[0] for line in lines] == ["a\\udcff.py", "n\\nl.py", "ü.py"]


def test_a_note_is_no_finding_that_fails(folder: Folder, repo: Path) -> None:
    folder.write(train=BAD)
    text = (repo / "rules" / "TCS112.yaml").read_text()
    (folder.path / "own.yaml").write_text(text.replace("severity: error", "severity: note"))
    found = folder.lint("--rules", "own.yaml")
    assert (found.status, "1 note in 1 file" in found.lines) == (0, True)


class Terminal(io.StringIO):
    """A stream that says that it is one."""

    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal_only(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write(**{f"train{number}": GOOD for number in range(4)})
    monkeypatch.setattr(sys.modules["tcstatic.cli.lint"], "_LONG_RUN", 4)
    assert folder.lint().err == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert folder.lint("--no-cache").status == 0
    assert "100%" in terminal.getvalue()
    monkeypatch.setattr(sys.modules["tcstatic.cli.lint"], "_LONG_RUN", 5)
    quiet = Terminal()
    monkeypatch.setattr(sys, "stderr", quiet)
    folder.lint("--no-cache")
    assert quiet.getvalue() == ""


def test_what_a_warm_run_loads(folder: Folder, repo: Path) -> None:
    folder.write(train=GOOD)
    code = (
        "import sys; from tcstatic import cli; cli.main(['lint']);"
        " print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr);"
        " print('tcstatic.lint.judging' in sys.modules, file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(repo)}
    words = [sys.executable, "-c", code]
    loaded = [
        subprocess.run(words, env=environment, capture_output=True, text=True).stderr.splitlines()
        for _ in range(2)
    ]
    for names, _ in loaded:
        heavy = ("torch", "libcst", "networkx", "z3", "numpy")
        assert not [name for name in heavy if f"'{name}'" in names]
    assert [analysed for _, analysed in loaded] == ["True", "False"]
    assert "'yaml'" not in loaded[1][0]
