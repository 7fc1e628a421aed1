"""The table of sites, row by row."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tcstatic.model import Site
from tcstatic.program.source import read_module
from tcstatic.rewrite import every_site, select_sites

HEAD = """
import copy, json, os
import numpy as np
import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, RandomSampler
"""


TWO = [("model.forward", "x", "0"), ("model.forward", "m", "mask")]
CRITERION = ("model.forward", "y", {"at": "1", "of": "2"})


def select(text: str) -> tuple[Site, ...]:
    source = (HEAD + dedent(text)).encode()
    return select_sites(read_module(Path("m.py"), source, "m"), 1)


def rows(text: str) -> list[tuple[str, str, str]]:
    sites = [site for site in select(text) if site.attribute != "given"]
    return [(site.probe, site.kind, site.subject) for site in sites]


def given(text: str) -> list[tuple[str, str, dict[str, str]]]:
    sites = [site for site in select(text) if site.attribute == "given"]
    return [(site.kind, site.subject, site.arguments) for site in sites]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optimizer.step()", "optimizer.step"),
        ("self.optimizer.zero_grad(set_to_none=True)", "optimizer.zero_grad"),
        ("opts['d'].step()", "optimizer.step"),
        ("build()(x).backward()", "loss.backward"),
        ("(loss / 4).backward()", "loss.backward"),
        ("accelerator.backward(loss)", "loss.backward"),
        ("scaler.unscale_(opt)", "scaler.unscale"),
        ("scaler.update()", "scaler.update"),
        ("scaler.scale(loss)", "scaler.scale"),
        ("model.train()", "model.train"),
        ("model.eval()", "model.eval"),
        ("p.requires_grad_(False)", "model.freeze"),
        ("model.to_empty(device=d)", "model.move"),
        ("sampler.set_epoch(1)", "sampler.set_epoch"),
        ("opt.add_param_group({})", "optimizer.new"),
        ("model.clip_grad_norm_(1.0)", "grad.clip"),
        ("p.grad.zero_()", "grad.write"),
        ("p.data.add_(x)", "call"),
        ("x.mul_(2)", "call"),
    ],
)
def test_methods_get_their_receiver_and_their_value(text: str, expected: str) -> None:
    on, after = select(f"def f():\n    {text}\n")[-2:]
    assert (on.probe, on.kind) == ("on", expected)
    assert (after.probe, after.kind) == ("after", expected)
    assert (on.number, after.number) == (after.number - 1, after.number)
    receiver = text.rpartition(".")[0].strip("()") if text[0] == "(" else text.rpartition(".")[0]
    assert text.startswith(("(", on.subject)) and receiver.startswith(on.subject[:5])
    assert on.callee == after.callee == f".{after.callee.rpartition('.')[2]}"
    assert on.location.function == "f"


def test_an_initial_value_is_a_place_that_ranks_may_pass_alone() -> None:
    site, filled = select("from torch import nn\ndef f(w):\n    nn.init.normal_(w)\n")
    assert (filled.probe, filled.arguments) == ("after", {"fills": "normal_"})
    assert (site.probe, site.kind, site.callee) == ("on", "call", "torch.nn.init.normal_")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("best = model.state_dict()", [("after", "model.save", "", "model")]),
        (
            "model.load_state_dict(best)",
            [("on", "model.load", "", None), ("after", "model.load", "state", None)],
        ),
        (
            "target.load_state_dict(online.state_dict(), strict=True)",
            [("on", "model.load", "", None), ("after", "model.load", "state", "online")],
        ),
    ],
)
def test_states_are_seen_where_they_are_taken_and_where_they_are_loaded(
    text: str, expected: list[tuple[str, str, str, str | None]]
) -> None:
    found = [
        (one.probe, one.kind, one.attribute, one.arguments.get("keeps"))
        for one in select(f"def f():\n    {text}\n")
    ]
    assert [one for one in found if one != ("after", "model.load", "", None)] == expected


@pytest.mark.parametrize(
    "text",
    [
        "'{}'.format(x).update",
        "{}.update(x)",
        "import random; random.shuffle_(x)",
        "plt.step(x)",
        "super().train(mode)",
        "x.__init__()",
        "json.dumps(x)",
        "print(x)",
        "raise ValueError(x)",
        "x: Net() = 1",
        "with torch.no_grad(): pass",
        "F.relu(x); y = F.relu(x); z = torch.zeros(3)",
        "y = x.view(-1); z = x.sum() / 2",
        "args.items.append(x)",
        "y = np.array(x); p = os.path.join(x)",
        "self.fc = 1; cls.fc = 2",
        "torch.backends.cudnn.benchmark = True",
        "for x in y: print(x); z.append(str(x))",
        "for x in y:\n    def g(): F.relu(model)",
        "dist.get_rank(); dist.is_initialized()",
    ],
)
def test_what_is_no_site(text: str) -> None:
    assert rows(f"import matplotlib.pyplot as plt\n{text}\n") == []


def test_clipping() -> None:
    assert rows("torch.nn.utils.clip_grad_norm_(model.parameters(), limit)\n") == [
        ("on", "grad.clip", "torch.nn.utils.clip_grad_norm_"),
        ("after", "grad.clip", "limit"),
        ("after", "grad.clip", "torch.nn.utils.clip_grad_norm_"),
    ]
    value, whole = select("from x import clip_grad_value_\nclip_grad_value_(p, clip_value=0.5)\n")[
        1:
    ]
    assert (value.attribute, value.arguments) == ("max_norm", {"max_norm": "0.5"})
    assert whole.arguments == {"clip_value": "0.5"}
    assert [site[:2] for site in rows("self.clip_grads(ps, F.g())\n")] == [
        ("on", "grad.clip"),
        ("after", "grad.clip"),
        ("after", "grad.clip"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said", "sites"),
    [
        ("x", "<absent>", 1),
        ("x, 0.5, True", "True", 1),
        ("x, training=False", "False", 1),
        ("x, training=self.training", "self.training", 1),
        ("x, training=m.training", "m.training", 1),
        ("x, training=flag and g()", "<expression>", 2),
        ("x, **kw", "<expression>", 1),
    ],
)
def test_functional_dropout(arguments: str, said: str, sites: int) -> None:
    found = select(f"class M:\n    def forward(self, x): return F.dropout({arguments})\n")
    assert len(found) == sites
    assert found[-1].arguments["training"] == said
    if sites == 2:
        assert (found[0].attribute, found[0].subject) == ("training", "flag and g()")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("opt = torch.optim.Adam(ps, lr=0.1)", "optimizer.new"),
        ("s = torch.optim.lr_scheduler.StepLR(opt, 1)", "scheduler.new"),
        ("print(nn.Linear(1, 2))", "model.new"),
        ("class Net: pass\nNet()", "model.new"),
        ("from net import Net\n[Net() for _ in y]", "model.new"),
        ("m = DDP(m)", "wrap.new"),
        ("m = nn.DataParallel(m)", "wrap.new"),
        ("fully_shard(m)", "wrap.new"),
        ("m = torch.compile(m)", "wrap.new"),
        ("m, o = accelerator.prepare(m, o)", "wrap.new"),
        ("return_ = fabric.setup(m)", "wrap.new"),
        ("ema = copy.deepcopy(m)", "model.new"),
        ("print(x, DataLoader(d))", "loader.new"),
        ("s = RandomSampler(d)", "sampler.new"),
        ("from factory import build_model\nm = build_model(args)", "model.new"),
        ("m = m.to(device)", "model.new"),
        ("m = torch.load(path)", "model.new"),
        ("from factory import make\n(m := make(1))", "model.new"),
        ("dist.barrier()", "dist.collective"),
        ("dist.init_process_group('gloo')", "dist.init"),
    ],
)
def test_values(text: str, kind: str) -> None:
    (site,) = select(text)
    assert (site.probe, site.kind) == ("after", kind)


def test_what_all_ranks_bring_together_is_seen_before_it_is() -> None:
    head = "import torch.distributed as dist\n"
    given, value = select(f"{head}dist.all_reduce(p.grad)\n")
    assert (given.attribute, given.subject, given.arguments["operation"]) == (
        "reduced",
        "p.grad",
        "all_reduce",
    )
    assert (value.kind, value.attribute) == ("dist.collective", "")
    tensor, group, _ = select(f"{head}dist.all_reduce(p.grad, group=some)\n")
    assert (tensor.attribute, group.attribute, group.subject) == ("gathered", "group", "some")
    _, by, _ = select(f"{head}dist.all_reduce(p.grad, how)\n")
    assert (by.attribute, by.subject) == ("by", "how")
    known, _ = select(f"{head}dist.all_reduce(p.grad, op=dist.ReduceOp.MAX)\n")
    assert known.arguments["by"] == "MAX"
    assert len(select(f"{head}dist.reduce_scatter_tensor(out, p.grad)\n")) == 1


def test_values_of_a_loop_are_not_kept() -> None:
    head = "from factory import build, layer\n"
    assert rows(f"{head}while x:\n    m = build(x)\n") == []
    assert rows(f"{head}def forward(x):\n    y = layer(x)\n    return self.head(y)\n") == []
    assert rows(f"{head}def f(x):\n    return build(x)\n") == [("after", "model.new", "build")]


@pytest.mark.parametrize("callee", ["model", "self.model", "models['a']", "D", "build()"])
def test_what_may_be_a_model_is_seen_before_and_after_its_call(callee: str) -> None:
    assert rows(f"def build(): pass\nprint({callee}(x))\n") == [
        ("on", "model.forward", callee),
        ("after", "model.forward", callee),
    ]


def test_what_is_defined_is_no_model() -> None:
    text = "def f(x): return 1\nclass A:\n    def g(self): return f(x)\n"
    assert [kind for _, kind, _ in rows(text)] == ["model.new"]
    assert rows("def forward(self, x): print(self.layer(x))\n") == []
    assert rows("print(x.mean(), y.append(1), z.cuda())\n") == []


@pytest.mark.parametrize(
    "decorator", ["torch.jit.script", "numba.njit", "njit(cache=True)", "triton.jit"]
)
def test_functions_for_other_compilers_are_left_alone(decorator: str) -> None:
    text = f"@{decorator}\ndef f(x):\n    g = lambda: x.add_(1)\n    return x.mul_(2)\n"
    assert rows(text) == []
    assert len(rows(text.replace(decorator, "torch.compile"))) == 4


def test_saves() -> None:
    assert rows("torch.save(x, p)\n") == [("on", "model.save", "torch.save")]


def test_stores() -> None:
    found = select(
        "model.fc = x\np.grad += y\ndel p.grad\nself.m.head = h\np.requires_grad = False\n"
    )
    assert [(s.probe, s.kind, s.subject, s.attribute, s.arguments["action"]) for s in found] == [
        ("target", "model.mutate", "model", "fc", "assign"),
        ("target", "grad.write", "p", "grad", "augment"),
        ("target", "grad.write", "p", "grad", "delete"),
        ("target", "model.mutate", "self.m", "head", "assign"),
        ("target", "model.freeze", "p", "requires_grad", "assign"),
    ]
    assert [s.attribute for s in select("self.training = False\nself.data = 1\n")] == [
        "training",
        "data",
    ]


def test_loops() -> None:
    assert rows("for b in loader: F.relu(b)\n") == [("loop", "loop.step", "loader")]
    found = rows("from tqdm import tqdm\nfor i, b in enumerate(tqdm(loader), 1): F.relu(b)\n")
    assert found == [
        ("on", "loader.next", "loader"),
        ("loop", "loop.step", "enumerate(tqdm(loader), 1)"),
    ]
    assert rows("async def f():\n    async for b in loader: F.relu(b)\n") == []


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("[model(x) for x in loader]", ["loader"]),
        ("sum(loss(model(x), y).item() for x, y in loader)", ["loader"]),
        ("{n: model(x) for n, x in enumerate(loader)}", ["enumerate(loader)"]),
        ("[model(y) for x in loader for y in x]", ["loader"]),
        ("[model(x) for x in loader if x]", ["loader"]),
        ("[layer(x) for layer in layers]", []),
        ("[m.block(x) for m in model]", []),
        ("[int(x) for x in loader]", []),
        ("[known(x) for x in loader]\ndef known(x): pass", []),
        ("[x for x in model(loader)]", []),
        ("class M:\n    def forward(self, xs): return [self.layer(x) for x in xs]", []),
        ("async def f(): return [model(x) async for x in loader]", []),
        ("f'{[model(x) for x in loader]}'", []),
    ],
)
def test_comprehensions(text: str, loops: list[str]) -> None:
    assert [subject for probe, _, subject in rows(text) if probe == "loop"] == loops


def test_numbers_follow_evaluation() -> None:
    found = select("(a.train()\n  .step(b.eval()))\n")
    assert [(s.number, s.probe, s.subject) for s in found] == [
        (1, "on", "a"),
        (2, "after", "a"),
        (3, "on", "a.train()"),
        (4, "on", "b"),
        (5, "after", "b"),
        (6, "after", "a.train()"),
    ]


def test_numbers_go_on_from_the_last_file() -> None:
    facts = read_module(Path("m.py"), b"a.step()\n", "m")
    assert [site.number for site in select_sites(facts, 41)] == [41, 42]


def test_locations_count_characters() -> None:
    (on, after) = select("'é'; modèle.step()\n")
    assert (on.location.column, on.location.end_column) == (6, 12)
    assert (after.location.line, after.location.end_column) == (11, 19)


def test_a_class_with_a_namespace_of_its_own_is_left_alone() -> None:
    assert rows("class A(metaclass=M):\n    x = nn.ReLU()\n") == []
    assert rows("class A(B):\n    x = nn.ReLU()\n") == [("after", "model.new", "nn.ReLU")]


def test_every_place() -> None:
    source = b"@d()\ndef f(x: a() = b()) -> c(): return x.y(z)\nwith g() as h.i, j: del k.l\n"
    found = every_site(read_module(Path("m.py"), source, "m"), 1)
    assert sorted((site.probe, site.subject) for site in found) == [
        ("after", "b"),
        ("after", "d"),
        ("after", "g"),
        ("after", "j"),
        ("after", "x.y"),
        ("on", "x"),
        ("target", "h"),
        ("target", "k"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model(x)", [("model.forward", "x", {"at": "0", "of": "1"})]),
        ("model(x[i : i + 4])", [("model.forward", "x[i : i + 4]", {"at": "0", "of": "1"})]),
        ("model(x.view(8))", [("model.forward", "x.view(8)", {"at": "0", "of": "1"})]),
        ("model(x, mask=m)", [(k, s, {"at": a, "of": "2"}) for k, s, a in TWO]),
        ("criterion(model(x), y)", [("model.forward", "x", {"at": "0", "of": "1"}), CRITERION]),
        ("F.cross_entropy(z, y)", [("loss.forward", "y", {})]),
        ("F.mse_loss(target=y, input=z)", [("loss.forward", "y", {})]),
        ("model(*x)", []),
        ("model(a, b, c, d)", []),
        ("model(3)", []),
        ("F.cross_entropy(*both)", []),
    ],
)
def test_what_models_and_losses_are_given(text: str, expected: list[object]) -> None:
    assert given(f"print({text})\n") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "next(iter(loader))",
            [("on", "loader.next", "loader"), ("after", "loader.next", "loader")],
        ),
        ("next(batches)", []),
        ("iter(loader)", []),
        ("next(iter(loader), None)", []),
    ],
)
def test_the_first_batch_of_a_loader(text: str, expected: list[object]) -> None:
    assert rows(f"print({text})\n") == expected


def test_a_loop_that_ends_with_its_first_turn_tells_by_which_line() -> None:
    loops = [
        site
        for site in select("for b in loader:\n    step(b)\n    break\n")
        if site.probe == "loop"
    ]
    lines = len(HEAD.splitlines())
    assert [site.arguments for site in loops] == [{"left": str(lines + 3)}]
