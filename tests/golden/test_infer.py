"""`tcstatic infer` as its user runs it: record healthy runs, learn, judge another run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tcstatic.invariants.rules import load_rules

FIXTURES = Path(__file__).parents[2] / "fixtures"
HEALTHY = ("weight_tying", "rnn_state")


def tcstatic(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tcstatic", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of two healthy scripts, the first of them twice, and of a story's bad one."""
    folder = tmp_path_factory.mktemp("traces")
    scripts = {name: FIXTURES / "healthy" / f"{name}.py" for name in HEALTHY}
    scripts["again"] = scripts[HEALTHY[0]]
    scripts["bad"] = FIXTURES / "stories" / "flat_loss" / "bad.py"
    for name, script in scripts.items():
        done = tcstatic("run", "--quiet", "--trace", folder / name, script)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def learnt(traces: Path) -> Path:
    path = traces / "learnt.yaml"
    done = tcstatic("infer", *(traces / name for name in HEALTHY), "-o", path)
    assert done.returncode == 0, done.stderr
    assert f"{path}" in done.stdout and done.stderr == ""
    return path


def test_what_is_learnt_is_a_rule_file_with_its_support(learnt: Path) -> None:
    rules = load_rules([learnt])
    assert len(rules) >= 20
    assert len({one.relation for one in rules}) >= 4
    for one in rules:
        assert one.status == "learnt" and one.severity == "warning"
        assert one.support is not None and set(one.support.runs) <= set(HEALTHY)
    assert learnt.read_text(encoding="utf-8").startswith("# Learnt by tcstatic infer from ")


def test_a_second_run_of_what_was_learnt_from_is_clean(traces: Path, learnt: Path) -> None:
    done = tcstatic("check", traces / "again", "--invariants", learnt)
    assert done.returncode == 0, done.stderr


def test_what_fails_together_is_told_as_one(traces: Path, learnt: Path) -> None:
    done = tcstatic("check", traces / "bad", "--invariants", learnt, "--output-format", "json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    named, learned = [
        [one for one in report["findings"] if one["code"].startswith(letters)]
        for letters in ("TCS", "INF")
    ]
    assert [one["code"] for one in named] == ["TCS201"]
    violated = [code for code in report["invariants"]["violated"] if code.startswith("INF")]
    assert len(violated) >= 3 and learned == []
    assert any(link["event"].startswith("INF") for link in named[0]["witness"])


def test_it_is_the_same_file_under_any_hash_seed(traces: Path, learnt: Path) -> None:
    for seed in ("1", "77"):
        path = traces / f"seed{seed}.yaml"
        command = [sys.executable, "-m", "tcstatic", "infer", *(str(traces / n) for n in HEALTHY)]
        environment = {"PYTHONHASHSEED": seed, "PATH": ""}
        subprocess.run(
            [*command, "-o", str(path)], env=environment, check=True, capture_output=True
        )
        assert path.read_bytes() == learnt.read_bytes()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("nowhere", "-o", "x.yaml"), "nowhere"),
        (("TRACE", "-o", "missing/x.yaml"), "cannot be written"),
        (("TRACE", "-o", "x.yaml", "--relations", "ordr"), "unknown relation 'ordr'"),
    ],
)
def test_bad_input_is_one_line(
    traces: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    given = [str(traces / HEALTHY[0]) if one == "TRACE" else one for one in arguments]
    given = [str(tmp_path / one) if one.endswith(".yaml") else one for one in given]
    done = tcstatic("infer", *given)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and said in done.stderr
