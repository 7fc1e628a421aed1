"""A watched run leaves what `python` leaves: output, files, exit status, tracebacks, every bit."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from tests.golden.running import FIXTURES, TCSTATIC, Ended, runs, torchrun

STORIES = sorted(FIXTURES.glob("stories/*/*.py"))
SCRIPTS = sorted(FIXTURES.glob("scripts/*/train.py"))
HEALTHY = sorted(FIXTURES.glob("healthy/*.py"))
# They start two local ranks by themselves, or do with one process where nobody launches more.
RANKED = frozenset(
    "local_sgd expert_parallel tensor_parallel population_training ddp_gloo bloom_176b".split()
)
RUN = (*TCSTATIC, "run", "--quiet")


def name(script: Path) -> str:
    """What a fixture is called."""
    own = script.parent.name if script.parent.parent.name != "fixtures" else script.stem
    return own if script.stem in (own, "train") else f"{own}-{script.stem}"


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder, with what they hold."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def final(folder: Path) -> list[str]:
    """What the observers of all processes have written, without who they were."""
    return sorted(path.read_text(encoding="utf-8") for path in folder.iterdir())


def difference(plain: list[str], watched: list[str]) -> list[str]:
    """The lines in which final states differ."""
    both = ("\n".join(texts).split("\n") for texts in (plain, watched))
    return [line for line in difflib.unified_diff(*both, n=0, lineterm="")][:20]


class Both:
    """Runs a script under `python` and under us, each in an empty folder of its own."""

    def __init__(self, folder: Path, *, recorded: bool = False) -> None:
        self.folder = folder
        self.run = (*RUN, "--trace", str(folder / "trace")) if recorded else RUN
        self.ended: dict[str, Ended] = {}

    def place(self, way: str, kind: str) -> Path:
        """A folder of one of the two ways."""
        path = self.folder / way / kind
        path.mkdir(parents=True, exist_ok=True)
        return path

    def fork(self, script: Path, *words: str, ranks: int = 1, observed: bool = False) -> None:
        """Run it in forks; what remains of it is then to be compared."""
        for way, start in (("plain", ()), ("watched", self.run)):
            told = {"OBSERVED": str(self.place(way, "state"))} if observed else {}
            self.ended[way] = runs().fork(
                *start,
                str(script),
                *words,
                cwd=self.place(way, "work"),
                ranks=ranks,
                environment=told,
            )

    def process(self, script: Path, *words: str, launcher: bool = False) -> None:
        """Run it in real processes."""
        for way, start in (("plain", ()), ("watched", self.run)):
            before = torchrun() if launcher else ()
            self.ended[way] = runs().process(
                *before, *start, str(script), *words, cwd=self.place(way, "work")
            )

    def same(self) -> Ended:
        """Compare; return how it ended."""
        plain, watched = self.ended["plain"], self.ended["watched"]
        assert watched.stdout == plain.stdout
        assert watched.stderr == plain.stderr
        assert watched.status == plain.status
        assert files(self.place("watched", "work")) == files(self.place("plain", "work"))
        return watched

    def same_state(self, ranks: int) -> None:
        """Compare what the observers saw last."""
        plain, watched = (final(self.place(way, "state")) for way in ("plain", "watched"))
        assert len(plain) == ranks
        assert difference(plain, watched) == []


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path)


@pytest.mark.parametrize("script", STORIES + SCRIPTS + HEALTHY, ids=name)
def test_every_bit_is_the_same(both: Both, script: Path) -> None:
    ranks = 2 if name(script).partition("-")[0] in RANKED else 1
    words = ("--out", "out") if script in SCRIPTS else ()
    both.fork(script, *words, ranks=ranks, observed=True)
    assert both.same().status == (0,) * ranks
    both.same_state(ranks)
    if script in SCRIPTS:
        assert any(path.startswith("out/") for path in files(both.place("watched", "work")))


@pytest.mark.distributed
@pytest.mark.parametrize("story", ["flat_loss/good", "flat_loss/bad"])
def test_every_bit_is_the_same_at_two_processes(both: Both, story: str) -> None:
    both.fork(FIXTURES / "stories" / f"{story}.py", ranks=2, observed=True)
    assert both.same().status == (0, 0)
    both.same_state(2)


def test_the_observer_sees_a_difference(both: Both) -> None:
    text = "import torch\nfrom torch import nn\nmodel = nn.Linear(2, 1)\n"
    for way, more in (("plain", ""), ("watched", "model.weight.data[0, 0].add_(1e-7)\n")):
        script = both.folder / f"{way}.py"
        script.write_text(text + more, encoding="utf-8")
        told = {"OBSERVED": str(both.place(way, "state"))}
        runs().fork(str(script), cwd=both.place(way, "work"), environment=told)
    with pytest.raises(AssertionError):
        both.same_state(1)


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("script", "launcher"),
    [("scripts/digits_cnn/train.py", False), ("scripts/ddp_gloo/train.py", True)],
)
def test_real_processes_leave_the_same(both: Both, script: str, launcher: bool) -> None:
    both.process(FIXTURES / script, "--out", "out", launcher=launcher)
    ended = both.same()
    assert ended.status == (0,)
    assert ended.stdout != ("",)
    assert any(path.startswith("out/") for path in files(both.place("watched", "work")))


@pytest.mark.distributed
def test_ranks_that_a_script_starts_leave_the_same(both: Both) -> None:
    both.fork(FIXTURES / "scripts/ddp_gloo/train.py", "--out", "out")
    assert both.same().status == (0,)
    assert "out/model.pt" in files(both.place("watched", "work"))


# What is trained before the fault; `model`, `optimizer` and `x` are there for it to use.
MODEL = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(4, width)
        self.second = nn.Linear(width, 1)

    def forward(self, x):
        return self.second(
            torch.relu(self.first(x))
        )


torch.manual_seed(0)
model = Block(8)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(6, 4)
for step in range(3):
    optimizer.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
"""
DATA = """\
import sys
from torch.utils.data import DataLoader, Dataset


class Numbers(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return x[index], [1.0, 2.0][index]


for inputs, targets in DataLoader(Numbers(), batch_size=2, num_workers=int(sys.argv[1])):
    optimizer.zero_grad()
    loss = (model(inputs).squeeze(1) - targets).square().mean()
    loss.backward()
    optimizer.step()
"""
CRASHES = {
    "shapes in a forward": MODEL + "for x in [x, x[:, :3]]:\n    loss = model(x).mean()\n",
    "the dataset": MODEL + DATA.replace("int(sys.argv[1])", "0"),
    "a loader's worker": MODEL + DATA.replace("int(sys.argv[1])", "1"),
    "backward": MODEL + "loss = model(x).mean()\nloss.backward(); loss.backward()\n",
    "no gradient": MODEL + "with torch.no_grad():\n    loss = model(x).mean()\nloss.backward()\n",
    "an optimizer": MODEL + "optimizer = torch.optim.SGD(\n    [], lr=0.1\n)\n",
    "an optimizer's step": MODEL
    + "class Broken(torch.optim.SGD):\n"
    + "    def step(self, closure=None):\n"
    + "        super().step(closure)\n"
    + "        raise FloatingPointError('in a step')\n"
    + "optimizer = Broken(model.parameters(), lr=0.1)\n"
    + "for step in range(2):\n"
    + "    model(x).mean().backward(); optimizer.step()\n",
    "a hook": MODEL
    + "def hook(grad):\n    return {}['grad']\n"
    + "model.first.weight.register_hook(hook)\nmodel(x).mean().backward()\n",
    "a state that does not fit": MODEL + "Block(4).load_state_dict(\n    model.state_dict()\n)\n",
}
# These need no torch: they are run in real processes.
HELPER = """\
class Model:
    def __init__(self, width, *, depth=1):
        if width < 1:
            raise ValueError(f"width {width} of {type(self).__name__}")
        self.table = {"width": width}

    def train(self):
        return self.look("dep" "th")

    def look(self, key): return [self.table[k] for k in (key,)]


def fail(error):
    raise error


def attempt(model):
    try:
        model.train()
    except KeyError as error:
        raise RuntimeError("cannot train") from error
"""
LIGHT_CRASHES = {
    "a constructor": "from helper import Model\nmodels = [Model(n) for n in (2, 1, 0)]\n",
    "two modules": "from helper import Model\nmodel = Model(1)\nfor i in range(2): model.train()\n",
    "a status": "import sys\nfrom helper import Model\nmodel = Model(1)\nsys.exit(3)\n",
    "a message": "import sys\nmodel = dict(a=1)\nsys.exit(f'no {model}')\n",
    "a cause": "from helper import Model, attempt\nattempt(\n    Model(1))\n",
    "a context": "from helper import Model\n"
    "try:\n"
    "    Model(0)\n"
    "except ValueError:\n"
    "    Model(-1)\n",
    "a group": "from helper import Model, fail\n"
    "errors = []\n"
    "for width in (0, -1):\n"
    "    try:\n"
    "        Model(width)\n"
    "    except ValueError as error:\n"
    "        errors.append(error)\n"
    "fail(ExceptionGroup('two', [*errors, ExceptionGroup('inner', [OSError(2, 'gone')])]))\n",
    "a module's syntax": "from helper import Model\nmodel = Model(1)\nimport broken\n",
    "a missing module": "from helper import Model\nmodel = Model(1)\nimport no_such_module\n",
    "an assertion": "from helper import Model\n"
    "model = Model(1)\n"
    "def check(*, got, want): assert got == want, (\n"
    "    got, want)\n"
    "check(\n"
    "    got=model.look('width'),\n"
    "    want=[\n"
    "        2],\n"
    ")\n",
    "a comprehension": "from helper import Model\n"
    "def é(): return {k: Model(k).train() for k in [1]}\n"
    "ü = 'ß' ; é()\n",
    "deep recursion": "from helper import Model\n"
    "def down(n):\n"
    "    model = Model(1)\n"
    "    return down(n + 1)\n"
    "down(0)\n",
}


