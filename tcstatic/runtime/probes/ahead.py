"""Attention over the places of a sequence, and whether each place takes something of later ones.

Read from what the graph of a loss has saved: the weights that a softmax gave, or the mask that
torch's own attention was given. Both what asks and what answers must be made of the embedded
tokens, one row for each place: attention over a source, heads or channels is none of these.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from tcstatic.model import Location
from tcstatic.runtime.probes.attending import over, shape_of
from tcstatic.runtime.probes.copied import Copied, saved
from tcstatic.runtime.probes.nodes import NOTE, kind_of, signed

_MOST_NODES: Final = 4_000
_MOST_STEPS: Final = 24  # operations between scores, weights and what they weigh
_MOST_WEIGHTS: Final = 1 << 20  # that are read of one attention
_MOST_ATTENTIONS: Final = 8
_HIDDEN: Final = -1e4  # what is added to a score to hide it is less than this
_NOTHING: Final = 1e-6  # of the largest weight of a row
_LEAST: Final = 3  # places that tell
_NEARLY: Final = 0.9  # of them
_HEADS: Final = 0.25  # of all heads and examples
_AFTER: Final = (1, 2, -1)  # how far from each place it is read what it takes
_MASKS: Final = ("attn_mask", "attn_bias")
_PRODUCTS: Final = frozenset({"Bmm", "Baddbmm"})
_VIEWS: Final = frozenset(
    """View UnsafeView ReshapeAlias Clone ToCopy Alias Expand Permute Transpose Unsqueeze
    Squeeze""".split()
)
# Between scores and the softmax, and between that and the product with values, but a mask.
_BELOW: Final = _VIEWS | set("Add Sub Mul Div MaskedFill Where Tanh".split())
_ABOVE: Final = _VIEWS | set("NativeDropout Mul Div NanToNum".split())
# What makes one of all places, which may know them all.
_POOLS: Final = frozenset("Mean Sum Max Amax Gather".split())


@final
@dataclass(frozen=True, slots=True)
class Ahead:
    """What one attention over the places of a sequence takes: by head and example, for each place,
    whether it tells, and whether it sees the next, the one after that and the one before."""

    where: Location | None
    seen: Copied

    @property
    def length(self) -> int:
        """How many places there are."""
        return int(self.seen.host.shape[-1])

    def how(self, places: Sequence[int]) -> str | None:
        """Return how these places see the next, None where they do not."""
        torch: Any = sys.modules["torch"]
        seen = self.seen.host
        length = self.length
        index = torch.tensor([one for one in places if one < length - 1], dtype=torch.long)
        if len(index) < _LEAST:
            return None
        heads = (_share(seen, 1, index) >= _NEARLY) & (seen[0][:, index].sum(1) >= _LEAST)
        if not bool(heads.any()) or float(heads.float().mean()) < _HEADS:
            return None
        shown = seen[:, heads]
        if not bool((_share(shown, 3, index[index > 0]) > 1 - _NEARLY).any()):
            return "inverted"
        later = index[index < length - 2]
        late = len(later) >= _LEAST and float(_share(shown, 2, later).max()) < 1 - _NEARLY
        return "late" if late else "open"


def _share(seen: Any, turn: int, index: Any) -> Any:
    """The share of the places that tell, by head and example, which see what is asked for."""
    rows = seen[0][:, index]
    return (seen[turn][:, index] & rows).sum(1) / rows.sum(1).clamp(min=1)


def ahead_of(
    above: Mapping[Any, list[Any]], loss: Any, embedding: Any, shape: tuple[int, int]
) -> Iterator[Ahead]:
    """What attentions that a loss is made of take of the tokens, of (rows, places), that an
    embedding was given; none of those that never take a later one by what they were asked. `above`
    are the nodes that were made of each."""
    made = _made_of(embedding, above)
    left = _MOST_ATTENTIONS
    for node in _scored_by(loss):
        if not left:
            return
        if node not in made or not _is_over(node, made, shape):
            continue
        seen = _seen(node, above, shape[1])
        if seen is not None:
            left -= 1
            yield Ahead(node.metadata.get(NOTE), Copied(seen))


def _made_of(embedding: Any, above: Mapping[Any, list[Any]]) -> set[Any]:
    """All that was computed from an embedding."""
    found, waiting = {embedding}, [embedding]
    while waiting:
        for one in above.get(waiting.pop(), ()):
            if one not in found:
                found.add(one)
                waiting.append(one)
    return found


def _scored_by(loss: Any) -> Iterator[Any]:
    """Yield what a loss was made of place by place."""
    waiting, seen = [loss], {loss}
    while waiting and len(seen) < _MOST_NODES:
        node = waiting.pop()
        yield node
        if _pools(node):
            continue
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                waiting.append(child)


def _pools(node: Any) -> bool:
    """Whether a node makes one of several, which may be places."""
    if kind_of(node) == "Select":
        return int(node._saved_self_sym_sizes[signed(node._saved_dim)]) > 1
    return kind_of(node) in _POOLS


def _is_over(node: Any, made: set[Any], shape: tuple[int, int]) -> bool:
    """Whether a node is attention of places to places of the same sequence."""
    rows, length = shape
    kind = kind_of(node)
    if kind.startswith("ScaledDotProduct"):
        query, key = saved(node, "query"), saved(node, "key")
        if query is None or key is None or not query.dim() == key.dim() == 4:
            return False
        sides = [one for one, _ in node.next_functions[:2]]
        alike = query.shape[0] == rows and query.shape[-2] == key.shape[-2] == length
        return alike and all([side in made for side in sides])
    if kind not in ("Softmax", "SafeSoftmax"):
        return False
    size = shape_of(node)
    if len(size) < 3 or size[-2:] != (length, length) or over(node) != len(size) - 1:
        return False
    lead = 1
    for one in size[:-2]:
        lead *= one
    # One table for each place is attention over heads, of which there are as many.
    if lead % rows or not lead % (rows * length):
        return False
    return any([_is_product(one, made, length) for one in _scores(node)])


def _scores(softmax: Any) -> Iterator[Any]:
    """Yield the products that the scores under a softmax are made of."""
    waiting = [one for one, _ in softmax.next_functions]
    for _ in range(_MOST_STEPS):
        node = waiting.pop(0) if waiting else None
        if node is not None and kind_of(node) in _PRODUCTS:
            yield node
        elif node is not None and kind_of(node) in _BELOW:
            waiting += [one for one, _ in node.next_functions]


def _is_product(node: Any, made: set[Any], length: int) -> bool:
    """Whether both factors were computed from the tokens, and make a score of each two places."""
    sides = [one for one, _ in node.next_functions[-2:]]
    return shape_of(node)[-2:] == (length, length) and all([side in made for side in sides])


def _seen(node: Any, above: Mapping[Any, list[Any]], length: int) -> Any:
    """The table of an attention (see `Ahead`), None where it is causal, or nothing tells."""
    if kind_of(node).startswith("ScaledDotProduct"):
        return _unmasked(node, length)
    given, shown = saved(node, "result"), _weighed(node, above, length)
    weights = None if given is None else _first(given, length)
    if weights is None or shown is None:
        return None
    most = weights.amax(-1)
    # A row that is hidden as a whole is even, to the last bit.
    table = _table(weights > _NOTHING * most[..., None], most > weights.amin(-1))
    for factor in shown:
        table[1] &= factor.to(table.device)
    return table


def _unmasked(node: Any, length: int) -> Any:
    """As `_seen`, of torch's own attention."""
    torch: Any = sys.modules["torch"]
    if getattr(node, "_saved_is_causal", None) is not False:
        return None
    if all([getattr(node, f"_saved_{one}", None) is None for one in _MASKS]):
        return torch.ones(len(_AFTER) + 1, 1, length, dtype=torch.bool)
    mask = next((one for one in (saved(node, name) for name in _MASKS) if one is not None), None)
    if mask is None or mask.dim() < 2:
        return None
    if mask.shape[-1] != length or mask.shape[-2] not in (1, length):
        return None
    mask = _first(mask.expand(*mask.shape[:-2], length, length), length)
    if mask is None:
        return None
    kept = mask if mask.dtype == torch.bool else mask > _HIDDEN
    return _table(kept, kept.any(-1))


