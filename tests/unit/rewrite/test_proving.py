"""What the source proves of a whole program, and every way known to us in which it must not."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tcstatic.model import Invariant, ProbePlan, RunOptions
from tcstatic.pipeline import Request, load_invariants
from tcstatic.rewrite import compile_plan

HEAD = """\
import torch
from torch import nn

model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
data = [torch.randn(8, 4) for _ in range(6)]
"""
ROUND = """\
for x in data:
    optimizer.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
scheduler.step()
"""
BOTH = {"TCS112", "TCS113"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCSTATIC_CACHE", str(tmp_path / "cache"))


@functools.cache
def rules() -> tuple[Invariant, ...]:
    return load_invariants(Request("", ""))


def plan(folder: Path, text: str, *, calls: bool = False, **others: str) -> ProbePlan:
    script = folder / "train.py"
    script.write_text(text)
    for name, content in others.items():
        (folder / f"{name}.py").write_text(content)
    made = compile_plan(script, folder, rules(), RunOptions(), calls=calls)
    assert made.skipped == () or calls
    return made


def proved(folder: Path, text: str, **others: str) -> set[str]:
    made = plan(folder, text, **others)
    found = {code for code, verdict in made.out_of_scope if verdict.name == "HOLDS"}
    assert found.isdisjoint(one.code for one in made.invariants)
    clears = {site.location.line for site in made.sites if site.kind == "optimizer.zero_grad"}
    written = text.count("zero_grad(") + sum(one.count("zero_grad(") for one in others.values())
    assert bool(clears) == (not found >= BOTH and bool(written))
    return found


def test_a_straight_round_is_proved_and_not_probed(tmp_path: Path) -> None:
    made = plan(tmp_path, HEAD + ROUND)
    verdicts = dict(made.out_of_scope)
    for code in BOTH:
        assert verdicts[code].name == "HOLDS"
        assert verdicts[code].reason.startswith("proved from the source: ")
    left = {(one.kind, one.line) for one in made.unprobed if "proved" in one.reason}
    assert left == {("optimizer.zero_grad", 9)}
    # What a backward reaches hangs on the data.
    assert "TCS111" in {one.code for one in made.invariants}


def test_what_is_recorded_is_not_spared(tmp_path: Path) -> None:
    made = plan(tmp_path, HEAD + ROUND, calls=True)
    assert "HOLDS" not in {verdict.name for _, verdict in made.out_of_scope}


@pytest.mark.parametrize(
    "text",
    [
        ROUND.replace("zero_grad()", "zero_grad(set_to_none=False)"),
        ROUND.replace("    optimizer.step()", "    print(loss.item())\n    optimizer.step()"),
        ROUND.replace(
            "    optimizer.step()",
            "    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n    optimizer.step()",
        ),
        ROUND.replace("    optimizer.zero_grad()\n", "").replace(
            "    optimizer.step()\n", "    optimizer.step()\n    optimizer.zero_grad()\n"
        ),
        "def train(epochs):\n    for _ in range(epochs):\n"
        + "".join(f"        {line}\n" for line in ROUND.splitlines())
        + "if len(data) > 3:\n    train(2)\nelse:\n    train(1)\n",
    ],
)
def test_other_straight_rounds(tmp_path: Path, text: str) -> None:
    assert proved(tmp_path, HEAD + text) == BOTH


def test_a_round_in_another_file(tmp_path: Path) -> None:
    engine = """\
def train(model, batches, optimizer):
    model.train()
    for x in batches:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