def project(folder: Path, script: str) -> Path:
    """A folder with the script and what it imports."""
    folder = folder / "project"
    folder.mkdir()
    (folder / "helper.py").write_text(HELPER, encoding="utf-8")
    (folder / "broken.py").write_text("model = Model(\nwidth = 1 1\n", encoding="utf-8")
    (folder / "train.py").write_text(script, encoding="utf-8")
    return folder / "train.py"


@pytest.mark.parametrize("crash", CRASHES)
def test_tracebacks_are_the_same(both: Both, crash: str) -> None:
    both.fork(project(both.folder, CRASHES[crash]))
    ended = both.same()
    assert ended.status == (1,)
    assert "train.py" in ended.stderr[0]
    assert "Traceback" in ended.stderr[0]


@pytest.mark.parametrize("crash", LIGHT_CRASHES)
def test_tracebacks_of_processes_are_the_same(both: Both, crash: str) -> None:
    script = project(both.folder, LIGHT_CRASHES[crash])
    both.fork(script)  # plans faster than a process does
    both.process(script)
    ended = both.same()
    assert ended.status == (3 if crash == "a status" else 1,)
    assert (ended.stderr == ("",)) is (crash == "a status")


COMPILED = """\
import logging
import sys
import torch
import torch.nn.functional as F
from torch import nn
from torch._dynamo.utils import counters


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x):
        for layer in self.layers:
            x = F.dropout(torch.relu(layer(x)), 0.1, training=self.training)
        for part in x.split(2):
            x = x + part.mean()
        return x


logging.disable(logging.WARNING)  # lines that tell the time
torch.manual_seed(0)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def train_step(x):
    optimizer.zero_grad()
    loss = (compiled(x) - x.cos()).square().mean()
    loss.backward()
    optimizer.step()
    return loss


@torch.compile(backend=sys.argv[1])
def update():
    optimizer.step()
    optimizer.zero_grad()


@torch.compile(backend=sys.argv[1])
def broken(x):
    loss = model(x).mean()
    print("a graph break")
    return loss * 2


compiled = torch.compile(model, backend=sys.argv[1])
for size in (4, 6, 8):
    print(train_step(torch.randn(size, 4)).item().hex())
    compiled(torch.randn(size, 4)).mean().backward()
    update()
    broken(torch.randn(size, 4)).backward()
    optimizer.step()
whole = torch.compile(train_step, backend=sys.argv[1])
for _ in range(2):
    print(whole(torch.randn(4, 4)).item().hex())
model.eval()
print(compiled(torch.ones(2, 4)).sum().item().hex())
for kind in sorted(counters):
    print(kind, sorted(counters[kind].items()))
"""


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_code_is_the_same(both: Both, backend: str) -> None:
    script = project(both.folder, COMPILED)
    both.fork(script, backend, observed=False)
    ended = both.same()
    assert ended.status == (0,), ended.stderr
    for kind in ("frames", "graph_break", "stats"):
        assert f"\n{kind} [(" in ended.stdout[0]
