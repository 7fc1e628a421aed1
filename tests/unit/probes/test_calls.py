"""`call` events: what belongs together, whatever the program does in between."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest

from tests.unit.probes.recording import Recorded, recorded


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCSTATIC_CACHE", str(tmp_path / "cache"))


def test_arguments_are_named_as_the_callee_names_them(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        class A:
            def __init__(self, size, kind="a"): pass
            def m(self, x, *rest, y=1): return x, "b"
            @classmethod
            def c(cls, x): return None
            @staticmethod
            def s(x): return 1.5
            def __call__(self, z): return [z]
        def f(x, y=2, *, k): return True
        a = A(3, kind="z")
        a.m(1, 2, 3, y=4); A.c(5); A.s(6); a(7)
        f(*[1], 2, k="long" * 20)
        f(1, **{"k": 3})
        """,
    )
    assert program.values("program.A") == [
        {"arg_size": 3, "arg_kind": "z", "result_type": "object"}
    ]
    assert program.values("program.A.m") == [
        {
            "arg_x": 1,
            "arg_1": 2,
            "arg_2": 3,
            "arg_y": 4,
            "result_type": "tuple",
            "result_length": 2,
            "result_0": 1,
            "result_1": "b",
        }
    ]
    assert program.values("program.A.c") == [{"arg_x": 5, "result": None}]
    assert program.values("program.A.s") == [{"arg_x": 6, "result": 1.5}]
    assert program.values("program.A.__call__") == [
        {"arg_z": 7, "result_type": "list", "result_length": 1}
    ]
    assert program.values("program.f") == [
        {"arg_k_type": "str", "arg_k_length": 80, "result": True},
        {"arg_x": 1, "result": True},
    ]


def test_where_and_in_which_order(tmp_path: Path) -> None:
    program = recorded(
        tmp_path, "def g(x): return x\ndef f(x):\n    return g(x)\nf(g(1))\nf(\n    2)\n"
    )
    said = [(one.values["name"], one.where.line, one.where.function) for one in program.events]  # type: ignore[union-attr]
    assert said == [
        ("program.g", 4, "<module>"),
        ("program.g", 3, "f"),
        ("program.f", 4, "<module>"),
        ("program.g", 3, "f"),
        ("program.f", 5, "<module>"),
    ]
    assert [one.sequence for one in program.events] == sorted(
        one.sequence for one in program.events
    )


def test_decorated_functions_and_partial_ones(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        import functools, torch
        def d(f):
            @functools.wraps(f)
            def wrapper(*a, **k): return f(*a, **k)
            return wrapper
        @d
        def f(x, y): return x
        @torch.no_grad()
        def g(x): return x
        p = functools.partial(f, 1)
        f(1, 2); g(3); p(4)
        for i in range(2):
            def closure(n): return n + i
            closure(i)
        (lambda q: q)
        h = lambda q: q
        h(1)
        """,
    )
    inner = {"arg_x": 1, "arg_y": 2, "result": 1}
    assert program.values("program.f")[:2] == [{"result": 1}, inner]
    assert program.values("program.g") == [{"arg_x": 3, "result": 3}]
    assert {"arg_y": 4, "result": 1} in program.values("program.f")
    assert [one["result"] for one in program.values("program.closure")] == [0, 2]
    assert program.values("program.<lambda>") == [{"arg_q": 1, "result": 1}]


def test_a_call_that_raises_is_no_event_and_leaves_nothing(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        def bad(x): raise ValueError
        def f(x, y): return x
        def h():
            try: f(1, bad(2))
            except ValueError: return 3
        print_ = [].append
        for i in range(3):
            try:
                f(4, f(bad(5), 6))
            except ValueError:
                print_(f(i, h()))
        """,
    )
    assert [(one["arg_x"], one["arg_y"]) for one in program.values("program.f")] == [
        (0, 3),
        (1, 3),
        (2, 3),
    ]
    assert program.values("program.bad") == []
    assert len(program.calls._open) < 8


def test_recursion(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        def fail(n): raise KeyError
        def f(n, m):
            if n == 2:
                try: f(fail(n), m)
                except KeyError: pass
            return 0 if n == 0 else f(n - 1, f(0, m)) + 1
        f(3, "a")
        """,
    )
    said = [(one["arg_n"], one["result"]) for one in program.values("program.f")]
    assert said == [(0, 0)] * 3 + [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_generators_that_are_left_in_the_midst_of_a_call(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        def f(x, y): return (x, y)
        def g(n):
            f(n, (yield n))
        one, two = g(1), g(2)
        f(next(one), next(two))
        for it, sent in ((two, "b"), (one, "a")):
            try: it.send(sent)
            except StopIteration: pass
        three = g(3); next(three); del three
        f([f(i, 0) for i in range(2)], 1)
        """,
    )
    assert [(one.get("arg_x"), one["arg_y"]) for one in program.values("program.f")] == [
        (1, 2),
        (2, "b"),
        (1, "a"),
        (0, 0),
        (1, 0),
        (None, 1),
    ]


