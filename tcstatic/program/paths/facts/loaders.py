"""How loaders are read: by which loops, in which order, from which data, on which ranks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.facts.averaging import unaveraged
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.ranks import rank_in
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, Branch, Called, Happening, Loop, happenings
from tcstatic.program.paths.values import (
    Const,
    External,
    Node,
    Object,
    Phi,
    Unknown,
    Value,
    options,
)
from tcstatic.program.paths.walking import inputs_of
from tcstatic.program.source import syntax

_SPLITTERS: Final = frozenset(
    {"DistributedDataParallel", "FullyShardedDataParallel", "DDP", "FSDP"}
)
_RANDOM: Final = frozenset("rand randn randint randperm normal empty bernoulli poisson".split())
_SHUFFLES: Final = re.compile(
    r"shuffle|permut|sample\b|randperm|randint|choice|iter", re.IGNORECASE
)
_ORDERED: Final = re.compile(
    r"window|seq|series|time|text|token|corpus|lm|stream|frame|video|traject|replay|rollout|buffer"
    r"|episode|sentence|chunk|char|word|iter|batch|graph|prompt|eval|val|test",
    re.IGNORECASE,
)
# What stands in the making of any loader.
_PLAIN: Final = re.compile(r"batch_?size|Tensor|torch|niter", re.IGNORECASE)
_HELD_OUT: Final = re.compile(r"val|test|eval|dev|held|hold", re.IGNORECASE)
_LOADER: Final = "torch.utils.data"


@final
@dataclass(frozen=True, slots=True)
class Reading:
    """A loop over a loader, with the loops around it, outermost first."""

    happening: Happening
    loader: Object
    loop: Loop
    around: tuple[Loop, ...]

    @property
    def trains(self) -> bool:
        """Whether the loop's body runs backward and steps."""
        kinds = {one.kind for one in happenings(self.loop.body)}
        return {"loss.backward", "optimizer.step"} <= kinds

    @property
    def evaluates(self) -> bool:
        """Whether the loop's body runs a model, and trains nothing."""
        kinds = {one.kind for one in happenings(self.loop.body)}
        return "model.forward" in kinds and not kinds & {"loss.backward", "optimizer.step"}


@surveys
def readings(m: Machine, block: Block) -> None:
    """``same_order``, ``whole_data`` and ``stored_order`` of ``loader.next``; ``trained_on`` and
    ``split_again`` of what evaluation reads."""
    found = list(_readings(m, block, ()))
    if not found:
        return
    every = list(happenings(block))
    handed = frozenset[int]().union(*(one.maybe for one in every if one.wild))
    found = [one for one in found if one.loader.number not in handed]
    for one in found:
        _order(m, one)
    training = [one for one in found if one.trains]
    _ranks(m, every, training, block)
    _apart(m, every, training, block)
    for one in training:
        _tell_of(block, one.loader, "stored_order", truth=_is_stored_order(m, one))
    _held_out(m, block, training, [one for one in found if one.evaluates])


def _tell_of(block: Block, loader: Object, text: str, *, truth: bool = True) -> None:
    if loader.place is not None:
        tell(block, text, loader.place, says=truth, subjects={"loader": (loader.number,)})


def _readings(m: Machine, block: Block, around: tuple[Loop, ...]) -> Iterator[Reading]:
    for step in block.steps:
        if isinstance(step, Happening):
            known = step.kind == "loader.next" and step.values.get("choices") == 1
            if known and around and _is_plain(m, step.receiver):
                assert isinstance(step.receiver, Object)
                yield Reading(step, step.receiver, around[-1], around[:-1])
        elif isinstance(step, Branch):
            for alternative in step.alternatives:
                yield from _readings(m, alternative, around)
        elif isinstance(step, Loop):
            yield from _readings(m, step.body, (*around, step))
        elif isinstance(step, Called):
            yield from _readings(m, step.body, around)


def _is_plain(m: Machine, value: Value | None) -> bool:
    """Whether a loader is one of torch's that nobody has prepared for several ranks."""
    return (
        isinstance(value, Object)
        and isinstance(value.type, str)
        and value.type.startswith(_LOADER)
        and "**" not in value.keywords
        and m.cells.get((value.number, "#prepared")) is None
    )


def _part(m: Machine, loader: Object, text: str) -> Value | None:
    """What a loader was given under a name; None if nothing, or None."""
    value = m.attribute(loader, text)
    if isinstance(value, Const) and value.value is None:
        return None
    return value


# ------------------------------------------------------------------ order


def _order(m: Machine, one: Reading) -> None:
    """``same_order``: the sampler shuffles by the epoch, and nobody tells it the epoch."""
    sampler = _part(m, one.loader, "sampler")
    if sampler is None:
        one.happening.values["same_order"] = False
    if not isinstance(sampler, Object) or sampler.type_name != "DistributedSampler":
        return
    shuffle = sampler.keywords.get("shuffle")
    if shuffle is not None and not (isinstance(shuffle, Const) and shuffle.value is True):
        return
    if len(sampler.arguments) > 3 or not one.around:
        return
    epochs = one.around[-1]
    if sampler.number > epochs.begun or not one.trains or _once(m, epochs):
        return
    told = any(
        step.kind == "sampler.set_epoch" or (step.wild and sampler.number in step.maybe)
        for step in happenings(epochs.body)
    )
    one.happening.values["same_order"] = not told
    one.happening.subjects["sampler"] = (sampler.number,)


