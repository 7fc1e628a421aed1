"""Agents that act and learn in one loop: each finding on the line that is announced."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

import pytest

from tests.golden.test_lint_fixtures import found_in
from tests.rules.test_lint_examples import expected

AGENT: Final = """\
    import gym
    import torch
    import torch.nn.functional as F
    from torch import nn


    class Skip(gym.Wrapper):
        def step(self, action):
            for _ in range(4):
                seen, reward, done, about = self.env.step(action)
            return seen, reward, done, about


    class Workers:
        def advance(self, actions):
            return [self.envs[number].step(action) for number, action in enumerate(actions)]


    torch.manual_seed(args.seed)
    env = Skip(gym.make(args.name))
    policy = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    seen = env.reset()
"""
ROUNDS: Final = """\
    for step in range(args.steps):
"""
ACT: Final = """\
        seen, reward, done, about = env.step(policy(seen).argmax())
        memory.add(seen, reward)
        if step % args.every == 0:
"""
LEARN: Final = """\
            seen, reward = memory.sample()
            optimizer.zero_grad()
            loss = F.mse_loss(policy(seen), reward)
            loss.backward()
            optimizer.step()
"""


def lint(folder: Path, text: str) -> None:
    source = textwrap.dedent(text)
    (folder / "main.py").write_text(source)
    announced = {("main.py", code, line) for code, line in expected(source)}
    assert found_in(folder) == announced


@pytest.mark.parametrize(
    "text",
    [
        # the seed makes each round the first one
        AGENT + ROUNDS + "        torch.manual_seed(args.seed)  # expect: TCS604\n" + ACT + LEARN,
        # only the environment is stepped
        AGENT
        + ROUNDS
        + ACT
        + LEARN.replace("backward()", "backward()  # expect: TCS117").replace(
            "            optimizer.step()\n", ""
        ),
    ],
    ids=["seed", "no-step"],
)
def test_an_agent_that_learns_nothing(tmp_path: Path, text: str) -> None:
    lint(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        AGENT + ROUNDS + ACT + LEARN,
        AGENT + ROUNDS + "        torch.manual_seed(args.seed + step)\n" + ACT + LEARN,
        # two ways to act, compared with one seed
        AGENT + "    for step in (1, 2):\n        torch.manual_seed(args.seed)\n" + ACT + LEARN,
        # what learns is made anew, also where it is made only now and then
        AGENT
        + ROUNDS
        + "        torch.manual_seed(args.seed)\n"
        + ACT
        + "            policy = nn.Linear(4, 2)\n"
        + "            optimizer = torch.optim.SGD(policy.parameters(), lr=0.1)\n"
        + LEARN,
        # somebody else steps the optimizer
        AGENT
        + "    class Updates:\n        def run(self):\n            self.optimizers[0].step()\n"
        + ROUNDS
        + ACT
        + LEARN.replace("            optimizer.step()\n", ""),
    ],
    ids=["right", "seed-of-the-round", "compared", "made-anew", "stepped-elsewhere"],
)
def test_an_agent_that_learns(tmp_path: Path, text: str) -> None:
    lint(tmp_path, text)
