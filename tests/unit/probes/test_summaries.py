"""What is kept of values: scalars only, nothing of the user's run, nothing of torch's seen."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tcstatic.runtime.probes.callees import Callees
from tcstatic.runtime.probes.locate import Locator
from tcstatic.runtime.probes.summaries import (
    autocast_reader,
    brief_and_role,
    brief_of,
    brief_of_result,
    fields_of,
    know_own_classes,
)


@pytest.fixture(autouse=True)
def no_program() -> None:
    know_own_classes(type.__dict__["__name__"].__get__)


def said(value: Any) -> dict[str, Any]:
    brief = brief_of(value)
    hash(brief)
    return {name.removeprefix("v").lstrip("_"): told for name, told in fields_of("v", brief)}


class Hostile(type):
    """Fails whoever looks at a class or an object of it."""

    def __getattribute__(cls, name: str) -> NoReturn:
        raise RuntimeError(name)

    def __hash__(cls) -> NoReturn:
        raise RuntimeError

    def __eq__(cls, other: object) -> NoReturn:
        raise RuntimeError


class Odd(metaclass=Hostile):
    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError(name)

    def __len__(self) -> NoReturn:
        raise RuntimeError

    def __bool__(self) -> NoReturn:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, {"": True}),
        (None, {"": None}),
        (3, {"": 3}),
        (2**70, {"type": "int"}),
        (0.5, {"": 0.5}),
        ("mean", {"": "mean"}),
        ("x" * 33, {"type": "str", "length": 33}),
        ("cosine_with_hard_restarts", {"": "cosine_with_hard_restarts"}),
        ("hf_0123456789abcdef", {"type": "str", "length": 19}),
        ("/home/data.bin", {"type": "str", "length": 14}),
        (torch.float16, {"": "float16"}),
        (torch.device("cpu"), {"": "cpu"}),
        ([1, 2], {"type": "list", "length": 2}),
        (torch.Size([2, 3]), {"type": "Size", "length": 2}),
        (collections.OrderedDict(a=1), {"type": "OrderedDict", "length": 1}),
        (object(), {"type": "object"}),
        (torch.nn.Dropout().eval(), {"type": "Dropout", "training": False}),
        (torch.optim.SGD([torch.ones(1)]), {"type": "SGD"}),
    ],
)
def test_what_is_said_of_a_value(value: Any, expected: dict[str, Any]) -> None:
    assert said(value) == expected


def test_what_may_be_secret_is_not_kept() -> None:
    assert dict(fields_of("arg_token", brief_of("abc"))) == {"arg_token_type": "str"}
    assert dict(fields_of("arg_mode", brief_of("abc"))) == {"arg_mode": "abc"}


def test_what_is_said_of_a_tensor() -> None:
    assert said(torch.ones(2, 3, 4, dtype=torch.bfloat16)) == {
        "type": "Tensor",
        "dtype": "bfloat16",
        "device": "cpu",
        "requires_grad": False,
        "ndim": 3,
        "rows": 2,
        "width": 4,
        "second": 3,
    }
    scalar = said(torch.nn.Parameter(torch.tensor(1.0)))
    assert (scalar["type"], scalar["ndim"], scalar["requires_grad"]) == ("Parameter", 0, True)
    assert "rows" not in scalar
    assert said(torch.ones(1, device="meta"))["device"] == "meta"


@pytest.mark.filterwarnings("ignore")
def test_tensors_of_no_one_shape() -> None:
    nested = torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])
    assert "ndim" not in said(nested)
    assert said(torch.eye(2).to_sparse())["rows"] == 2
    assert said(torch.nn.parameter.UninitializedParameter()) == {"type": "UninitializedParameter"}


def test_tuples_that_are_returned() -> None:
    brief, _ = brief_of_result((1, torch.ones(2), "c", 4, 5))
    fields = dict(fields_of("result", brief))
    assert (fields["result_length"], fields["result_0"], fields["result_2"]) == (5, 1, "c")
    assert fields["result_1_dtype"] == "float32"
    assert "result_3" not in fields


def test_equal_values_of_other_types_are_told_apart() -> None:
    assert len({brief_of(1), brief_of(1.0), brief_of(True)}) == 3


def test_nothing_of_the_users_is_run() -> None:
    odd: Any = Odd()
    assert brief_and_role(odd)[1] == ""
    callees = Callees([__file__], Locator(os.path.dirname(__file__)))
    for thing in (odd, Odd, [odd]):
        callees.of(thing)


def test_a_subclass_of_tensor_is_not_asked() -> None:
    class Mine(torch.Tensor):
        @classmethod
        def __torch_function__(cls, *given: Any, **more: Any) -> NoReturn:
            raise RuntimeError

    assert said(torch.Tensor._make_subclass(Mine, torch.ones(2))) == {"type": "Mine"}


class Seen(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.functions: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.functions.append(func)
        return func(*args, **(kwargs or {}))


class SeenOperators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.functions: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.functions.append(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", [Seen, SeenOperators])
def test_modes_do_not_see_us(mode: Any) -> None:
    x = torch.ones(2, requires_grad=True)
    with mode() as seen:
        assert said(x)["rows"] == 2
        autocast_reader(torch)()
    assert seen.functions == []


def test_autocast() -> None:
    autocast_dtype = autocast_reader(torch)
    assert autocast_dtype() == ""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert autocast_dtype() == "bfloat16"


def _named() -> Iterator[tuple[Any, str]]:
    functional, x = torch.nn.functional, torch.ones(2)
    yield functional.relu, "torch.nn.functional.relu input"
    yield functional.linear, "torch.nn.functional.linear input"
    yield functional.max_pool2d, "torch.nn.functional.max_pool2d input"
    yield torch.nn.init.zeros_, "torch.nn.init.zeros_ tensor"
    yield torch.nn.utils.clip_grad_norm_, "torch.nn.utils.clip_grad_norm_ parameters"
    yield torch.autocast, "torch.amp.autocast device_type"
    yield x.copy_, "torch.Tensor.copy_ src"
    yield torch.distributed.all_reduce, "torch.distributed.all_reduce tensor"
    yield torch.nn.Linear(1, 1), "torch.nn.Linear input"


@pytest.mark.parametrize(("thing", "expected"), list(_named()))
def test_functions_of_torch(thing: Any, expected: str) -> None:
    found, _ = Callees([], Locator(os.path.dirname(__file__))).of(thing)
    assert found is not None
    assert f"{found.name} {found.parameters[0]}" == expected


@pytest.mark.parametrize(
    "thing",
    [print, len, [].append, "".join, torch.zeros, torch.ones(1).add, torch.nn.Linear, int],
)
def test_what_is_not_wanted(thing: Any) -> None:
    assert Callees([], Locator(os.path.dirname(__file__))).of(thing)[0] is None