def _once(m: Machine, loop: Loop) -> bool:
    node = loop.place.node
    given = node.iter if isinstance(node, syntax.For) else None
    if not (isinstance(given, syntax.Call) and len(given.args) == 1):
        return False
    count = given.args[0]
    return isinstance(count, syntax.Constant) and count.value == 1


# ------------------------------------------------------------------ ranks


def _ranks(m: Machine, every: list[Happening], training: list[Reading], block: Block) -> None:
    """``whole_data``: a model of several ranks is trained on all data on each of them."""
    wrappers = {
        one.subjects["model"][0]
        for one in every
        if one.kind == "wrap.new" and one.values.get("type") in _SPLITTERS
    }
    seeds = [one for one in every if _is_seed(one)]
    if not wrappers or any(rank_in(m, value) for one in seeds for value in one.arguments):
        return
    for one in training:
        used = {
            number
            for step in happenings(one.loop.body)
            if step.kind == "model.forward"
            for number in step.subjects.get("model", ())
        }
        if used & wrappers and _is_whole(m, one.loader, bool(seeds)):
            _tell_of(block, one.loader, "whole_data")


def _apart(m: Machine, every: list[Happening], training: list[Reading], block: Block) -> None:
    """The model that is trained on a rank's own part: whether anything brings ranks together."""
    if not any(one.kind == "dist.init" for one in every):
        return
    for one in training:
        sampler = _part(m, one.loader, "sampler")
        if not isinstance(sampler, Object) or sampler.type_name != "DistributedSampler":
            continue
        models = {
            numbers[0]
            for step in happenings(one.loop.body)
            if step.kind == "model.forward" and (numbers := step.subjects.get("model", ()))
        }
        if len(models) == 1:
            unaveraged(m, every, models.pop(), block)


def _is_seed(one: Happening) -> bool:
    path = str(one.values.get("path", ""))
    return path.rpartition(".")[2] in ("manual_seed", "manual_seed_all", "seed", "seed_everything")


def _is_whole(m: Machine, loader: Object, seeded: bool) -> bool:
    sampler = m.attribute(loader, "sampler")
    if sampler is not None and not (isinstance(sampler, Const) and sampler.value is None):
        return False
    if _part(m, loader, "batch_sampler") is not None:
        return False
    data = _part(m, loader, "dataset")
    if data is None or any(rank_in(m, part) for part in loader.keywords.values()):
        return False
    found = list(_behind(m, data))
    opaque = (part for part in found if isinstance(part, Unknown) and part.origin != "expression")
    if any(opaque) or rank_in(m, data):
        return False
    drawn = any(isinstance(part, Node) and part.op in _RANDOM for part in found)
    streams = any(isinstance(part, Object) and _is_stream(part) for part in found)
    return not streams and (seeded or not drawn)


def _behind(m: Machine, value: Value) -> Iterator[Value]:
    """A dataset and all that it was made of."""
    waiting = [value]
    seen: set[int] = set()
    while waiting and len(seen) < 300:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting.extend(inputs_of(m, one))
        if isinstance(one, Object):
            waiting.extend((*one.arguments, *one.keywords.values()))


def _is_stream(one: Object) -> bool:
    if isinstance(one.type, str):
        return one.type_name.startswith("Iterable")
    return any(
        isinstance(base, External) and "Iterable" in base.path for base in lookup.ancestry(one.type)
    )


# ------------------------------------------------------------------ shuffling


def _is_stored_order(m: Machine, one: Reading) -> bool:
    """Whether training reads a dataset of the program's own in the order in which it is kept."""
    shuffle = _part(m, one.loader, "shuffle")
    if shuffle is not None and not (isinstance(shuffle, Const) and shuffle.value is False):
        return False
    for text in ("sampler", "batch_sampler"):
        if m.attribute(one.loader, text) is not None and _part(m, one.loader, text) is not None:
            return False
    if "collate_fn" in one.loader.keywords or not one.around:
        return False
    data = _part(m, one.loader, "dataset")
    if not isinstance(data, Object):
        return False
    return _is_kept(data) or (shuffle is not None and _is_of_tensors(m, one, data))


def _is_of_tensors(m: Machine, one: Reading, data: Object) -> bool:
    """Whether a loader that is told not to shuffle reads tensors whose names tell of no order."""
    if not isinstance(data.type, str) or data.type_name != "TensorDataset":
        return False
    made = one.loader.place.node if one.loader.place is not None else None
    texts = [syntax.unparse(made)] if isinstance(made, syntax.expr) else []
    texts.extend(_names(m, one.loader) | _names(m, data))
    if data.place is not None:
        texts.append(syntax.unparse(data.place.node))
    return not any(_ORDERED.search(_PLAIN.sub("", text)) for text in texts)


