"""Random programs made of what training is made of, right and wrong, in odd places."""

from __future__ import annotations

import random
from collections.abc import Callable

HEADS = (
    "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n",
    "import torch as t, torch.nn as nn\nfrom torch import *\nfrom torch.optim import SGD as o\n",
    "from .a import *\nfrom . import b as nn\nimport torch, torch.nn.functional as F\n",
    "try:\n    import torch\nexcept ImportError:\n    torch = None\nfrom torch import nn, optim\n",
)
NAMES = "model net opt optimizer loss x y self f g scaler sched loader data out a b p cfg".split()
CALLS = (
    "{n}.backward()",
    "{n}.step()",
    "{n}.step({e})",
    "{n}.zero_grad()",
    "{n}.train({e})",
    "{n}.eval()",
    "torch.optim.SGD({e}, lr={e})",
    "torch.optim.AdamW({n}.parameters())",
    "torch.amp.GradScaler({e})",
    "{n}.scale({e}).backward()",
    "{n}.unscale_({n})",
    "{n}.update()",
    "torch.nn.utils.clip_grad_norm_({n}.parameters(), {e})",
    "torch.optim.lr_scheduler.StepLR({n}, {e})",
    "nn.Linear({e}, {e})",
    "nn.Sequential({e}, {e}, *{n})",
    "nn.ModuleList([{e} for {n} in {e}])",
    "nn.parallel.DistributedDataParallel({n})",
    "torch.utils.data.DataLoader({e}, shuffle={e})",
    "F.cross_entropy({e}, {e})",
    "F.softmax({e}, dim={e})",
    "nn.CrossEntropyLoss()({e}, {e})",
    "{n}.detach()",
    "{n}.item()",
    "torch.tensor({e})",
    "{n}.to({e})",
    "copy.deepcopy({n})",
    "{n}({e})",
    "{n}({e}, *{e}, k={e}, **{e})",
    "{n}.{n}({e})",
    "getattr({n}, {e})({e})",
    "super().__init__({e})",
    "super().{n}",
    "torch.save({n}.state_dict(), {e})",
    "{n}.load_state_dict({e})",
    "torch.distributed.all_reduce({e})",
    "torch.autograd.grad({e}, {e})",
    "functools.partial({n}, {e})",
    "list(map({n}, {e}))",
    "sorted({e}, key={n})",
    "(lambda {n}: {e})({e})",
    "(yield {e})",
    "(await {e})",
)
ATOMS = (
    "{n} 0 1 None True 'a' [] {{}} () {n}.parameters() {n}[0] {n}['x'] {n}.{n} {n}.{n}.{n} "
    "range(3) {n}[{n}:] -{n} {n}.grad {n}.data {n}.param_groups"
).split(" ")


class Writer:
    """Writes one program from one seed; `depth` bounds how deep expressions and blocks nest."""

    def __init__(self, chance: random.Random, depth: int = 4) -> None:
        self.chance = chance
        self.depth = depth

    def program(self) -> str:
        count = self.chance.randint(1, 6)
        return self.chance.choice(HEADS) + self.block(0, "", count)

    def name(self) -> str:
        return self.chance.choice(NAMES)

    def fill(self, template: str, depth: int) -> str:
        while "{n}" in template:
            template = template.replace("{n}", self.name(), 1)
        while "{e}" in template:
            template = template.replace("{e}", self.expression(depth + 1), 1)
        return template.replace("{{", "{").replace("}}", "}")

    def expression(self, depth: int = 0) -> str:
        kind = self.chance.random()
        if depth > self.depth or kind < 0.35:
            return self.fill(self.chance.choice(ATOMS), depth)
        if kind < 0.8:
            return self.fill(self.chance.choice(CALLS), depth)
        form = self.chance.choice(
            (
                "({e} + {e})",
                "({e} if {e} else {e})",
                "[{e}, {e}]",
                "({e}, *{e})",
                "{n}[{e}]",
                "({n} := {e})",
                "[{e} for {n} in {e} if {e}]",
                "({e} and not {e})",
                "({e} % {e} == {e})",
                "({e}).{n}",
            )
        )
        return self.fill(form, depth)

    def block(self, depth: int, indent: str, count: int) -> str:
        return "".join(self.statement(depth, indent) for _ in range(count))

    def statement(self, depth: int, indent: str) -> str:
        if depth > self.depth or self.chance.random() < 0.55:
            return self.simple(depth, indent)
        forms: tuple[Callable[[int, str], str], ...] = (self.compound, self.function, self.owner)
        return self.chance.choices(forms, (6, 2, 1))[0](depth, indent)

    def simple(self, depth: int, indent: str) -> str:
        form = self.chance.choice(
            (
                "{e}",
                "{e}",
                "{e}",
                "{n} = {e}",
                "{n} = {e}",
                "{n}.{n} = {e}",
                "{n}, {n} = {e}",
                "{n}, *{n} = {e}",
                "{n} += {e}",
                "{n}[{e}] = {e}",
                "{n}['lr'] = {e}",
                "{n}: int = {e}",
                "del {n}",
                "return {e}",
                "global {n}",
                "import {n}",
                "raise {e}",
                "assert {e}",
                "break",
                "continue",
                "pass",
            )
        )
        return f"{indent}{self.fill(form, depth)}\n"

    def compound(self, depth: int, indent: str) -> str:
        head, tail = self.chance.choice(
            (
                ("for {n} in {e}:", ""),
                ("for {n}, ({n}, {n}) in enumerate({e}):", "else:"),
                ("while {e}:", ""),
                ("while True:", "else:"),
                ("if {e}:", "else:"),
                ("if __name__ == '__main__':", ""),
                ("with {e} as {n}:", ""),
                ("with torch.no_grad():", ""),
                ("with torch.autocast({e}), {e}:", ""),
                ("try:", "except {n} as {n}:"),
                ("try:", "finally:"),
                ("async for {n} in {e}:", ""),
            )
        )
        inner = indent + "    "
        text = f"{indent}{self.fill(head, depth)}\n"
        text += self.block(depth + 1, inner, self.chance.randint(1, 4))
        if tail:
            text += f"{indent}{self.fill(tail, depth)}\n"
            text += self.block(depth + 1, inner, self.chance.randint(1, 2))
        return text

    def function(self, depth: int, indent: str) -> str:
        head = self.chance.choice(
            (
                "def {n}({n}, _={e}):",
                "def {n}(*{n}, **_):",
                "def {n}():",
                "async def {n}({n}):",
                "@{e}\n{i}def {n}({n}):",
                "@torch.no_grad()\n{i}def {n}({n}):",
                "@property\n{i}def {n}(self):",
                "def forward(self, x):",
                "def __init__(self, *{n}):",
                "def __call__(self, {n}):",
            )
        ).replace("{i}", indent)
        body = self.block(depth + 1, indent + "    ", self.chance.randint(1, 5))
        return f"{indent}{self.fill(head, depth)}\n{body}"

    def owner(self, depth: int, indent: str) -> str:
        head = self.chance.choice(
            (
                "class {n}(nn.Module):",
                "class {n}(torch.optim.Adam, {n}):",
                "class {n}({e}, metaclass={n}):",
                "class {n}:",
            )
        )
        inner = indent + "    "
        body = "".join(self.function(depth + 1, inner) for _ in range(self.chance.randint(1, 3)))
        return f"{indent}{self.fill(head, depth)}\n{body}"


def training_program(seed: int) -> str:
    """Return the program of a seed; it need not compile."""
    return Writer(random.Random(seed)).program()
