"""What lint takes for granted where the source does not tell, with what looks alike."""

from __future__ import annotations

import textwrap
from pathlib import Path

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