def _first(given: Any, length: int) -> Any:
    """The tables of the first heads and examples, None where one is too large."""
    left = _MOST_WEIGHTS // length**2
    if not left:
        return None
    given = given.detach()
    for dimension, size in enumerate(given.shape[:-2]):  # one after the other: it may be expanded
        taken = min(size, max(left, 1))
        given = given.narrow(dimension, 0, taken)
        left //= taken
    return given.reshape(-1, length, length)


def _table(kept: Any, tells: Any) -> Any:
    torch: Any = sys.modules["torch"]
    place = torch.arange(kept.shape[-1], device=kept.device)
    last = kept.shape[-1] - 1
    found = [kept[:, place, (place + one).clamp(0, last)] for one in _AFTER]
    return torch.stack([tells, *found])


def _weighed(softmax: Any, above: Mapping[Any, list[Any]], length: int) -> list[Any] | None:
    """Whether weights, as they are but for dropout, are multiplied by values: what each factor on
    the way leaves of the next places; None where they are not."""
    waiting: list[tuple[Any, Any, list[Any]]] = [
        (one, softmax, []) for one in above.get(softmax, ())
    ]
    for _ in range(_MOST_STEPS):
        if not waiting:
            return None
        node, child, factors = waiting.pop(0)
        kind = kind_of(node)
        if kind in _PRODUCTS:
            if node.next_functions[-2][0] is child:
                return factors
            continue
        if kind == "Mul":
            factor = _factor(node, child, length)
            if factor is None:
                continue
            factors = [*factors, factor]
        if kind in _ABOVE:
            waiting += [(one, node, factors) for one in above.get(node, ())]
    return None


def _factor(node: Any, child: Any, length: int) -> Any:
    """Whether a factor of weights leaves anything of the places after each, None where it is not
    known: dropout leaves most of it, a mask nothing."""
    other = saved(node, "other" if node.next_functions[0][0] is child else "self")
    if other is None or not other.dim():
        return None
    if other.shape[-2:] != (length, length):
        return None
    return other.detach().diagonal(1, -2, -1).ne(0).any()
