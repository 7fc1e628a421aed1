"""What a call graph answers."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent

from tcstatic.program.callgraph import CallGraph, Function, build


def graph_of(folder: Path, **files: str) -> CallGraph:
    for name, text in files.items():
        path = folder / f"{name.replace('__slash__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return build(sorted(folder.rglob("*.py")), folder)


PROGRAM = """\
    import torch

    class Net:
        def forward(self):
            return self.block()

        def block(self):
            print("x")

    def train(model):
        model.forward()
        torch.optim.Adam([])

    def unused():
        unused()

    train(Net())
"""


def test_callers_callees_and_what_is_reachable(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, main=PROGRAM)
    assert graph.callees("main.train") == {"main.Net.forward", "torch.optim.Adam"}
    assert graph.callers("main.Net.block") == {"main.Net.forward"}
    assert graph.callees("main.Net.block") == {"<builtin>.print"}
    reachable = graph.reachable(["main.train"])
    assert {"main.train", "main.Net.block", "<builtin>.print"} <= reachable
    assert "main.unused" not in reachable
    assert graph.callees("nobody") == graph.callers("nobody") == graph.reachable(["no"]) == set()


def test_entry_points_and_cycles(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, main=PROGRAM)
    assert graph.entry_points() == ("main",)
    assert graph.cycles() == (("main.unused",),)


def test_functions_know_where_they_stand(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, main=PROGRAM)
    path = tmp_path / "main.py"
    assert graph.functions["main.Net.block"] == Function("main.Net.block", path, 7, 8, "main.Net")
    assert graph.functions["main.train"].class_ is None


def test_a_call_is_resolved_by_its_place(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, main=PROGRAM)
    path = tmp_path / "main.py"
    assert graph.resolve(path, 11, 4) == ("main.Net.forward",)
    assert graph.resolve(path, 12, 4, (12, 24)) == ("torch.optim.Adam",)
    assert graph.resolve(path, 17, 0) == ("main.train",)
    assert graph.resolve(path, 99, 0) == graph.resolve(tmp_path / "no.py", 1, 0) == ()


def test_calls_that_start_at_one_place_are_told_apart_by_their_end(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, main="def f():\n    return g\n\ndef g():\n    pass\n\nf()()\n")
    path = tmp_path / "main.py"
    assert graph.resolve(path, 7, 0) == ("main.f", "main.g")
    assert graph.resolve(path, 7, 0, (7, 3)) == ("main.f",)
    assert graph.resolve(path, 7, 0, (7, 5)) == ("main.g",)


def test_files_that_cannot_be_read_are_skipped_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def f(:\n", encoding="utf-8")
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe\x00\x01")
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    os.mkfifo(tmp_path / "pipe.py")
    graph = graph_of(tmp_path, main="def f():\n    pass\n\nf()\n")
    assert graph.callees("main") == {"main.f"}
    reasons = {skipped.path.name: skipped.reason for skipped in graph.skipped}
    assert set(reasons) == {"binary.py", "broken.py", "dangling.py", "pipe.py"}
    assert all(reasons.values())


def test_what_runs_text_is_unknown(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, main='exec("x = 1")\n')
    assert graph.unknown("main") == ((1, "exec runs code that is not known before"),)


def test_what_a_library_gave_is_unknown(tmp_path: Path) -> None:
    text = "import torch\n\nmodel = torch.hub.load('a', 'b')\nmodel(1)\n"
    graph = graph_of(tmp_path, main=text)
    assert graph.unknown("main") == ((4, "`model` comes from a library"),)


def test_a_folder_without_init_does_not_hide_a_library(tmp_path: Path) -> None:
    text = "import datasets\n\ndatasets.load_dataset('x')\n"
    graph = graph_of(tmp_path, main=text, datasets__slash__local="def f():\n    pass\n")
    assert graph.callees("main") == {"datasets.load_dataset"}


def test_a_source_folder_is_found(tmp_path: Path) -> None:
    graph = graph_of(
        tmp_path,
        src__slash__pkg__slash____init__="def f():\n    pass\n",
        tests__slash__test_f="import pkg\n\npkg.f()\n",
    )
    assert graph.callees("tests.test_f") == {"src.pkg.f"}


def test_subclasses_of_torch_modules_are_called_by_forward(tmp_path: Path) -> None:
    text = """\
    import torch
    from torch import nn

    class Block(nn.Module):
        def forward(self, x):
            return x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(Block(), nn.ReLU())

        def forward(self, x):
            return self.body(x)

    net = nn.parallel.DistributedDataParallel(Net())
    net(torch.zeros(1))
    """
    graph = graph_of(tmp_path, main=text)
    assert "main.Net.forward" in graph.callees("main")
    assert "main.Block.forward" in graph.callees("main.Net.forward")
    assert "torch.nn.Module.__init__" in graph.callees("main.Net.__init__")


def test_a_list_of_exports_that_cannot_be_read_exports_all_that_is_public(tmp_path: Path) -> None:
    part = "__all__ = [name for name in globals()]\ndef f(): pass\ndef _g(): pass\n"
    graph = graph_of(tmp_path, part=part, main="from part import *\nf()\n_g()\n")
    assert graph.as_dict()["main"] == ["part.f"]


def test_lists_of_exports_are_extended(tmp_path: Path) -> None:
    first = "__all__ = ['f']\n__all__.extend(['_g'])\ndef f(): pass\ndef _g(): pass\n"
    graph = graph_of(tmp_path, first=first, main="from first import *\nf()\n_g()\n")
    assert graph.as_dict()["main"] == ["first._g", "first.f"]
