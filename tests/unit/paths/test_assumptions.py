"""What lint takes for granted where the source does not tell, with what looks alike."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tcstatic.lint.analysis import Analyser
from tests.properties.linting import rules


def found(folder: Path, text: str, code: str) -> list[int]:
    """The lines at which a rule finds something in a program."""
    script = folder / "main.py"
    script.write_text(textwrap.dedent(text))
    findings = Analyser(folder, rules()).analyse(script).findings
    return [one.where.line for one in findings if one.code == code]


def test_the_only_optimizer_of_a_loop_is_that_of_its_backward(tmp_path: Path) -> None:
    program = """\
        import torch
        from elsewhere import load, other

        model = load()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        heads = torch.optim.SGD(other().parameters(), lr=0.1)
        for x in range(10):
            loss = model(x).logits.sum()
            loss.backward()
            optimizer.zero_grad()
            optimizer.step()
    """
    assert found(tmp_path, program, "TCS113") == [10]


def test_a_loop_with_two_optimizers_tells_nothing_of_a_backward(tmp_path: Path) -> None:
    program = """\
        import torch
        from elsewhere import load, other

        model, critic = load(), other()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        second = torch.optim.SGD(critic.parameters(), lr=0.1)
        for x in range(10):
            loss = model(x).logits.sum()
            loss.backward()
            second.zero_grad()
            optimizer.step()
            optimizer.zero_grad()
            critic(x).sum().backward()
            second.step()
    """
    assert found(tmp_path, program, "TCS113") == []


REBUILT = """\
    import torch
    from torch import nn

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, x):
            return self.layer(x)

    x, y = torch.randn(8, 4), torch.randn(8, 1)
    model = Small()
    for step in range(10):
        other = Small()
        {between}
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
"""


def test_a_model_made_in_the_loop_does_not_start_another_anew(tmp_path: Path) -> None:
    program = REBUILT.format(between="print(other)")
    assert found(tmp_path, program, "TCS125") == [17]


def test_parameters_that_are_set_by_hand_start_anew(tmp_path: Path) -> None:
    for between in (
        "for p, q in zip(model.parameters(), other.parameters()): p.data.copy_(q)",
        "for p, q in zip(model.parameters(), other.parameters()): p.data = q.data",
        "model.layer.reset_parameters()",
        "nn.init.normal_(model.layer.weight)",
        "model.layer = other.layer",
    ):
        assert found(tmp_path, REBUILT.format(between=between), "TCS125") == []


def test_elements_of_a_table_are_no_parameters_that_are_updated_by_hand(tmp_path: Path) -> None:
    program = """\
        import torch
        from torch import nn

        model = nn.Linear(4, 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        totals = torch.zeros(8)
        for step in range(8):
            loss = model(torch.randn(8, 4)).mean()
            optimizer.zero_grad()
            loss.backward()
            totals[step] += step
    """
    assert found(tmp_path, program, "TCS117") == [10]


EVALUATED = """\
    import torch
    from torch import nn

    x, x_test = torch.randn(96, 8), torch.randn(32, 8)
    model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def accuracy(model, x):
        with torch.no_grad():
            return (model(x).argmax(dim=1) == 1).float().mean().item()

    def mc_predict(model, x):
        with torch.no_grad():
            return torch.stack([model(x).softmax(dim=1) for _ in range(20)]).std(dim=0)

    model.train()
    for rows in torch.arange(96).split(16):
        inputs = x[rows]
        loss = model(inputs).logsumexp(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        {each}
    {after}
"""


def test_a_set_that_is_evaluated_at_once_is_evaluated_in_eval_mode(tmp_path: Path) -> None:
    held_back = EVALUATED.format(each="", after="with torch.no_grad(): print(model(x_test).max())")
    assert found(tmp_path, held_back, "TCS302") == [24]
    each = EVALUATED.format(each="print(accuracy(model, x_test))", after="")
    assert found(tmp_path, each, "TCS302") == [10]


def test_train_mode_that_is_meant_in_an_evaluation(tmp_path: Path) -> None:
    for each in (
        "print(accuracy(model, inputs))",
        "model.eval(); print(accuracy(model, x_test)); model.train()",
        "model.train(); print(accuracy(model, x_test))",
    ):
        assert found(tmp_path, EVALUATED.format(each=each, after=""), "TCS302") == []
    for after in (
        "print(mc_predict(model, x_test))",
        "with torch.no_grad(): print([model(x_test) for _ in range(20)])",
        "with torch.no_grad(): model(x_test)",
    ):
        assert found(tmp_path, EVALUATED.format(each="", after=after), "TCS302") == []


def test_a_method_is_named_and_not_called_in_a_function_that_is_not_explored(
    tmp_path: Path,
) -> None:
    program = """\
        import pytest
        import torch

        class Training:
            def run(self, optimizer, scheduler, environment, model):
                def inner():
                    optimizer.zero_grad
                    scheduler.step  # at last
                    environment.step
                    first = optimizer.step
                    with pytest.raises(AttributeError):
                        optimizer.step
                    try:
                        model.zero_grad
                    except AttributeError:
                        return None
                    return first
                return [inner for inner in ()]
    """
    assert found(tmp_path, program, "TCS131") == [7, 8]


def test_a_method_of_one_of_two_optimizers_is_not_called(tmp_path: Path) -> None:
    program = """\
        import sys
        import torch
        from torch import nn

        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        if len(sys.argv) > 1:
            optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        for step in range(8):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).mean().backward()
            optimizer.step
    """
    assert found(tmp_path, program, "TCS131") == [12]


def test_a_rate_that_is_nought_by_default_may_be_another(tmp_path: Path) -> None:
    program = """\
        import torch.nn.functional as F
        from torch import nn

        class Head(nn.Module):
            def __init__(self, rate={default}):
                super().__init__()
                self.rate = {rate}

            def forward(self, x):
                return F.dropout(x, self.rate)
    """
    default = program.format(default="0.0", rate="rate")
    assert found(tmp_path, default, "TCS303") == [10]
    assert found(tmp_path, program.format(default="0.5", rate="0.0"), "TCS303") == []


def test_gradients_that_are_scaled_by_hand_step_nothing(tmp_path: Path) -> None:
    program = """\
        import torch
        from elsewhere import parts
        from torch import nn

        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        for step in range(8):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).mean().backward()
            for p in parts(8):
                p.grad.data.mul_(0.5)
            scheduler.step()
            optimizer.step()
    """
    assert found(tmp_path, program, "TCS118") == [13]
    handed = program.replace("p.grad.data.mul_(0.5)", "p.apply(optimizer)")
    assert found(tmp_path, handed, "TCS118") == []


COPIED = """\
    import copy
    import torch
    from elsewhere import load

    model = load()
    model.train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    {copied}
    for step in range(8):
        optimizer.zero_grad()
        loss = {loss}
        loss.backward()
        {between}
        optimizer.step()
