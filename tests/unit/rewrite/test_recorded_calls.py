"""Which calls get sites for `call` events, and that nothing changes where none are asked for."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tcstatic.model import ProbePlan, RunOptions, Site
from tcstatic.program.source import read_module
from tcstatic.rewrite import compile_plan
from tcstatic.rewrite.callplan import CallPlan
from tcstatic.rewrite.recordedcalls import OwnNames
from tcstatic.rewrite.selection import select_calls
from tests.unit.rewrite.test_selection import HEAD

OWN = OwnNames(frozenset({"fit", "update", "helper", "Net"}), frozenset({"m", "minilib"}))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCSTATIC_CACHE", str(tmp_path / "cache"))


def select(text: str) -> tuple[Site, ...]:
    source = (HEAD + dedent(text)).encode()
    return select_calls(read_module(Path("m.py"), source, "m"), OWN)


def called(text: str) -> list[str]:
    return [site.subject for site in select(text) if site.arguments["part"] == "value"]


@pytest.mark.parametrize(
    "text",
    [
        "helper(1)",
        "Net(3)",
        "engine.fit(x)",
        "state.update(x)",
        "self.encoder(x)",
        "self.softmax(x)",
        "layers[0](x)",
        "criterion(x, y)",
        "F.relu(x)",
        "nn.init.zeros_(w)",
        "dist.all_reduce(t)",
        "torch.nn.utils.clip_grad_norm_(p, 1.0)",
        "torch.autocast('cuda')",
        "w.mul_(2)",
        "p.data.copy_(x)",
        "torch.relu_(x)",
        "import minilib; minilib.any.thing(x)",
        "super().forward(x)",
        "nn.GRU(2, 2)",
        "torch.optim.SGD(p)",
        "torch.stack(x)",
        "x.clone()",
        "batch.to(device)",
    ],
)
def test_what_may_be_wanted(text: str) -> None:
    assert len(called(f"{text}\n")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "print(x); len(x); super(); locals()",
        "x.append(1); d.get('a'); 'a'.join(x)",
        "x.view(2).sum().item()",
        "optimizer.step(); loss.backward(); optimizer.zero_grad()",
        "torch.zeros(3); nn.Linear(1, 2); torch.optim.swa_utils.update_bn(x)",
        "np.array(x); os.path.join(x)",
        "super().__init__()",
        "raise fit(x)",
        "def f(x: fit(1)) -> fit(2): pass",
        "@fit(1)\ndef f(): pass",
        "f'{fit(x)}'",
        "class A(metaclass=M):\n    y = fit(1)",
        "(x\n  .fit(1))",
    ],
)
def test_what_is_left_alone(text: str) -> None:
    assert called(f"{text}\n") == []


def test_the_parts_of_a_call() -> None:
    found = [(one.probe, one.arguments) for one in select("fit(a, *b, c, k=d, **e)\n")]
    whole = f"{HEAD.count(chr(10)) + 1}:1-{HEAD.count(chr(10)) + 1}:24"
    assert found == [
        ("on", {"part": "callee", "stars": "yes", "call": whole}),
        ("after", {"part": "argument", "as": "0", "call": whole}),
        ("after", {"part": "argument", "as": "k", "call": whole}),
        ("after", {"part": "value", "call": whole}),
    ]


def test_functions_for_other_compilers_are_left_alone() -> None:
    assert called("@torch.jit.script\ndef f(x):\n    return fit(x)\n") == []


def program(root: Path, **files: str) -> Path:
    for name, text in files.items():
        (root / f"{name}.py").write_text(text, encoding="utf-8")
    return root / "train.py"


def plan(script: Path, *, calls: bool) -> ProbePlan:
    return compile_plan(script, script.parent, (), RunOptions(), calls=calls)


LIBRARY = "def fit(x):\n    return x\n"


def test_without_being_asked_nothing_changes(tmp_path: Path) -> None:
    text = "from lib import fit\nmodel = fit(2)\nmodel(fit(3))\nopt.step()\n"
    script = program(tmp_path, train=text, lib=LIBRARY)
    plain, recorded = plan(script, calls=False), plan(script, calls=True)
    assert not any("part" in site.arguments for site in plain.sites)
    assert [site.number for site in recorded.sites] == [*range(1, len(recorded.sites) + 1)]
    kept = [site for site in recorded.sites if "part" not in site.arguments]
    assert [(site.probe, site.location) for site in kept] == [
        (site.probe, site.location) for site in plain.sites
    ]
    assert plain.files[0].code != recorded.files[0].code
    assert plan(script, calls=False) == plain


def test_no_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcstatic.rewrite.callplan.MOST_CALLS", 2)
    script = program(
        tmp_path, train="import lib\nlib.fit(1)\nlib.fit(2)\nlib.fit(3)\n", lib=LIBRARY
    )
    found = plan(script, calls=True)
    assert sum(site.arguments.get("part") == "value" for site in found.sites) == 2
    assert [(one.path, one.reason) for one in found.skipped] == [
        ("calls in train.py", "1 of 3 are not recorded: the limit is 2 in all")
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import lib, torch\ns = torch.jit.script(lib.fit)\n", "the program uses torch.jit.script"),
        ("import lib, numba\nlib.fit(1)\n", "it imports numba"),
    ],
)
def test_other_compilers_than_pythons(tmp_path: Path, text: str, reason: str) -> None:
    found = plan(program(tmp_path, train=text, lib=LIBRARY), calls=True)
    assert not any("part" in site.arguments for site in found.sites)
    assert (found.skipped[-1].path, found.skipped[-1].reason) == ("calls in train.py", reason)


def test_a_file_that_cannot_be_rewritten_with_its_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = "f" + "(f" * 90 + ")" * 90 + "\n"
    script = program(tmp_path, train=f"from lib import fit as f\nopt.step()\n{deep}", lib=LIBRARY)
    plain = plan(script, calls=False)
    found = plan(script, calls=True)
    assert plain.sites
    if found.skipped:  # nested too deeply for this Python, with probes around each call
        assert found.skipped[0].path == "calls in train.py"
        assert found.sites == plain.sites
    assert found.files[0].code


def test_an_included_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site" / "texts").mkdir(parents=True)
    (tmp_path / "site" / "texts" / "__init__.py").write_text("def split(x): return x\n")
    (tmp_path / "own").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    script = program(tmp_path / "own", train="import texts\ntexts.split(1)\n")
    for included in (("texts",), ()):
        found = compile_plan(script, script.parent, (), RunOptions(), included, calls=True)
        wanted = [site.subject for site in found.sites if site.arguments.get("part") == "value"]
        assert wanted == ["texts.split"] * len(included)
        assert len(found.files) == 1 + len(included)


def test_the_plan_tells_what_it_leaves_out() -> None:
    facts = read_module(Path("m.py"), b"fit(1)\n", "m")
    calls = CallPlan({"m": facts}, [b"fit(1)\n"], "m.py")
    assert len(calls.sites("m.py", facts)) == 3
    calls.refused("m.py", "nested too deeply")
    assert [(one.path, one.reason) for one in calls.skipped] == [
        ("calls in m.py", "nested too deeply")
    ]
