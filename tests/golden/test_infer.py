"""`tcstatic infer` as its user runs it: record healthy runs, learn, judge another run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tcstatic.infer.keeping import beside
from tcstatic.invariants.rules import load_rules
from tests.golden.commands import record, tcstatic
from tests.golden.running import FIXTURES

HEALTHY = ("weight_tying", "rnn_state")


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of two healthy scripts, the first of them twice, and of a story's bad one."""
    folder = tmp_path_factory.mktemp("traces")
    scripts = {name: FIXTURES / "healthy" / f"{name}.py" for name in HEALTHY}
    scripts["again"] = scripts[HEALTHY[0]]
    scripts["bad"] = FIXTURES / "stories" / "flat_loss" / "bad.py"
    for name, script in scripts.items():
        record(script, folder / name)
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
        words = ("infer", *(traces / name for name in HEALTHY), "-o", path)
        done = tcstatic(*words, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        assert path.read_bytes() == learnt.read_bytes()


def test_it_is_the_same_file_whoever_learns(traces: Path, learnt: Path) -> None:
    path = traces / "processes.yaml"
    done = tcstatic("infer", *(traces / n for n in HEALTHY), "-o", path, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    for ours, theirs in ((path, learnt), (beside(path), beside(learnt))):
        assert ours.read_bytes() == theirs.read_bytes()


def test_runs_can_be_added_later(traces: Path, learnt: Path) -> None:
    path = traces / "later.yaml"
    for name, merge in ((HEALTHY[1], ()), (HEALTHY[0], ("--merge", path))):
        done = tcstatic("infer", traces / name, "-o", path, *merge)
        assert done.returncode == 0, done.stderr
    ours, theirs = (
        {(one.message, one.when, one.seen, one.support) for one in load_rules([file])}
        for file in (path, learnt)
    )
    assert ours == theirs


def test_it_tells_why(traces: Path, learnt: Path) -> None:
    asked = next(one for one in load_rules([learnt]) if one.support and one.support.excluded)
    done = tcstatic("infer", "--merge", learnt, "--why", asked.code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{asked.code} ({asked.relation}): ")
    assert "excluded by" in done.stdout and ".py:" in done.stdout
    again = tcstatic("infer", *(traces / name for name in HEALTHY), "--why", asked.code)
    assert again.stdout == done.stdout


def test_nothing_learnt_is_one_line_and_no_file(tmp_path: Path) -> None:
    script = tmp_path / "idle.py"
    script.write_text("import torch\nprint(torch.nn.Linear(2, 2)(torch.ones(1, 2)).shape)\n")
    record(script, tmp_path / "trace")
    done = tcstatic("infer", tmp_path / "trace", "-o", tmp_path / "x.yaml")
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "nothing was learnt" in done.stderr and "record a run that trains" in done.stderr
    assert not list(tmp_path.glob("x.*"))


def test_options_say_what_is_learnt(traces: Path, learnt: Path, tmp_path: Path) -> None:
    def said(*options: str) -> set[tuple[str, str]]:
        path = tmp_path / "x.yaml"
        done = tcstatic("infer", *(traces / name for name in HEALTHY), "-o", path, *options)
        assert done.returncode == 0, done.stderr
        return {(one.relation, one.message) for one in load_rules([path])}

    usual = {(one.relation, one.message) for one in load_rules([learnt])}
    few = said("--relations", "order, member")
    assert few == {one for one in usual if one[0] in ("order", "member")} and few
    assert said("--no-holdout") >= usual
    often = {(o.relation, o.message) for o in load_rules([learnt]) if o.support.held >= 50}  # type: ignore[union-attr]
    assert said("--min-support", "50") == often


def test_support_that_nothing_has_is_named(traces: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    done = tcstatic("infer", traces / HEALTHY[0], "-o", path, "--min-support", "1000")
    assert done.returncode == 2 and "--min-support 1000" in done.stderr
    assert not path.exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((), "no TRACE is given"),
        (("TRACE",), "no --output is given"),
        (("nowhere", "-o", "x.yaml"), "nowhere"),
        (("TRACE", "-o", "missing/x.yaml"), "cannot be written"),
        (("TRACE", "-o", "x.yaml", "--relations", "ordr"), "unknown relation 'ordr'"),
        (("TRACE", "-o", "x.yaml", "--relations", ","), "some of argument, count"),
        (("TRACE", "-o", "x.yaml", "--min-support", "0"), "0 is not in the range x>=1"),
        (("TRACE", "-o", "x.yaml", "--min-support", "many"), "'many' is not a valid integer"),
        (("TRACE", "-o", "x.yaml", "--jobs", "0"), "0 is not in the range x>=1"),
        (("TRACE", "-o", "x.yaml", "--executor", "dask"), "expected dask://HOST:PORT"),
        (
            ("TRACE", "-o", "x.yaml", "--executor", "dask://a:1", "--jobs", "2"),
            "expected one of the two",
        ),
        (("TRACE", "-o", "x.yaml", "--merge", "nowhere.yaml"), "does not exist"),
        (("TRACE", "--why", "INF999"), "nothing with the code 'INF999'"),
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
    assert list(tmp_path.iterdir()) == []
