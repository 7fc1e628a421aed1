"""Facts of one module: names, places, functions, loops."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tcstatic.program.source import Call, ModuleFacts, linked, read_module


def read(text: str, path: str = "m.py", module: str = "m") -> ModuleFacts:
    return read_module(Path(path), dedent(text).encode(), module)


def call(text: str) -> Call:
    """The last call of a program."""
    return read(text).calls[-1]


@pytest.mark.parametrize(
    ("text", "callee"),
    [
        ("import torch\ntorch.optim.Adam()", "torch.optim.Adam"),
        ("import torch.optim as o\no.Adam()", "torch.optim.Adam"),
        ("import torch.nn.functional\ntorch.nn.functional.relu()", "torch.nn.functional.relu"),
        ("from torch import optim\noptim.Adam()", "torch.optim.Adam"),
        ("from torch.optim import Adam as A\nA()", "torch.optim.Adam"),
        ("import torch.nn as nn\nF = nn.functional\nF.dropout()", "torch.nn.functional.dropout"),
        ("from torch import nn\nN = nn\nL = N.Linear\nL()", "torch.nn.Linear"),
        ("def f():\n  from torch import nn\n  return nn.Linear()", "torch.nn.Linear"),
        ("from torch.optim import *\nAdam()", "torch.optim.Adam"),
        ("from torch.nn import *\nLinear()", "torch.nn.Linear"),
        ("from torch import *\nnn.Linear()", "torch.nn.Linear"),
        ("from torch.utils.data import *\nDataLoader()", "torch.utils.data.DataLoader"),
    ],
)
def test_a_callee_is_resolved(text: str, callee: str) -> None:
    assert (call(text).callee, call(text).resolved) == (callee, True)


@pytest.mark.parametrize(
    ("text", "callee", "receiver"),
    [
        ("f()", "f", ""),
        ("self.optimizer.step()", ".step", "self.optimizer"),
        ("opts['d'].step()", ".step", "opts['d']"),
        ("from torch.nn import *\nprint()", "print", ""),
        ("from numpy import *\nzeros()", "zeros", ""),
    ],
)
def test_a_callee_that_is_not(text: str, callee: str, receiver: str) -> None:
    found = call(text)
    assert (found.callee, found.resolved, found.receiver_text) == (callee, False, receiver)


def test_chained_calls() -> None:
    calls = read("build()(x).backward(y)").calls
    assert [(c.callee, c.receiver_text) for c in calls] == [
        (".backward", "build()(x)"),
        ("", ""),
        ("build", ""),
    ]


@pytest.mark.parametrize(
    ("path", "module", "text", "imported"),
    [
        ("p/q/m.py", "p.q.m", "from . import a", "p.q.a"),
        ("p/q/m.py", "p.q.m", "from .a import b", "p.q.a.b"),
        ("p/q/m.py", "p.q.m", "from ..a import b", "p.a.b"),
        ("p/q/__init__.py", "p.q", "from .a import b", "p.q.a.b"),
        ("p/q/__init__.py", "p.q", "from .. import b", "p.b"),
    ],
)
def test_relative_imports(path: str, module: str, text: str, imported: str) -> None:
    assert list(read(text, path, module).imports.values()) == [imported]


def test_a_relative_import_out_of_the_top_package_is_no_name() -> None:
    assert read("from ... import a", "p/m.py", "p.m").imports == {}


def test_functions_places_and_results() -> None:
    facts = read(
        """
        x = a()
        @b()
        def f(p: c() = d()) -> e():
            y: g() = h()
            for i in j():
                k()
                def inner(): return l()
            while m(): n()
            return o()
        class A(q()):
            z = r()
            def meth(self): raise s(t())
            async def coro(self): await u(lambda: v())
        class B(metaclass=w()):
            z = aa()
        try: pass
        except bb(): cc()
        if (dd := ee()): [ff() for _ in gg()]
        """
    )
    seen = {c.callee: (c.function, c.loops, c.place, c.result, c.in_class) for c in facts.calls}
    assert seen == {
        "a": ("<module>", 0, "", "assigned", False),
        "b": ("<module>", 0, "decorator", "", False),
        "c": ("<module>", 0, "annotation", "", False),
        "d": ("<module>", 0, "", "", False),
        "e": ("<module>", 0, "annotation", "", False),
        "g": ("f", 0, "annotation", "", False),
        "h": ("f", 0, "", "assigned", False),
        "j": ("f", 0, "", "", False),
        "k": ("f", 1, "", "dropped", False),
        "l": ("f.<locals>.inner", 0, "", "returned", False),
        "m": ("f", 1, "", "", False),
        "n": ("f", 1, "", "dropped", False),
        "o": ("f", 0, "", "returned", False),
        "q": ("<module>", 0, "", "", False),
        "r": ("A", 0, "", "assigned", False),
        "s": ("A.meth", 0, "raise", "", False),
        "t": ("A.meth", 0, "raise", "", False),
        "u": ("A.coro", 0, "", "", False),
        "v": ("A.coro.<locals>.<lambda>", 0, "", "", False),
        "w": ("<module>", 0, "", "", False),
        "aa": ("B", 0, "", "assigned", True),
        "bb": ("<module>", 0, "except", "", False),
        "cc": ("<module>", 0, "", "dropped", False),
        "ee": ("<module>", 0, "", "assigned", False),
        "ff": ("<module>", 1, "", "", False),
        "gg": ("<module>", 1, "", "", False),
    }


def test_arguments_in_the_order_in_which_they_are_written() -> None:
    found = call("f(1, *a, k=-2.5, **b, c='x', d=e)")
    assert [(a.keyword, a.text, a.literal) for a in found.arguments] == [
        ("", "1", True),
        ("*", "*a", False),
        ("k", "-2.5", True),
        ("**", "b", False),
        ("c", "'x'", True),
        ("d", "e", False),
    ]


def test_stores() -> None:
    facts = read(
        """
        import torch
        model.fc = x
        self.a.b, y = 1, 2
        p.grad += g
        del p.data, (q).w
        for r.s in t: pass
        with u as v.w: pass
        n.typed: int
        n.valued: int = 1
        torch.backends.flag = True
        """
    )
    assert [(s.base_text, s.attribute, s.action, s.base_name) for s in facts.stores] == [
        ("model", "fc", "assign", ""),
        ("self.a", "b", "assign", ""),
        ("p", "grad", "augment", ""),
        ("p", "data", "delete", ""),
        ("q", "w", "delete", ""),
        ("r", "s", "assign", ""),
        ("v", "w", "assign", ""),
        ("n", "valued", "assign", ""),
        ("torch.backends", "flag", "assign", "torch.backends"),
    ]


def test_loops_know_what_they_hold() -> None:
    facts = read(
        "for a in enumerate(b):\n  c(d())\nelse: e()\nasync def f():\n  async for g in h: i()\n"
    )
    plain, other = facts.loops
    by_ordinal = {call.ordinal: call.callee for call in facts.calls}
    assert by_ordinal[plain.iterable_call] == "enumerate"
    assert [by_ordinal[n] for n in range(*plain.body) if n in by_ordinal] == ["c", "d"]
    assert (plain.text, plain.asynchronous, other.asynchronous) == ("enumerate(b)", False, True)


def test_ordinals_and_statements_cover_the_module() -> None:
    facts = read("a.b(c)\nif d():\n  e.f = g()\nelif h: pass\nfor i in j: k()\n")
    assert facts.ordinals == 7
    assert [(m.first, m.last, m.following) for m in facts.statements] == [
        (0, 2, 1),
        (2, 5, 5),
        (3, 5, 3),
        (5, 5, 5),
        (5, 5, 5),
        (5, 7, 7),
        (6, 7, 7),
    ]


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("_tcstatic.after(1, x)", True),
        ("import _tcstatic", True),
        ("__import__('_tcstatic').after(1, x)", True),
        ("x = '_tcstatic'  # _tcstatic", False),
    ],
)
def test_a_rewritten_module_is_known(text: str, mentions: bool) -> None:
    assert read(text).mentions_probes is mentions


def test_names_come_through_other_modules() -> None:
    others = {
        "common": read(
            "import torch.nn as nn\nfrom torch.optim import Adam as Best", module="common"
        ),
        "more": read("from common import nn as N", module="more"),
    }
    text = "from common import nn, Best\nfrom more import N\nimport common\n{}()"
    names = {"nn.Linear", "Best", "N.Linear", "common.Best", "common.nn.ReLU", "common.Own"}
    found = {
        name: linked(read(text.format(name)), others).calls[-1].callee for name in sorted(names)
    }
    assert found == {
        "nn.Linear": "torch.nn.Linear",
        "Best": "torch.optim.Adam",
        "N.Linear": "torch.nn.Linear",
        "common.Best": "torch.optim.Adam",
        "common.nn.ReLU": "torch.nn.ReLU",
        "common.Own": "common.Own",
    }


def test_names_come_through_a_star_import_of_an_own_module() -> None:
    others = {"common": read("import torch\nfrom torch import nn", module="common")}
    facts = linked(read("from common import *\nnn.Linear(); f()"), others)
    assert [c.callee for c in facts.calls] == ["torch.nn.Linear", "f"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of 3.12")
def test_type_parameters_are_annotations() -> None:
    facts = read("type A = f()\ndef g[T: h()](x: T): return i()\nclass B[U: j()](k()): pass\n")
    places = {call.callee: call.place for call in facts.calls}
    assert places == dict.fromkeys("fhj", "annotation") | {"i": "", "k": ""}
