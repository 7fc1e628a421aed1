"""Samples that cut what they are drawn by off from the loss: ``torch.normal``, ``sample()``.

What is looked at is how the loss was made. A sample is told where a trained layer is given it, as
the decoder of an autoencoder is, and what it was drawn by is trained by the same optimizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.grad_modes import is_opened
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.parameters import owners
from tcstatic.program.paths.project import Module
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import Class, Const, Node, Object, Phi, Value
from tcstatic.program.paths.walking import (
    Token,
    differentiable,
    inputs_of,
    reach,
    upstream,
    walked,
)

_WORTH: Final = re.compile(r"\btorch\.normal\(|\.sample\(|\.sample_n\(|\bimport normal\b")
# Who writes down how likely a sample was trains what it is drawn by with that. Who hands what a
# model gave to it again may mean to train it on its own outputs, as if they were given.
_OTHER_WAY: Final = re.compile(
    r"log_?prob|\bscore_function|reinforce|\bnll\b|gaussian_nll|scheduled|teacher_forc|policy"
    r"|rollout|contrastive_div|langevin|gibbs|\bnes\b|evolution",
    re.IGNORECASE,
)
# Distributions that have a reparameterised sample.
_CONTINUOUS: Final = frozenset(
    """Normal MultivariateNormal LowRankMultivariateNormal LogNormal Laplace Gamma Beta Dirichlet
    Uniform StudentT Cauchy Gumbel Exponential HalfNormal Weibull Kumaraswamy LogisticNormal
    TransformedDistribution""".split()
)
_AROUND: Final = frozenset({"Independent", "expand", "item", "forward"})
_SAMPLES: Final = frozenset({"sample", "sample_n"})
_NOISE: Final = frozenset({"randn", "randn_like", "rsample", "normal", "normal_", "sample"})
_UNRECORDED: Final = re.compile(r"no_grad|inference|grad_off|unknown")
_MOST: Final = 500


@surveys
def sampled(m: Machine, block: Block) -> None:
    """``sample_cuts`` of a sample by which no gradient reaches what it was drawn by."""
    every = list(happenings(block))
    if not any(one.kind == "optimizer.step" for one in every):
        return
    told: set[int] = set()
    for one in every:
        if one.kind != "loss.backward" or not _may_cut(one, every):
            continue
        for node, drawn in _samples(m, one.arguments[0]):
            if node.number in told or _is_trained_elsewhere(m, one.arguments[0], node, drawn):
                continue
            if node.place is not None:
                told.add(node.number)
                about = {"optimizer": owners(m, drawn)[:1]}
                name = "torch.normal" if node.op == "normal" else f"{node.op}()"
                tell(block, "sample_cuts", node.place, subjects=about, sample=name)


def _may_cut(one: Happening, every: list[Happening]) -> bool:
    """Whether samples are drawn in the program, and nobody asks how likely they are."""
    said = [wording.once(module, _draws) for module in wording.at_work(every)]
    drawn = any(draws for draws, _ in said)
    return bool(one.arguments) and drawn and not any(asked for _, asked in said)


def _draws(module: Module) -> tuple[bool, bool]:
    """Whether a file draws samples, and whether it uses them in another way than by their slope."""
    text = module.text.text
    return _WORTH.search(text) is not None, _OTHER_WAY.search(text) is not None


def _samples(m: Machine, loss: Value) -> Iterator[tuple[Node, frozenset[Token]]]:
    """The samples that layers behind a loss are given, each with the parameters behind what it
    was drawn by, which an optimizer of these layers holds as well."""
    for layer in islice(upstream(m, loss, differentiable), _MOST):
        held = layer.keywords.get("#tokens") if isinstance(layer, Node) else None
        if not isinstance(layer, Node) or layer.op != "forward" or not isinstance(held, Const):
            continue
        own = isinstance(layer.subject, Object) and isinstance(layer.subject.type, Class)
        for node in walked(layer.inputs[own:], lambda one: _before(m, one), _MOST):
            if not isinstance(node, Node) or not _is_recorded(node):
                continue
            drawn = _drawn_by(m, node)
            if drawn and set(owners(m, drawn)) & set(owners(m, held.value)):
                yield node, drawn


def _is_trained_elsewhere(m: Machine, loss: Value, sample: Node, drawn: frozenset[Token]) -> bool:
    """Whether what a sample is drawn by learns from the loss by layers that are not behind the
    sample: a clean branch beside the one with noise, or another pass with a loss of its own."""
    behind = {id(one) for one in upstream(m, sample, lambda _: True)}
    for layer in islice(upstream(m, loss, differentiable), _MOST):
        if not isinstance(layer, Node) or layer.op != "forward" or id(layer) in behind:
            continue
        if is_opened(layer):
            continue
        if _holds(layer) & drawn:
            return True
        given = walked(layer.inputs, lambda one: _before(m, one), _MOST)
        if any(isinstance(one, Node) and _holds(one) & drawn for one in given):
            return True
    return False


def _holds(one: Node) -> frozenset[Token]:
    held = one.keywords.get("#tokens")
    known = one.op == "forward" and isinstance(held, Const) and not is_opened(one)
    return held.value if known and isinstance(held, Const) else frozenset()


def _before(m: Machine, value: Value) -> Iterator[Value]:
    """What a value is made of on the way of training; of two ways the first, if the other one
    has no noise of its own."""
    if isinstance(value, Node) and (value.op in _SAMPLES or value.op == "normal"):
        return
    if not differentiable(value):
        return
    if not isinstance(value, Phi):
        yield from inputs_of(m, value)
    elif value.ways is not None and len(value.ways[2]) == 2:
        first, other = value.ways[2]
        known = {id(one) for one in upstream(m, first, lambda _: True)}
        behind = upstream(m, other, lambda one: id(one) not in known)
        noise = any(
            isinstance(one, Node) and one.op in _NOISE and id(one) not in known for one in behind
        )
        if not noise:
            yield first


def _is_recorded(node: Node) -> bool:
    return not any(map(_UNRECORDED.search, node.regions))


def _drawn_by(m: Machine, node: Node) -> frozenset[Token]:
    """The parameters behind the numbers that a sample is drawn by."""
    if node.op == "normal":
        given = [
            *node.inputs[:2],
            *(node.keywords[k] for k in ("mean", "std") if k in node.keywords),
        ]
        return _tokens(m, given)
    if node.op not in _SAMPLES or not node.inputs:
        return frozenset()
    kinds = [one for one in _distributions(m, node.inputs[0])]
    if len(kinds) != 1 or kinds[0].op not in _CONTINUOUS:
        return frozenset()
    return _tokens(m, [*kinds[0].inputs, *kinds[0].keywords.values()])


def _tokens(m: Machine, values: list[Value]) -> frozenset[Token]:
    found = [reach(m, one) for one in values]
    if any(one.unknown for one in found):
        return frozenset()
    return frozenset[Token]().union(*(one.tokens for one in found))


def _distributions(m: Machine, value: Value) -> list[Node]:
    """The calls by which the distribution behind a value may have been made."""

    def onward(one: Value) -> Iterator[Value]:
        if not isinstance(one, Node):
            yield from inputs_of(m, one)
        elif one.op in _AROUND or one.op.startswith("attr:"):
            yield from one.inputs[:1]

    found = walked((value,), onward, _MOST)
    return [
        one
        for one in found
        if isinstance(one, Node) and one.op[:1].isupper() and one.op != "Independent"
    ]