"""
    calls = "from engine import train\nfor epoch in range(3):\n    train(model, data, optimizer)\n"
    assert proved(tmp_path, HEAD + calls, engine=engine) == BOTH
    kept = calls.replace("train(", "epochs = train\n    epochs(")
    assert proved(tmp_path, HEAD + kept, engine=engine) == set()


def test_a_round_at_the_top_of_a_file_that_may_be_imported_again(tmp_path: Path) -> None:
    rounds = HEAD + ROUND.replace("scheduler.step()\n", "")
    assert proved(tmp_path, "import rounds\n", rounds=rounds) == BOTH
    guarded = "try:\n    import rounds\nexcept ImportError:\n    import rounds\n"
    assert proved(tmp_path, guarded, rounds=rounds) == set()


def test_two_optimizers_one_after_the_other(tmp_path: Path) -> None:
    """Each may have parameters of the other: whether a backward is lost is left to the run."""
    body = "".join(f"    {line}\n" for line in (HEAD.splitlines()[3:] + ROUND.splitlines()))
    text = "import torch\nfrom torch import nn\ndef main():\n" + body + "main()\nmain()\n"
    assert proved(tmp_path, text) == {"TCS112"}


OUT_OF_ORDER = {
    "never cleared": ("    optimizer.zero_grad()\n", ""),
    "cleared before the step": (
        "    optimizer.step()",
        "    optimizer.zero_grad()\n    optimizer.step()",
    ),
    "cleared now and then": (
        "    optimizer.zero_grad()",
        "    if len(x) > 3:\n        optimizer.zero_grad()",
    ),
    "stepped now and then": ("    optimizer.step()", "    if loss > 1:\n        optimizer.step()"),
    "left half-way": ("    optimizer.step()", "    if loss > 9: continue\n    optimizer.step()"),
    "stepped twice": ("    optimizer.step()", "    optimizer.step()\n    optimizer.step()"),
    "two backwards": ("    loss.backward()", "    loss.backward()\n    loss.backward()"),
    "another is cleared": ("    optimizer.zero_grad()", "    model.zero_grad()"),
    "bound anew between": (
        "    optimizer.step()",
        "    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)\n    optimizer.step()",
    ),
    "an error is caught": (
        ROUND,
        "try:\n" + "".join(f"    {one}\n" for one in ROUND.splitlines()) + "except ValueError: ...",
    ),
    "an error is swallowed": (
        ROUND,
        "import contextlib\nwith contextlib.suppress(ValueError):\n"
        + "".join(f"    {one}\n" for one in ROUND.splitlines()),
    ),
    "a closure": ("    optimizer.step()", "    optimizer.step(lambda: loss)"),
    "cleared by hand": (
        "    optimizer.step()",
        "    for p in model.parameters(): p.grad = None\n    optimizer.step()",
    ),
    "cleared through getattr": (
        "    optimizer.step()",
        "    getattr(optimizer, 'zero' + '_grad')()\n    optimizer.step()",
    ),
    "a method handed on": ("scheduler.step()", "again = optimizer.step\nagain()"),
    "a hook": ("scheduler.step()", "optimizer.register_step_post_hook(print)"),
    "a thread": ("scheduler.step()", "import threading"),
    "an update by hand": (
        "scheduler.step()",
        "other = nn.Linear(4, 1)\nfor w in other.parameters():\n    w -= 0.1 * w",
    ),
    "data written": ("scheduler.step()", "for w in model.parameters():\n    w.data = w * 2"),
    "in place": ("scheduler.step()", "model.weight.add_(1)"),
    "code of the day": ("scheduler.step()", "exec(input())"),
    "a library that may train": ("scheduler.step()", "import trainers"),
    "the script again": ("scheduler.step()", "import train"),
    "the script from its package": ("scheduler.step()", "def again(): from . import train"),
    "the script by its other name": ("scheduler.step()", "import __main__ as again"),
}


@pytest.mark.parametrize("name", OUT_OF_ORDER)
def test_what_is_not_one_straight_round_is_watched(tmp_path: Path, name: str) -> None:
    old, new = OUT_OF_ORDER[name]
    assert old in ROUND
    (tmp_path / "train.py").touch()
    assert proved(tmp_path, HEAD + ROUND.replace(old, new)) == set()


AROUND = {
    "an optimizer of one's own": """
class Mine(torch.optim.SGD):
    def zero_grad(self, set_to_none=True):
        pass
""",
    "a subclass": """
class Mine(torch.optim.SGD):
    pass
""",
    "a wrapper": """
class Wrapper:
    def __init__(self, inner):
        self.inner = inner
    def step(self):
        self.inner.step()
""",
    "a proxy": """
class Proxy:
    def __getattr__(self, name):
        return print
""",
    "a global that others bind": """
def swap():
    global optimizer
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
""",
    "gradients by autograd": "grads = torch.autograd.grad(model(data[0]).sum(), model.weight)\n",
    "a copy": "import copy\nother = copy.deepcopy(optimizer)\n",
    "a whole object": "optimizer = torch.load('optimizer.pt', weights_only=False)\n",
    "a scaler": "scaler = torch.amp.GradScaler('cpu')\n",
    "a wrapped model": "model = nn.DataParallel(model)\n",
    "a step of something else": "data[0].step()\n",
}


@pytest.mark.parametrize("name", AROUND)
def test_what_may_take_part_keeps_all_watched(tmp_path: Path, name: str) -> None:
    assert proved(tmp_path, HEAD + AROUND[name] + ROUND) == set()


def test_a_round_that_may_begin_again_within_itself(tmp_path: Path) -> None:
    inside = "def train(depth):\n" + "".join(f"    {line}\n" for line in ROUND.splitlines())
    again = inside.replace("model(x)", "(train(depth - 1) if depth else 0, model(x))[1]")
    assert proved(tmp_path, HEAD + inside + "train(1)\n") == BOTH
    assert proved(tmp_path, HEAD + again + "train(1)\n") == set()
    called = inside.replace("def train", "def forward")
    assert proved(tmp_path, HEAD + called + "forward(1)\n") == set()
    listed = inside + "runs = [(train(d) for d in range(2)) for _ in range(2)]\n"
    assert proved(tmp_path, HEAD + listed) == set()