"""


def test_a_copy_of_an_unknown_model_is_trained(tmp_path: Path) -> None:
    rebound = "model = copy.deepcopy(model)"
    program = COPIED.format(copied=rebound, loss="model(step).logits.mean()", between="")
    assert found(tmp_path, program, "TCS201") == [8]


def test_a_copy_of_an_unknown_model_that_is_not_trained(tmp_path: Path) -> None:
    cases = (
        ("best = copy.deepcopy(model)", "model(step).logits.mean()", ""),
        ("old = copy.deepcopy(model)", "(model(step) - old(step)).mean()", ""),
        (
            "other = copy.deepcopy(model)",
            "other(step).mean()",
            "for p, q in zip(model.parameters(), other.parameters()): p.grad = q.grad",
        ),
        (
            "model = copy.deepcopy(model)\n    optimizer.add_param_group(model.head)",
            "model(step).mean()",
            "",
        ),
    )
    for copied, loss, between in cases:
        program = COPIED.format(copied=copied, loss=loss, between=between)
        assert found(tmp_path, program, "TCS201") == [], copied


def test_a_rate_that_is_set_on_an_optimizer_of_a_state(tmp_path: Path) -> None:
    program = """\
        import torch

        def fit(state, loader, {more}):
            optimizer = state["optimizer"]
            for batch in loader:
                optimizer.lr = 0.1
                optimizer.zero_grad()
                state["model"](batch).backward()
                optimizer.step()
                {after}
    """
    plain = program.format(more="rate", after="print(rate)")
    assert found(tmp_path, plain, "TCS128") == [6]
    read = program.format(more="rate", after="print(optimizer.lr)")
    assert found(tmp_path, read, "TCS128") == []
    other = plain.replace("optimizer.zero_grad()", "print(batch)")
    assert found(tmp_path, other, "TCS128") == []


def test_a_loop_that_clears_and_steps_and_computes_nothing(tmp_path: Path) -> None:
    program = """\
        import torch
        from torch import nn

        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        for step in range(8):
            {first}
            optimizer.step()
            {last}
    """
    idle = program.format(first="optimizer.zero_grad()", last="")
    assert found(tmp_path, idle, "TCS111") == [9]
    for first, last in (
        ("optimizer.zero_grad()", "scheduler.step()"),
        ("optimizer.zero_grad()", "print(optimizer.param_groups)"),
        ("optimizer.zero_grad(set_to_none=False)", ""),
        ("", ""),
    ):
        assert found(tmp_path, program.format(first=first, last=last), "TCS111") == []


def test_dropout_in_a_method_that_forward_calls(tmp_path: Path) -> None:
    program = """\
        import torch.nn.functional as F
        from torch import nn

        class Head(nn.Module):
            def __init__(self, rate):
                super().__init__()
                self.rate = rate
                self.layer = nn.Linear(4, 2)

            def {name}(self, x):
                return F.dropout(x, self.rate)

            def forward(self, x):
                {call}
                return self.layer(x)
    """
    called = program.format(name="_thin", call="x = self._thin(x)")
    assert found(tmp_path, called, "TCS303") == [11]
    for call in (
        "x = self._thin(x) if self.training else x",
        "if self.training: x = self._thin(x)",
        "x = x + 1",
    ):
        program_of_call = program.format(name="_thin", call=call)
        assert found(tmp_path, program_of_call, "TCS303") == [], call


def test_a_loss_that_is_only_shown_while_an_optimizer_steps(tmp_path: Path) -> None:
    program = """\
        import torch
        from elsewhere import load

        model = load()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for batch in range(8):
            optimizer.zero_grad()
            loss = model(batch).logits.sum()
            {between}
            optimizer.step()
    """
    shown = program.format(between="print(loss.item())")
    assert found(tmp_path, shown, "TCS111") == [10]
    for between in (
        "loss.backward()",
        "model.manual_backward(loss)",
        "model.backward(batch)",
        "load().backward(loss)",
        "loss = load.forward_backward(model, batch)",
    ):
        assert found(tmp_path, program.format(between=between), "TCS111") == [], between
    own = program.replace("loss =", "total =").format(between="model.compute(total)")
    assert found(tmp_path, own, "TCS111") == []


@pytest.mark.parametrize("first", ["critic.zero_grad()", "optimizer.zero_grad()"])
def test_a_model_of_a_class_that_is_not_there_clears_its_gradients(
    first: str, tmp_path: Path
) -> None:
    program = f"""\
        import torch
        from data import loader
        from nets import Critic

        critic = Critic(3, 1).to("cpu")
        optimizer = torch.optim.RMSprop(critic.parameters(), lr=0.1)
        for x in loader:
            loss = critic(x).mean()
            {first}
            loss.backward()
            optimizer.step()
    """
    assert found(tmp_path, program, "TCS112") == []
    assert found(tmp_path, program.replace(first, "pass"), "TCS112") == [11]


OF_NOWHERE = """\
    import torch
    from torch import nn
    from base import BaseModel
    from nets import Net
    from utils import clear


    class Own(BaseModel):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x):
            return self.layer(x)


    def train(model, optimizer, loader):
        for x, y in loader:
            CLEAR
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()


    net = MADE
    train(net, torch.optim.Adam(net.parameters(), lr=1e-3), [])
