"""What `call` events tell of what is given: where tensors come from, and what of it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tcstatic.runtime.probes.provenance import LEAST_ROOM, UNKNOWN, Provenance
from tests.unit.probes.recording import Recorded, recorded

RELU = "torch.nn.functional.relu"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCSTATIC_CACHE", str(tmp_path / "cache"))


def told(program: Recorded, name: str, ending: str) -> list[dict[str, Any]]:
    return [
        {key.removesuffix(ending): v for key, v in one.items() if key.endswith(ending)}
        for one in program.values(name)
    ]


def test_a_source_is_followed_through_views_containers_and_what_only_moves_data(
    tmp_path: Path,
) -> None:
    program = recorded(
        tmp_path,
        """
        import torch
        import torch.nn.functional as F
        def use(x, y=None): return None
        r = F.relu(torch.randn(6, 4))
        rows = [r[i] for i in range(6)]
        use(r[1:, :2].transpose(0, 1)); use(rows)
        b = torch.stack(rows)
        use(b.double().to("cpu").clone()[2:])
        use({"a": b, "c": [1], "d": torch.ones(2)}, (torch.ones(1), r))
        use(r * 2, [r, torch.ones(2)]); use(torch.stack([r, r * 2]))
        """,
    )
    assert told(program, "program.use", "_from") == [
        {"arg_x": RELU},
        {"arg_x": RELU},
        {"arg_x": RELU},
        {"arg_x_a": RELU, "arg_y_1": RELU},
        {},
        {},
    ]


def test_the_parts_of_a_result_are_told_apart_and_nothing_is_kept_alive() -> None:
    sources, a, b = Provenance(), torch.ones(2), torch.ones(3)
    sources.remember((a, b), "lib.f", apart=True)
    sources.remember({"k": torch.ones(1)}, "lib.g", apart=True)
    assert [sources.of(a), sources.of(b[1:]), sources.of(torch.ones(1))] == [
        "lib.f[0]",
        "lib.f[1]",
        "",
    ]
    del a
    again = [torch.ones(2) for _ in range(8)]
    assert {sources.of(one) for one in again} == {""}
    sources.lost = True
    assert sources.of(again[0]) == UNKNOWN


def test_the_dead_take_no_room() -> None:
    sources, alive = Provenance(), [torch.ones(1) for _ in range(LEAST_ROOM)]
    for tensor in alive:
        sources.keep(tensor, "lib.f")
    for _ in range(4 * LEAST_ROOM):
        sources.keep(torch.ones(1), "lib.g")
    assert len(sources._known) <= 2 * LEAST_ROOM + 1
    assert {sources.of(tensor) for tensor in alive} == {"lib.f"}
    assert not sources.lost


def test_how_much_of_what_is_trained_is_given(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        import torch
        from torch import nn
        def use(x): return None
        def groups(m): return [{"params": [p], "lr": 0.1} for p in m.parameters()]
        model, other = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), nn.Linear(2, 1)
        use(model)
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        use(model); use(model[0]); use(other); use(nn.ReLU())
        use(list(model.parameters())); use(groups(model)); use([*other.parameters()])
        use([1, 2]); use([torch.ones(2)]); use({}); use([])
        use(p for p in model.parameters())
        given = model.parameters()
        use(given); use(model[0].parameters())
        left = len(list(given))
        second = torch.optim.SGD(other.parameters(), lr=0.1)
        use(other)
        """,
    )
    found = [one.get("arg_x") for one in told(program, "program.use", "_optimized")]
    assert found == [
        None,
        *("all", "part", "none", None),
        *("all", "all", "none"),
        *(None, None, None, None),
        None,
        *("all", "part"),
        "all",
    ]
    assert program.module.left == 4


def test_an_object_is_told_of_by_what_it_holds(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        import torch
        class Average:
            def __init__(self, parameters):
                self.live = list(parameters)
                self.kept = [p.detach().clone() for p in self.live]
            @torch.no_grad()
            def follow(self):
                for kept, live in zip(self.kept, self.live): kept.lerp_(live, 0.5)
        model = torch.nn.Linear(2, 1)
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        average = Average(model.parameters())
        average.follow()
        """,
    )
    assert told(program, "program.Average.follow", "_changed") == [
        {"after_self": True, "after_self_live": False, "after_self_kept": True}
    ]
    assert told(program, "program.Average.follow", "_optimized") == [{"arg_self": "all"}]


def test_what_was_made_is_told_with_its_options(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        import torch
        from torch import nn
        a, b = nn.GRU(2, 2, 1, True, True), nn.LSTM(2, 2)
        every = [*a.parameters()]
        torch.optim.AdamW(every, lr=0.1)
        torch.optim.AdamW([
            {"params": [p for p in every if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in every if p.ndim < 2], "weight_decay": 0.0},
        ])
        torch.optim.SGD(every, lr=0.1)
        """,
    )
    assert told(program, "torch.nn.GRU.__init__", "_set") == [
        {"arg_bias": False, "arg_batch_first": True, "arg_bidirectional": False}
    ]
    assert not any(told(program, "torch.nn.LSTM.__init__", "_set")[0].values())
    assert program.values("torch.optim.Optimizer.__init__") == [
        {"arg_vectors_decay": True, "result": None},
        {"arg_vectors_decay": False, "result": None},
        {"result": None},
    ]


def test_torch_function_modes_see_nothing_of_it(tmp_path: Path) -> None:
    program = recorded(
        tmp_path,
        """
        import torch
        from torch.overrides import TorchFunctionMode
        seen = []
        class Mode(TorchFunctionMode):
            def __torch_function__(self, f, types, args=(), kwargs=None):
                seen.append(getattr(f, "__name__", str(f)))
                return f(*args, **(kwargs or {}))
        def use(x): return None
        x = torch.nn.functional.relu(torch.ones(3, 2))
        y = x[1:]
        model = torch.nn.Linear(2, 1)
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        with Mode():
            use(y); use([y]); use(model); use([*model.parameters()])
        """,
    )
    assert program.module.seen == []
    assert told(program, "program.use", "_from")[0] == {"arg_x": RELU}