def test_coroutines_that_take_turns(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        import asyncio
        def f(x, y): return x
        async def wait(n):
            await asyncio.sleep(0)
            return n
        async def main(n):
            return f(await wait(n), await wait(n * 10))
        async def both():
            return await asyncio.gather(main(1), main(2))
        asyncio.run(both())
        """,
    )
    assert [(one["arg_x"], one["arg_y"]) for one in program.values("program.f")] == [
        (1, 10),
        (2, 20),
    ]
    assert program.values("program.wait")[0] == {"arg_n": 1, "result_type": "coroutine"}


def test_other_threads_do_not_get_into_the_way(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        import threading
        def f(x, y): return x
        def work():
            for _ in range(100): f("thread", 1)
        def slow(n):
            other = threading.Thread(target=work); other.start(); other.join()
            return n
        f(slow(1), slow(2))
        """,
    )
    assert [(one["arg_x"], one["arg_y"]) for one in program.values("program.f")] == [(1, 2)]


def test_nothing_is_kept_alive(tmp_path: Path) -> None:
    program = Recorded(
        tmp_path,
        """
        class A: pass
        def bad(x): raise ValueError
        def f(x, y): return x
        a = f(A(), A())
        try: f(A(), bad(a))
        except ValueError: pass
        """,
    )
    program.run()
    seen = weakref.ref(program.module.__dict__["a"])
    del program.module.__dict__["a"]
    assert seen() is None


def test_after_many_events_of_one_place_some_steps_are_told(tmp_path: Path) -> None:
    program = Recorded(tmp_path, "def f(x): return 1\nfor i in range(300): f(0)\nf(1)\n")
    program.calls.sampling.full_events = 100
    counts = program.run()
    assert len(program.values("program.f")) == 100 + 64 + 1
    ((what, why),) = counts.thinned
    assert what == "call"
    assert why == "136 calls are in no event: after 100 events of one place, one step in 16 is told"


def test_steps_that_are_told_are_the_same_at_all_places(tmp_path: Path) -> None:
    program = Recorded(
        tmp_path,
        """
        def f(x): return 1
        def g(x): return 1
        for i in range(60):
            tick(i)
            f(i), f(i), g(i)
        """,
    )
    stream = program.watch._stream
    program.module.__dict__["tick"] = lambda step: setattr(stream, "step", step)
    program.calls.sampling.full_events = 10
    program.run()
    told = {name: [one["arg_x"] for one in program.values(f"program.{name}")] for name in "fg"}
    assert told["f"] == [*sorted([*range(10)] * 2), 16, 16, 32, 32, 48, 48]
    assert told["g"] == [*range(10), 16, 32, 48]


def test_calls_that_never_return_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcstatic.runtime.probes.calls.MOST_OPEN", 5)
    program = Recorded(
        tmp_path,
        """
        def f(x): return x
        def g(n):
            f((yield n))
        held = [g(i) for i in range(9)]
        [next(one) for one in held]
        """,
    )
    assert program.run().thinned == (("call", "4 calls that did not return are in no event"),)


def test_a_summary_that_raises_is_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(value: object) -> None:
        raise ZeroDivisionError

    program = Recorded(tmp_path, "def f(x): return x\nresult = [f(i) for i in range(3)]\n")
    monkeypatch.setattr("tcstatic.runtime.probes.calls.brief_of_result", broken)
    counts = program.run()
    assert program.module.__dict__["result"] == [0, 1, 2]
    assert counts.disabled == (("call at program.py:2", "ZeroDivisionError: "),)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_torch_cannot_be_asked_now(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        import torch
        def f(x): return x * 2
        torch.vmap(lambda x: f(x))(torch.ones(2))
        torch.func.grad(lambda x: f(x).sum())(torch.ones(2))
        torch.jit.trace(lambda x: f(x), torch.ones(2), check_trace=False)
        f(1)
        """,
    )
    assert program.values("program.f") == [{"arg_x": 1, "result": 2}]


def test_places_that_call_nothing_wanted_are_left(tmp_path: Path) -> None:
    program = Recorded(
        tmp_path,
        """
        def f(x): return x
        for g in [len] * 300 + [f]: g("ab")
        for g in [f] + [len] * 300 + [f]: g("ab")
        """,
    )
    program.run()
    assert [one.where.line for one in program.events] == [4, 4]  # type: ignore[union-attr]
    first, second = program.calls._calls.values()
    assert first.callee not in program.watch.receivers
    assert second.callee in program.watch.receivers


def test_recursion_beyond_the_limit(tmp_path: Path) -> None:
    program = Recorded(
        tmp_path,
        """
        def f(n): return n and f(n - 1)
        f(30); f(40)
        """,
    )
    program.calls.sampling.full_events = 5
    program.calls._stream.step = 1
    program.run()
    inner = [one for one in program.events if one.where and one.where.function == "f"]
    assert [one.values["arg_n"] for one in inner] == [25, 26, 27, 28, 29]
    assert program.calls._open == {}


def test_of_a_module_it_is_told_what_has_changed_since_its_last_call(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        import torch
        from torch import nn
        class Other(nn.Linear):
            def forward(self, input, scale=1): return input
        x, layer = torch.ones(1, 2), nn.Linear(2, 2)
        def use(): return layer(x)
        use(); use()
        layer.eval(); use()
        optimizer = torch.optim.SGD(layer.parameters(), 0.1); use()
        layer.add_module("more", nn.Linear(2, 2)); use()
        layer.__class__ = Other; use()
        """,
    )
    linear = program.values("torch.nn.Linear")
    assert [one["arg_self_training"] for one in linear] == [True, True, False, False, False]
    assert [one.get("arg_self_optimized") for one in linear] == [None, None, None, "all", "all"]
    assert [one["arg_scale"] for one in program.values("program.Other.forward")] == [1]
