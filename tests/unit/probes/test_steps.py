"""Facts of torch that a naive reading of a step trips over."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tcstatic.runtime.probes import entry
from tests.unit.probes.watching import (
    BACKWARD,
    CLEAR,
    COPY,
    FORWARD,
    NEW,
    Watched,
    batch,
    linear,
    train,
)


class ByHand(torch.optim.Optimizer):
    """Applies one function to every parameter that has a gradient."""

    def __init__(self, parameters: Any, work: Callable[[torch.Tensor], Any], lr: float = 0.1):
        super().__init__(parameters, {"lr": lr})
        self.work = work

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.work(parameter)


@pytest.mark.parametrize(
    "made",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, fused=True),
        lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
        lambda p: ByHand(p, lambda one: one.data.sub_(0.1 * one.grad)),
        lambda p: ByHand(p, lambda one: one.data.copy_(one - 0.1 * one.grad)),
        lambda p: ByHand(p, lambda one: one.detach().numpy().__isub__(0.125)),
        lambda p: ByHand(p, lambda one: setattr(one, "data", one - 0.125)),
    ],
    ids=["fused SGD", "fused AdamW", "data.sub_", "data.copy_", "numpy", "data ="],
)
def test_a_change_that_moves_no_version_is_seen(
    watched: Watched, made: Callable[[Any], Any]
) -> None:
    model = linear()
    optimizer = made(model.parameters())
    before, value = model.weight._version, model.weight.detach().clone()
    train(model, optimizer, 3)
    assert model.weight._version == before
    assert not torch.equal(model.weight, value)
    assert watched.changed() == [True] * 3
    assert watched.codes() == []


@pytest.mark.parametrize("foreach", [True, False])
@pytest.mark.parametrize(("rate", "scale"), [(0.0, 1.0), (0.1, 0.0)])
def test_a_version_that_moves_without_a_change_is_no_change(
    watched: Watched, rate: float, scale: float, foreach: bool
) -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, foreach=foreach)
    before, value = model.weight._version, model.weight.detach().clone()
    x = batch()
    with torch.no_grad():
        model.bias.zero_()
    train(model, optimizer, 4, x * scale)
    assert model.weight._version > before
    assert torch.equal(model.weight, value)
    assert True not in watched.changed()
    assert watched.codes() == []


def test_equal_norms_with_other_values_are_compared_bit_for_bit(watched: Watched) -> None:
    model = linear()
    optimizer = ByHand(model.parameters(), lambda one: one.neg_())
    norm = torch.linalg.vector_norm(model.weight.detach())
    train(model, optimizer, 1)
    assert torch.equal(torch.linalg.vector_norm(model.weight.detach()), norm)
    train(model, optimizer, 3)
    # suspicion first; the comparison over the next step acquits; then it is suspected anew
    assert watched.changed() == [None, True, None, True]
    assert watched.codes() == []


def test_one_that_looks_unchanged_once_is_no_suspect_for_ever(watched: Watched) -> None:
    model = linear()
    turns = iter([torch.neg_, torch.neg_] + [lambda one: one.mul_(0.5)] * 20)
    optimizer = ByHand([model.weight], lambda one: next(turns)(one))
    train(model, optimizer, 6)
    assert watched.changed() == [None, True, True, True, True, True]
    assert watched.codes() == []


def test_a_step_without_effect_is_reported_with_its_first_step(watched: Watched) -> None:
    model = linear()
    optimizer = ByHand(model.parameters(), lambda one: None)
    train(model, optimizer, 12)
    assert watched.changed() == [None] + [False] * 11
    assert {one.fields["since"] for one in watched.members()} == {0}
    assert ("TCS101", 0) in watched.codes()
    (finding,) = [one for one in watched.findings() if one.code == "TCS101"]
    assert finding.where.file == "watching.py"


def test_a_frozen_row_does_not_hide_a_change(watched: Watched) -> None:
    """One element of many moves by less than the norm shows."""
    parameter = torch.nn.Parameter(torch.full((1000,), 100.0))
    optimizer = ByHand([parameter], lambda one: one[:1].add_(2e-4))

    for _ in range(3):
        parameter.grad = torch.ones(1000)
        optimizer.step()
    assert watched.changed() == [None, True, None]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_odd_sizes_and_other_types(watched: Watched, dtype: torch.dtype) -> None:
    model = linear(3, 1).to(dtype)
    optimizer = ByHand(model.parameters(), lambda one: one.neg_())
    train(model, optimizer, 4, batch().to(dtype))
    assert watched.changed() == [None, True, None, True]
    assert watched.codes() == []


def test_a_nested_step_counts_once(watched: Watched) -> None:
    class Louder(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    class Loudest(Louder):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    for kind in (torch.optim.SGD, Louder):  # torch hooks a class when one of it is made
        kind(linear().parameters(), lr=0.1)
    model = linear()
    train(model, Loudest(model.parameters(), lr=0.1), 3)
    assert [one.step for one in watched.of("optimizer.step")] == [0, 1, 2]
    assert watched.watch.steps == 3
    assert watched.settled == 3
    assert watched.codes() == []


def test_steps_after_one_that_raised_are_seen(watched: Watched) -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer, 2)

    def closure() -> float:
        raise MemoryError

    with pytest.raises(MemoryError):
        optimizer.step(closure)
    train(model, optimizer, 3)
    assert len(watched.of("optimizer.step")) == 5


def test_a_closure_that_backwards_within_the_step(watched: Watched) -> None:
    model = linear()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = model(batch()).pow(2).mean()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert len(watched.of("optimizer.step")) == 3
    assert watched.codes() == []


def test_a_step_that_clears_what_it_has_used_cleared_after_it(watched: Watched) -> None:
    class Twice(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            closure()
            self.move(0.01)
            self.zero_grad()
            closure()
            self.move(-0.1)
            self.zero_grad()

        @torch.no_grad()
        def move(self, rate: float) -> None:
            for parameter in self.param_groups[0]["params"]:
                parameter.add_(parameter.grad, alpha=rate)

        def zero_grad(self, set_to_none: bool = True) -> None:
            entry.on(CLEAR, self)
            entry.after(CLEAR, super().zero_grad(set_to_none))

    model = linear()
    optimizer = Twice(model.parameters(), lr=0.1)

    def closure() -> None:
        loss = entry.after(FORWARD, entry.on(FORWARD, model)(batch())).pow(2).mean()
        entry.after(BACKWARD, entry.on(BACKWARD, loss).backward())

    for _ in range(4):
        optimizer.step(closure)
    step, clear = "optimizer.step", "optimizer.zero_grad"
    assert len(watched.of(step)) == 4
    kinds = [one.kind for one in watched.events if one.kind in (step, clear)]
    assert kinds == [clear, step, clear] * 4
    assert watched.codes() == []


def test_gradients_that_came_about_unseen_are_no_step_without_a_backward(
    watched: Watched,
) -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train(model, optimizer, 1)
    entry.after(CLEAR, entry.on(CLEAR, optimizer).zero_grad())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.step()
    entry.after(CLEAR, entry.on(CLEAR, optimizer).zero_grad(set_to_none=False))
    optimizer.step()
    told = [one.values["backwards"] for one in watched.of("optimizer.step")]
    assert told == [1, None, 0, 0]


def test_a_loss_that_falls_to_nothing_was_more_before(watched: Watched) -> None:
    for scales in ((1.0, 0.0), (0.0, 0.0, 1.0, 0.0)):
        model = linear()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        entry.after(NEW, optimizer)
        for scale in scales:
            loss = entry.after(FORWARD, entry.on(FORWARD, model)(batch())).mean() * scale
            entry.after(BACKWARD, entry.on(BACKWARD, loss).backward())
            optimizer.step()
    told = [one.values["never_lost"] for one in watched.of("optimizer.step")]
    assert told == [False, False, True, True, False, False]
    zero = [one.values["loss_zero"] for one in watched.of("optimizer.step")]
    assert zero == [False, True, True, True, False, True]


def test_a_copy_of_the_model_is_followed_like_the_model(watched: Watched) -> None:
    model = linear()
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), 3)
    other = entry.after(COPY, copy.deepcopy(model))
    registry = watched.parts.stream.registry
    number = registry.number(model.weight)
    train(other, torch.optim.SGD(other.parameters(), lr=0.1), 3)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), 1)
    steps = watched.of("optimizer.step")
    numbers = [one.members[0].number for one in steps]
    assert numbers == [number] * 3 + [registry.number(other.weight)] * 3 + [number]
    assert number != registry.number(other.weight)
    assert {one.members[0].name for one in steps} == {"Linear.weight"}
    assert watched.changed() == [True] * 7
    assert watched.codes() == []


def test_a_step_on_a_model_left_behind_by_a_copy_is_named(watched: Watched) -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    entry.after(NEW, optimizer)
    train(entry.after(COPY, copy.deepcopy(model)), optimizer, 3)
    assert watched.codes() == [("TCS201", 0)]


def test_sparse_gradients(watched: Watched) -> None:
    torch.manual_seed(0)
    model = torch.nn.Embedding(5, 3, sparse=True)
    rows = torch.tensor([1, 2, 2])
    train(model, torch.optim.SparseAdam(list(model.parameters()), lr=0.1), 3, rows)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), 3, rows)
    assert model.weight.grad is not None
    assert model.weight.grad.is_sparse
    assert watched.changed() == [True] * 6
    assert {one.fields["gradient_nonzero"] for one in watched.members()} == {True}
    assert watched.codes() == []


def test_the_gradient_of_large_halves_is_finite(watched: Watched) -> None:
    parameter = torch.nn.Parameter(torch.ones(64, dtype=torch.float16))
    optimizer = torch.optim.SGD([parameter], lr=1e-4)
    for value in (60000.0, float("inf")):
        parameter.grad = torch.full((64,), value, dtype=torch.float16)
        optimizer.step()
    assert [one.fields["gradient_finite"] for one in watched.members()] == [True, False]
    assert [one.fields["finite"] for one in watched.members()] == [True, False]


def test_no_gradient_at_all_is_not_a_zero_gradient(watched: Watched) -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.bias.requires_grad_(False)
    train(model, optimizer, 2)
    assert {one.fields["has_gradient"] for one in watched.members(1)} == {False}
    assert {one.fields["trainable"] for one in watched.members(1)} == {False}
    assert watched.codes() == []


def test_two_optimizers_count_their_own_steps(watched: Watched) -> None:
    one, two = linear(), linear()
    first = torch.optim.SGD(one.parameters(), lr=0.1)
    second = torch.optim.SGD(two.parameters(), lr=0.1)
    for _ in range(2):
        train(one, first, 2)
        train(two, second, 1)
    assert [event.step for event in watched.of("optimizer.step")] == [0, 1, 0, 2, 3, 1]
    assert watched.watch.steps == 4
    assert watched.codes() == []


def test_gradients_that_are_not_cleared_are_named(watched: Watched) -> None:
    model = linear()
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), 4, clear=False)
    assert watched.codes() == [("TCS112", 1)]


@pytest.mark.parametrize("seen", [True, False])
def test_training_is_bitwise_what_it_was(seen: bool) -> None:
    def trained() -> torch.Tensor:
        model = linear()
        train(model, torch.optim.AdamW(model.parameters(), lr=0.1), 5)
        return model.weight.detach()

    plain = trained()
    here = Watched()
    again = trained()
    if seen:
        here.watch.close()
    else:
        here.watch.pause()
    assert torch.equal(again, plain)
    assert len(here.events) > 0
    before = len(here.events)
    assert torch.equal(trained(), plain)
    assert len(here.events) == before


def test_transforms_are_left_alone(watched: Watched) -> None:
    model = linear()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(given: Any) -> Any:
        return torch.func.functional_call(model, given, (batch(),)).pow(2).mean()

    gradients = torch.func.grad(loss)(parameters)
    assert set(gradients) == {"weight", "bias"}
    assert torch.func.vmap(model)(batch()[None]).shape == (1, 4, 2)
    assert watched.disabled() == ()


def test_a_compiled_model_is_silent(watched: Watched) -> None:
    import torch._dynamo

    torch._dynamo.reset()
    watched.watch.dynamo_imported()
    model = linear()
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled: Any = torch.compile(model, backend=backend)
    train(compiled, torch.optim.SGD(model.parameters(), lr=0.1), 5)
    assert len(graphs) == 1
    assert watched.changed() == [True] * 5
    assert watched.codes() == []
    assert watched.disabled() == ()
    torch._dynamo.reset()