def _is_kept(data: Object) -> bool:
    """Whether a dataset has items by number, and no order of its own that matters."""
    if isinstance(data.type, str):
        return data.type.startswith("torchvision.datasets.") and not _ORDERED.search(data.type_name)
    derived = [one.path for one in lookup.ancestry(data.type) if isinstance(one, External)]
    if not any(path.endswith(".Dataset") for path in derived) or _ORDERED.search(data.type_name):
        return False
    if any(map(_ignores_its_index, syntax.walk(data.type.node))):
        return False
    names = {n.id for n in syntax.walk(data.type.node) if isinstance(n, syntax.Name)}
    attributes = {n.attr for n in syntax.walk(data.type.node) if isinstance(n, syntax.Attribute)}
    return not any(_SHUFFLES.search(text) for text in names | attributes)


def _ignores_its_index(node: syntax.AST) -> bool:
    """Whether this is how a dataset gives an item, whichever is asked for: it makes it anew."""
    if not isinstance(node, syntax.FunctionDef) or node.name != "__getitem__":
        return False
    asked = {one.arg for one in node.args.args[1:2]}
    return not any(isinstance(n, syntax.Name) and n.id in asked for n in syntax.walk(node))


# ------------------------------------------------------------------ held-out data


def _held_out(m: Machine, block: Block, training: list[Reading], evaluating: list[Reading]) -> None:
    trained = {id(data) for one in training if (data := _data(m, one.loader)) is not None}
    loaders = {one.loader.number for one in training}
    others = [one for one in evaluating if one.loader.number not in loaders]
    others_held_out = any(id(_data(m, one.loader)) not in trained for one in others)
    for one in others:
        data = _data(m, one.loader)
        names = _names(m, one.loader)
        held = any(_HELD_OUT.search(text) and "train" not in text.lower() for text in names)
        if data is None or others_held_out or not held:
            continue
        read = [one.loader, *(other.loader for other in training)]
        if id(data) in trained and all(_has_no_sampler(m, loader) for loader in read):
            _tell_of(block, one.loader, "trained_on")
    _splits(m, block, training, others)
    if evaluating and not others:
        _unread(m, block, training)


def _unread(m: Machine, block: Block, training: list[Reading]) -> None:
    """``unread`` of a loader of held-out data that the text names nowhere again, although a model
    is evaluated: by what it is trained on."""
    trained = {id(data) for one in training if (data := _data(m, one.loader)) is not None}
    for one in list(happenings(block)):
        made = one.result if one.kind == "loader.new" else None
        if not isinstance(made, Object) or not _is_plain(m, made):
            continue
        names = _names(m, made)
        data = _data(m, made)
        if data is None or id(data) in trained or not any(map(_HELD_OUT.search, names)):
            continue
        if not any(_is_read(one.place.module.tree, name) for name in names):
            _tell_of(block, made, "unread")


def _is_read(tree: syntax.AST, name: str) -> bool:
    last = name.rpartition(".")[2]
    return any(
        (isinstance(node, syntax.Name) and node.id == last and isinstance(node.ctx, syntax.Load))
        or (isinstance(node, syntax.Attribute) and node.attr == last)
        or (isinstance(node, syntax.Constant) and node.value == last)
        or (isinstance(node, syntax.alias) and last in (node.name, node.asname))
        for node in syntax.walk(tree)
    )


def _data(m: Machine, loader: Object) -> Value | None:
    data = _part(m, loader, "dataset")
    return None if data is None or isinstance(data, Phi) else data


def _has_no_sampler(m: Machine, loader: Object) -> bool:
    return all(_part(m, loader, text) is None for text in ("sampler", "batch_sampler"))


def _names(m: Machine, value: Value) -> set[str]:
    return {text.strip("[]'") for (_, text), held in m.cells.named() if held is value}


def _splits(m: Machine, block: Block, training: list[Reading], evaluating: list[Reading]) -> None:
    """``split_again``: what is evaluated on is a part of another random split than what is
    trained on."""
    first = [part for one in training for part in _parts_of(m, one.loader)]
    told: set[int] = set()
    for one in evaluating:
        for split, index in _parts_of(m, one.loader):
            for other, other_index in first:
                again = split is not other and split.inputs[:1] == other.inputs[:1]
                later = split if split.number > other.number else other
                if again and index != other_index and later.number not in told:
                    told.add(later.number)
                    if later.place is not None and not _seeded(later):
                        tell(block, "split_again", later.place)


def _parts_of(m: Machine, loader: Object) -> Iterator[tuple[Node, object]]:
    data = _part(m, loader, "dataset")
    for one in options(data, 4) if data is not None else ():
        if isinstance(one, Node) and one.op == "item" and len(one.inputs) == 2:
            split, index = one.inputs
            if isinstance(split, Node) and split.op == "random_split" and isinstance(index, Const):
                yield split, index.value


def _seeded(split: Node) -> bool:
    return "generator" in split.keywords or len(split.inputs) > 2
