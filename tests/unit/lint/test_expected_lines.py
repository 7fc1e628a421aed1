"""Programs in the shapes of real code, in files: each finding on the line that is announced."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

import pytest

from tests.golden.test_lint_fixtures import found_in
from tests.rules.test_lint_examples import expected
from tests.unit.lint.shapes import (
    CALLBACK,
    CHOSEN,
    CHOSEN_REST,
    COPIED,
    ENGINE,
    HANDED,
    MADE,
    MASKED,
    NAMED,
    OTHERS,
    PART,
    REPEATED,
    SCHEDULED,
    SWITCHED,
    TOGETHER,
)


def changed(text: str, old: str, new: str) -> str:
    """The text with one part of it replaced, which stands in it once."""
    assert text.count(old) == 1
    return text.replace(old, new)


PROGRAMS: Final = {
    "one of several optimizers, by its name": CHOSEN + CHOSEN_REST,
    "one of several optimizers, never cleared": CHOSEN
    + CHOSEN_REST.replace(
        "scaler.step(optimizer)", "scaler.step(optimizer)  # expect: TCS112"
    ).replace("            optimizer.zero_grad()\n", ""),
    "one of several optimizers, stepped past its scaler": CHOSEN
    + CHOSEN_REST.replace("scaler.step(optimizer)", "optimizer.step()  # expect: TCS121"),
    "two optimizers, each cleared": COPIED,
    "two optimizers, the second cleared for the first": changed(
        COPIED, "one.zero_grad()", "two.zero_grad()  # expect: TCS112"
    ),
    "two optimizers, the first cleared for the second": changed(
        COPIED, "two.zero_grad()", "one.zero_grad()  # expect: TCS112"
    ),
    "an optimizer that a library gave, scheduled": SCHEDULED,
    "an optimizer that a library gave, never scheduled": changed(
        changed(SCHEDULED, "            scheduler.step()\n", ""),
        "args.epochs)\n        scaler",
        "args.epochs)  # expect: TCS119\n        scaler",
    ),
    "a loss scale that stays while models are handed to others": changed(
        changed(SCHEDULED, "                scaler.unscale_(optimizer)\n", ""),
        "10.0)",
        "10.0)  # expect: TCS114",
    ),
    "a loss scale that others may take off": changed(
        changed(SCHEDULED, "                scaler.unscale_(optimizer)\n", ""),
        "scaler.scale(loss).backward()",
        "scaler.scale(loss).backward()\n                download(scaler)",
    ),
    "built here, stepped there": HANDED,
    "built here, never stepped there": changed(
        changed(HANDED, "                    scheduler.step()\n", ""),
        "CyclicLR(",
        "CyclicLR(  # expect: TCS119",
    ),
    "built here, stepped there in the wrong order": changed(
        changed(HANDED, "                    scheduler.step()\n", ""),
        "loss.backward()",
        "loss.backward()\n                    scheduler.step()  # expect: TCS118",
    ),
    "a step function, handed to an engine": ENGINE,
    "a step function that steps the scheduler first": changed(
        changed(ENGINE, "            lr_scheduler.step()\n", ""),
        "loss.backward()",
        "loss.backward()\n            lr_scheduler.step()  # expect: TCS118",
    ),
    "a schedule that is told the step": changed(
        changed(ENGINE, "            lr_scheduler.step()\n", ""),
        "loss.backward()",
        "loss.backward()\n            lr_scheduler.step(engine.step)",
    ),
    "a schedule set before anything is computed": changed(
        changed(ENGINE, "            lr_scheduler.step()\n", ""),
        "inputs, labels = batch",
        "inputs, labels = batch\n            lr_scheduler.step()",
    ),
    "two optimizers, the first never stepped": changed(
        TOGETHER, "one.step()", "two.step()  # expect: TCS117"
    )
    + OTHERS,
    "two optimizers, the second never stepped": changed(
        TOGETHER, "two.step()", "one.step()  # expect: TCS117"
    )
    + OTHERS,
    "a part of a model that is not known is trained": PART,
    "a part of a model that is not known is trained, and never cleared": changed(
        changed(PART, "            optimizer.zero_grad()\n", ""),
        "model(images), labels).backward()\n            optimizer.step()\n\n\n    def tune_given",
        "model(images), labels).backward()\n            optimizer.step()  # expect: TCS112\n\n\n"
        "    def tune_given",
    ),
    "a mask is learned, and its gradient read": MASKED,
    "a mask that is never stepped, because its gradient is what explains": changed(
        MASKED, "                optimizer.step()\n", ""
    ),
    "a mask whose gradient is printed, and that is never stepped": changed(
        changed(MASKED, "                optimizer.step()\n", ""),
        "loss.backward()\n                self.last = self.mask.grad.abs()",
        "loss.backward()  # expect: TCS117\n                print(self.mask.grad.abs().mean())",
    ),
    "the gradient of an input, by an optimizer that only clears": changed(
        changed(MASKED, "                optimizer.step()\n", ""),
        "self.mask.grad.abs()",
        "x.grad.abs()",
    ),
    "a callback that copies the best state": CALLBACK,
    "a callback that keeps the best state by reference": changed(
        CALLBACK,
        "copy.deepcopy(trainer.network.state_dict())",
        "trainer.network.state_dict()  # expect: TCS701",
    ),
    "a callback that keeps the state of the averaged model": changed(
        CALLBACK, "copy.deepcopy(trainer.network.state_dict())", "trainer.average.state_dict()"
    ),
    "a callback that keeps the last state, to hand it on": changed(
        CALLBACK, "copy.deepcopy(trainer.network.state_dict())", "trainer.network.state_dict()"
    ).replace("best_weights", "weights"),
    "dropout behind a switch that is off by default": SWITCHED,
    "dropout behind a switch that is off by default, always on": changed(
        SWITCHED, "p=self.dropout, training=self.training)", "p=self.dropout)  # expect: TCS303"
    ),
    "parameters of a model that somebody builds": MADE,
    "parameters of a model that somebody builds, gone through twice": MADE.replace(
        "model.parameters()", "params"
    ).replace(
        "        optimizer =",
        "        params = model.parameters()  # expect: TCS126\n        optimizer =",
    ),
    "parameters of what may be anything, kept": MADE.replace(
        "model.parameters()", "params"
    ).replace(
        "        optimizer =",
        "        params = build(config).all.parameters()\n        optimizer =",
    ),
    "an optimizer by its name alone": NAMED,
    "one of several optimizers by their name alone": changed(
        NAMED,
        "optimizer = create_optimizer(model)",
        "optimizer = create_optimizer(model) if loader else create_optimizer(model, 2)",
    ),
    "an optimizer by its name alone, looked up each time": changed(
        changed(NAMED, "            optimizer.zero_grad()\n", ""),
        "            optimizer.step()",
        "            optimizer = environment.of(model)\n            optimizer.step()",
    ),
    "an optimizer by its name alone, stepped after its scheduler": changed(
        changed(NAMED, "            scheduler.step()\n", ""),
        "agent.step()",
        "scheduler.step()  # expect: TCS118",
    ),
    "layers, each its own": REPEATED,
    "layers that are one, in a class whose name only looks like a word": changed(
        REPEATED,
        "[TSTiEncoderLayer(width) for _ in range(depth)])",
        "[TSTiEncoderLayer(width)] * depth)  # expect: TCS209",
    ),
}


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_program_has_what_it_announces(tmp_path: Path, text: str) -> None:
    text = textwrap.dedent(text)
    (tmp_path / "main.py").write_text(text)
    announced = {("main.py", code, line) for code, line in expected(text)}
    assert found_in(tmp_path) == announced
