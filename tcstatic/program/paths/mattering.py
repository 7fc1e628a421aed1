"""What makes a piece of source worth a look, by its text alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# What makes a function worth a look of its own: it trains, or computes a loss. Each expression with
# a text that must be there for it to match: to look for a text is a hundred times as fast as for an
# expression, and for an expression that begins with a text ten times as fast as for others.
_MATTERS: Final = tuple(
    (word, re.compile(expression, re.MULTILINE))
    for word, expression in (
        (".backward", r"\.backward\b"),
        ("zero_grad", r"zero_grad"),
        (".step", r"\.step(?<!scheduler\.step)\b(?!_)"),
        # A scheduler of learning rates takes one argument at most; those of diffusion models more.
        ("scheduler.step", r"scheduler\.step(?:$|\((?!\n|[^\n,()]+,))"),
        ("cross_entropy", r"cross_entropy"),
        ("CrossEntropyLoss", r"CrossEntropyLoss"),
        ("nll_loss", r"nll_loss"),
        ("NLLLoss", r"NLLLoss"),
        ("BCELoss", r"BCELoss"),
        ("BCEWithLogits", r"BCEWithLogits"),
        ("kl_div", r"kl_div"),
        ("KLDivLoss", r"KLDivLoss"),
        ("set_grad_enabled", r"set_grad_enabled"),
        ("set_epoch", r"set_epoch"),
        ("manual_seed", r"manual_seed"),
        ("require_grad", r"require_grad\b"),
        ("random_split", r"random_split"),
        ("load_state_dict", r"load_state_dict"),
        ("no_grad()", r"no_grad(?<!@torch\.no_grad)(?<!@no_grad)\(\)$"),
        (".grad", r"\.grad\b"),
        (".eval", r"\.eval$"),
        (".lr =", r"\.lr ="),
        # Modules that are wrong by themselves, whoever trains them.
        ("Parameter(", r"Parameter\([^\n]*\)\.\w"),
        (
            ".dropout",
            r"\.dropout(?:(?<=F\.dropout)|(?<=functional\.dropout))"
            r"\w*\((?![^\n]*training=\w+\.training)",
        ),
        ("*", r"\)\s*\]\s*\*"),
        (")(", r"nn\.\w+\([^\n]*\)\(\w"),
    )
)
# A list; where there are no layers in a file, it holds none that a module fails to register.
_LIST: Final = re.compile(r"self\.\w+ = (?:\[|list\()")
_LAYERS: Final = re.compile(
    r"\bnn\.[A-Z]\w*\(|^\s*class \w+\([^)]*(?:Module|Layer|Block|Model|Net)\b", re.M
)
# What makes it worth while to go into a function that is called from such a one.
_TOUCHES: Final = (
    ".eval( .train( dropout no_grad inference_mode GradScaler clip_grad state_dict requires_grad "
    "optim nn. DataLoader all_reduce barrier torch.save model Model"
).split()
_LOSS: Final = re.compile(r"oss\b")


def matches(text: str) -> Iterator[re.Match[str]]:
    """The words of a file that training is about, in no order."""
    for word, expression in _MATTERS:
        if word in text:
            yield from expression.finditer(text)
    if " = [" in text or " = list(" in text:
        found = _LIST.search(text)
        if found is not None and _LAYERS.search(text) is not None:
            yield from _LIST.finditer(text, found.start())


def matters(text: str) -> bool:
    """Whether there is any of them."""
    return next(matches(text), None) is not None


def touches(text: str) -> bool:
    """Whether a piece of source may do something to what is trained."""
    if any(word in text for word in _TOUCHES):
        return True
    return _LOSS.search(text) is not None or _LIST.search(text) is not None or matters(text)