"""


@pytest.mark.parametrize("made", ["Net()", "Own()"])
@pytest.mark.parametrize("how", ["model.zero_grad()", "clear(model)"])
def test_what_is_handed_on_may_be_cleared_by_what_is_not_there(
    how: str, made: str, tmp_path: Path
) -> None:
    program = OF_NOWHERE.replace("MADE", made)
    assert found(tmp_path, program.replace("CLEAR", how), "TCS112") == []
    assert found(tmp_path, program.replace("CLEAR", "pass"), "TCS112") == [21]


FINE_TUNED = """\
    import torch
    import torchvision
    from transformers import BertForSequenceClassification, LlamaForCausalLM

    from data import held_back, loader

    model = MADE
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    model.train()
    for epoch in range(5):
        for batch in loader:
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for batch in held_back:
                model(**batch)
"""


@pytest.mark.parametrize(
    ("made", "lines"),
    [
        ("torchvision.models.resnet18()", [15]),
        ("torchvision.models.vit_b_16()", []),
        ("BertForSequenceClassification.from_pretrained('bert-base-uncased')", [15]),
        ("LlamaForCausalLM.from_pretrained('llama')", []),
    ],
)
def test_models_of_libraries_have_modes_by_their_names(
    made: str, lines: list[int], tmp_path: Path
) -> None:
    assert found(tmp_path, FINE_TUNED.replace("MADE", made), "TCS301") == lines
