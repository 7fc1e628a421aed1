"""Sequences of tokens, as the graph of a loss holds them: inputs, targets, what attention saw.

A loss over classes keeps its targets for the backward, an embedding the tokens that it was given,
and attention what it took of them. What a hook of the program has stored elsewhere is not read, and
no device is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.ahead import Ahead, ahead_of
from tcstatic.runtime.probes.copied import Copied, saved
from tcstatic.runtime.probes.nodes import NOTE, kind_of, signed, walk

_MOST_NODES: Final = 4_000
_MOST_ROWS: Final = 64  # of a batch: they show what the others would
_MOST_TOKENS: Final = 1 << 20
_MOST_WEIGHTS: Final = 1 << 22  # of one attention
_MOST_ATTENTIONS: Final = 2
_MOST_PAIRS: Final = 3  # losses whose targets may belong to the same inputs
_LEAST_LENGTH: Final = 4  # of a sequence
_CHAIN: Final = 24  # operations between a loss and the layer that scores
_ABOVE: Final = 4  # operations on what an embedding gives, which may move it by a place
_CLASSES: Final = frozenset({"NllLoss", "NllLoss2D"})
_KEEPS: Final = frozenset(
    """LogSoftmax View UnsafeView ReshapeAlias Clone ToCopy Alias Transpose T Permute Squeeze
    Unsqueeze""".split()
)
_MOVES: Final = frozenset("Cat Slice Roll ConstantPadNd Narrow Index IndexSelect Flip".split())
_BELOW: Final = 200  # nodes below a loss among which a recurrent layer is looked for
# What takes one place of several, or makes several of one.
_SINGLE: Final = frozenset(
    "Select Expand Repeat Index IndexSelect Gather Unbind Max Mean Sum".split()
)
_HIDDEN: Final = -1e4  # what is added to a score to hide it is less than this


@final
@dataclass(frozen=True, slots=True)
class Targets:
    """What a loss over classes was given: `count` labels in all, of which `ignored` ones do not
    count and which are `weighted` or not; `reduced` to one number or not. `start` is the first
    place of the sequence that is scored, of `length` (0: as many as are scored), None where that is
    not known."""

    where: Location | None
    labels: Copied
    count: int
    ignored: int
    weighted: bool
    reduced: bool
    start: int | None
    length: int


@final
@dataclass(frozen=True, slots=True)
class Inputs:
    """The tokens that an embedding was given, of which `padding` is left out (-1: none is);
    `moved` tells that what it gave may have been moved by a place."""

    ids: Copied
    padding: int
    moved: bool


@final
@dataclass(frozen=True, slots=True)
class Attended:
    """Which keys some query took something of, by example, and whether none took a later one."""

    keys: Copied
    causal: Copied


@final
@dataclass(frozen=True, slots=True)
class Batch:
    """All of one loss that concerns tokens; `ahead` what attentions over the places of inputs take
    on the way to targets (by their turns among `inputs` and `targets`); `causal` tells that
    attention was asked to be so, `recurs` that what is scored was made of all places of a recurrent
    layer."""

    targets: tuple[Targets, ...]
    inputs: tuple[Inputs, ...]
    attended: tuple[Attended, ...]
    ahead: tuple[tuple[int, int, Ahead], ...]
    causal: bool
    recurs: bool

    def is_there(self) -> bool:
        """Whether all of it has arrived."""
        parts = [one.labels for one in self.targets] + [one.ids for one in self.inputs]
        parts += [part for one in self.attended for part in (one.keys, one.causal)]
        parts += [one.seen for _, _, one in self.ahead]
        return all([part.is_there() for part in parts])


def batch_of(root: Any) -> Batch | None:
    """Return what the graph of a loss holds of tokens, None where that is nothing."""
    nodes = list(walk(root, _MOST_NODES))
    losses = [node for node in nodes if kind_of(node) in _CLASSES]
    found = [node for node in nodes if kind_of(node) == "Embedding"]
    above = _above(nodes) if found and losses else {}
    given = list(_inputs(found, above))
    wanted = [(node, one) for node in losses for one in _targets(node)]
    inputs, targets = tuple(one for _, one in given), tuple(one for _, one in wanted)
    if not targets or not inputs:
        return None
    shapes = {(one.ids.host.shape[0], one.ids.host.shape[1]) for one in inputs}
    shapes |= {(length, rows) for rows, length in shapes}
    attended = list(_attended(nodes, shapes))
    causal = any([getattr(node, "_saved_is_causal", False) is True for node in nodes])
    lengths = {size for shape in shapes for size in shape}
    recurs = all(_recurs(node, lengths) for node in losses)
    ahead = tuple(_ahead(above, given, wanted))
    return Batch(targets, inputs, tuple(attended), ahead, causal, recurs)


def _above(nodes: Iterable[Any]) -> dict[Any, list[Any]]:
    """The nodes that were made of each."""
    above: dict[Any, list[Any]] = {}
    for node in nodes:
        for child, _ in node.next_functions:
            above.setdefault(child, []).append(node)
    return above


def _ahead(
    above: Mapping[Any, list[Any]],
    given: Sequence[tuple[Any, Inputs]],
    wanted: Sequence[tuple[Any, Targets]],
) -> Iterator[tuple[int, int, Ahead]]:
    for turn, (embedding, inputs) in enumerate(given):
        rows, places = inputs.ids.host.shape
        fitting = [
            (number, loss)
            for number, (loss, one) in enumerate(wanted)
            if one.start is not None and rows < one.count <= rows * places
        ]
        for number, loss in () if inputs.moved else fitting[:_MOST_PAIRS]:
            for shape in sorted({(rows, places), (places, rows)}):
                for found in ahead_of(above, loss, embedding, shape):
                    yield turn, number, found


def _inputs(found: Sequence[Any], above: Mapping[Any, list[Any]]) -> Iterator[tuple[Any, Inputs]]:
    for node in found:
        ids = saved(node, "indices")
        if ids is None or ids.dim() != 2 or ids.numel() > _MOST_TOKENS or min(ids.shape) < 1:
            continue
        if max(ids.shape) < _LEAST_LENGTH:
            continue
        padding = getattr(node, "_saved_padding_idx", -1)
        padding = padding if type(padding) is int and 0 <= padding < 1 << 63 else -1
        yield node, Inputs(Copied(ids), padding, _may_move(node, above))


def _may_move(node: Any, above: Mapping[Any, list[Any]]) -> bool:
    """Whether what an embedding gives is cut, joined or turned before a layer takes it."""
    level = [node]
    for _ in range(_ABOVE):
        level = [parent for one in level for parent in above.get(one, ())][:_MOST_ROWS]
        if any(kind_of(one) in _MOVES for one in level):
            return True
    return False


def _targets(node: Any) -> Iterator[Targets]:
    labels, ignored = saved(node, "target"), getattr(node, "_saved_ignore_index", None)
    if labels is None or not isinstance(ignored, int) or labels.numel() > _MOST_TOKENS:
        return
    ignored = signed(ignored)
    start, length = _scored(node)
    yield Targets(
        node.metadata.get(NOTE),
        Copied(labels),
        labels.numel(),
        ignored,
        getattr(node, "_raw_saved_weight", None) is not None and node._saved_weight is not None,
        getattr(node, "_saved_reduction", 1) != 0,
        start,
        length,
    )


def _scored(loss: Any) -> tuple[int | None, int]:
    """The first place of a sequence that a loss scores, and how many there were before any was cut
    off, 0 where none was."""
    node, start, length = loss, 0, 0
    for _ in range(_CHAIN):
        node = node.next_functions[0][0] if node.next_functions else None
        if node is None or kind_of(node) in _MOVES - {"Slice"}:
            break
        if kind_of(node) == "Slice":
            length = int(node._saved_self_sym_sizes[signed(node._saved_dim)])
            first = signed(node._saved_start)
            start += first + length if first < 0 else first
            if node._saved_step != 1:
                break
        elif kind_of(node) not in _KEEPS:
            return start, length
    return None, 0


def _recurs(loss: Any, lengths: set[int]) -> bool:
    """Whether each place that is scored was made of a place of its own of a recurrent layer."""
    waiting, seen = [(loss, 0)], set[Any]()
    while waiting and len(seen) < _BELOW:
        node, turn = waiting.pop(0)
        kind = kind_of(node)
        if ("Rnn" in kind and turn == 0) or (
            kind == "Stack" and len(node.next_functions) in lengths
        ):
            return True
        if node in seen or kind in _SINGLE or "Rnn" in kind:
            continue
        seen.add(node)
        waiting.extend(edge for edge in node.next_functions if edge[0] is not None)
    return False


def _attended(nodes: Iterable[Any], shapes: set[tuple[int, int]]) -> Iterator[Attended]:
    """What attentions took of sequences of these numbers of rows and lengths."""
    left = _MOST_ATTENTIONS
    for node in nodes:
        if not left:
            return
        given, least = _weights(node)
        if given is None or given.dim() < 2 or given.numel() > _MOST_WEIGHTS:
            continue
        length = given.shape[-1]
        fitting = [rows for rows, long in shapes if long == length > 1]
        fitting = [rows for rows in fitting if given.shape[0] % rows == 0]
        if fitting:  # positions are embedded once for all examples
            left -= 1
            given = given.detach()
            kept = given > least if given.is_floating_point() else given
            yield _attention(kept, max(fitting), length)


def _weights(node: Any) -> tuple[Any, float]:
    """Return a table that tells what an attention took, and how much more than nothing that is;
    None of any other node."""
    kind = kind_of(node)
    if kind == "Softmax" or kind == "SafeSoftmax":
        return saved(node, "result"), 0.0
    if kind.startswith("ScaledDotProduct"):
        given = saved(node, "attn_mask")
        return saved(node, "attn_bias") if given is None else given, _HIDDEN
    return None, 0.0


def _attention(kept: Any, rows: int, length: int) -> Attended:
    square = kept.shape[-2] == length
    later = kept.triu(1).any() if square else kept.any()
    return Attended(Copied(kept.reshape(rows, -1, length).any(1)), Copied(~later))
