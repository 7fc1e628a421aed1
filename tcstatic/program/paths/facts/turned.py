"""Layers that take the first dimension for the places of a sequence, are given the examples of a
batch there, and whose output is read, or reduced, as if it came batch first.

Nothing in such a layer tells: (time, agents, features) and (time, 1, features) are read in the same
way, and rightly. What tells is what the layer is given: a batch of a shuffled loader, rows drawn by
chance, windows, or data of three dimensions with a label for each row. From there to the layer, and
from the layer to where it is read, only what leaves the first two dimensions alone may be done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tcstatic.program.paths import lookup
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.tree import Block, happenings
from tcstatic.program.paths.values import Class, Const, Listing, Node, Object, Phi, Place, Value
from tcstatic.program.paths.walking import inputs_of, upstream, walked
from tcstatic.program.source import syntax

# The position at which each layer takes batch_first.
_LAYERS: Final = {
    "RNN": 5,
    "LSTM": 4,
    "GRU": 4,
    "TransformerEncoderLayer": 6,
    "TransformerDecoderLayer": 6,
    "MultiheadAttention": 8,
}
_STACKS: Final = frozenset({"TransformerEncoder", "TransformerDecoder"})
_RECURRENT: Final = frozenset({"RNN", "LSTM", "GRU"})
_TUPLES: Final = _RECURRENT | {"MultiheadAttention"}
_REDUCES: Final = frozenset("mean sum max amax min amin logsumexp any all".split())
# The last of the second dimension, whichever way it is written.
_LAST: Final = re.compile(r"\[:, (-1|\w+\.(size\(1\)|shape\[1\]) - 1)(, :|, \.\.\.)*\]$")
_COLUMN: Final = re.compile(r"\[:, (-?\d+)(, :)*\]$")
# Modules and operations that leave the first two dimensions where they are.
_MODULES: Final = frozenset(
    """Linear Embedding LayerNorm RMSNorm Dropout ReLU GELU SiLU ELU LeakyReLU Tanh Sigmoid Softplus
    Identity""".split()
)
_KEEPS: Final = frozenset(
    """+ - * / neg relu tanh sigmoid gelu silu elu leaky_relu dropout layer_norm float half double
    long int to type cuda cpu detach clone contiguous requires_grad_ exp log abs sqrt cat""".split()
)
# What puts another dimension first: where that is done on one way, a layer may be told by it.
_TURNS: Final = frozenset(
    """transpose permute t attr:T attr:mT movedim moveaxis swapaxes swapdims rearrange einsum
    unsqueeze squeeze view reshape""".split()
)
_WORDS: Final = "Embedding"  # adds a dimension behind the others
_CHANCE: Final = frozenset({"randperm", "randint", "permutation"})
_DRAWN: Final = frozenset({"randn", "rand", "randint", "zeros", "ones", "normal"})
# What goes along the first dimension of labels in its order: that is time.
_IN_ORDER: Final = frozenset("cumsum cumprod cummax cummin logcumsumexp roll flip diff".split())
# Attention that is meant to go over the examples of a batch, in words.
_OVER_ROWS: Final = re.compile(
    r"inter_?-?sample|non-?parametric_? ?transformer|\b(SAINT|NPT)\b"
    r"|(row|sample|batch|instance)_?att"
    r"|(across|between|over|among) (all )?(the )?(batch|rows|samples|examples|instances)\b",
    re.IGNORECASE,
)
# What turns a tensor where it stands: no value tells of that.
_IN_PLACE: Final = re.compile(
    r"\.(transpose_|t_|swapaxes_|swapdims_|squeeze_|unsqueeze_|resize_)\("
)


@surveys
def turned(m: Machine, block: Block) -> None:
    """``read_across`` of a recurrent layer whose last step is looked for in the second dimension,
    ``turned`` of any other that is read batch first."""
    every = happenings(block)
    told: set[int] = set()
    lost = [one.arguments[0] for one in every if one.kind == "loss.backward" and one.arguments]
    for value in walked(lost, lambda one: inputs_of(m, one)):
        if not isinstance(value, Node) or value.place is None:
            continue
        last = _written(value, _LAST)
        if not last and not _leaves_second(m, value):
            continue
        for call, layer in _layers_behind(m, value.inputs[:1]):
            if layer.number in told or not _is_misread(m, value, layer, last):
                continue
            if _is_batch(m, block, call) and not _IN_PLACE.search(value.place.module.text.text):
                told.add(layer.number)
                _tell(block, layer, value.place, across=last and _kind(layer) in _RECURRENT)


def _tell(block: Block, layer: Object, read: Place, *, across: bool) -> None:
    if layer.place is not None and across:
        trail: dict[str, Any] = {"#trail": [("read", read)]}
        tell(block, "read_across", layer.place, type=layer.type_name, **trail)
    elif layer.place is not None:
        tell(block, "turned", layer.place, name=layer.type_name, read=read.node.lineno)


def _is_misread(m: Machine, value: Node, layer: Object, last: bool) -> bool:
    """Whether it is not the examples that are wanted of this layer. Attention may be meant to go
    over these: beside a layer that is told batch_first it is."""
    if _kind(layer) in _RECURRENT:
        return last or value.op != "item"
    if value.place is not None and _OVER_ROWS.search(value.place.module.text.text):
        return False
    others = [one for one in m.objects.values() if _kind(one) in _LAYERS]
    return all(_is_false(one.keywords.get("batch_first")) for one in others)


def _is_false(first: Value | None) -> bool:
    return first is None or (isinstance(first, Const) and first.value is False)


def _written(value: Node, pattern: re.Pattern[str]) -> bool:
    node = value.place.node if value.place is not None else None
    subscript = value.op == "item" and isinstance(node, syntax.Subscript)
    return subscript and node is not None and pattern.search(syntax.unparse(node)) is not None


def _leaves_second(m: Machine, value: Node) -> bool:
    """Whether the second of three dimensions goes, and the first stays."""
    if value.op == "select":
        return len(value.inputs) > 1 and _number(value.inputs[1]) == 1
    if value.op in _REDUCES:
        return _dimensions(m, value) == [1]
    return _written(value, _COLUMN)


def _dimensions(m: Machine, value: Node) -> list[int | None]:
    """The dimensions that are reduced, as far as they are known."""
    given = value.keywords.get("dim") or value.keywords.get("axis")
    if given is None:
        given = value.inputs[1] if len(value.inputs) > 1 else None
    if isinstance(given, Listing):
        return [_number(one) for one in lookup.items(m, given)]
    return [_number(given)]


def _number(value: Value | None) -> int | None:
    return value.value if isinstance(value, Const) and type(value.value) is int else None


def _layers_behind(m: Machine, values: Iterable[Value]) -> Iterator[tuple[Node, Object]]:
    """The calls of layers with the sequence first that values are the output of, each with the
    layer that was made so."""
    seen = list(walked(values, lambda one: _onward(m, one)))
    if any(_is_turned(one) for one in seen):
        return
    for value in seen:
        if (call := _answered(value)) is not None:
            for layer in _of_call(m, call):
                if (made := _takes_sequence_first(m, layer)) is not None:
                    yield call, made


def _onward(m: Machine, value: Value) -> Iterable[Value]:
    """What has the same first two dimensions, one step nearer to the data; no further than the
    next layer."""
    call = _answered(value)
    return () if call is not None and _of_call(m, call) else _kept(m, value)


def _answered(value: Value) -> Node | None:
    """The call of a layer, if a value is the output that it gives."""
    if not isinstance(value, Node):
        return None
    if value.op == "item" and len(value.inputs) == 2 and _number(value.inputs[1]) == 0:
        call = value.inputs[0]
        plural = isinstance(call, Node) and isinstance(call.subject, Object)
        if isinstance(call, Node) and plural and _kind(call.subject) in _TUPLES:
            return call
        return None
    single = not isinstance(value.subject, Object) or _kind(value.subject) not in _TUPLES
    return value if value.op in ("forward", "call") and single else None


def _of_call(m: Machine, call: Node) -> list[Object]:
    """Which layers of torch a call may be of."""
    if call.op == "forward":
        return [call.subject] if isinstance(call.subject, Object) and _kind(call.subject) else []
    holder = call.inputs[0] if call.inputs else None
    listed = holder.inputs[0] if isinstance(holder, Node) and holder.op == "item" else None
    if not isinstance(listed, Object) or listed.type_name != "ModuleList":
        return []
    inner = [one for given in listed.arguments[:1] for one in _listed(m, given)]
    same = all(isinstance(one, Object) and _kind(one) not in ("", *_TUPLES) for one in inner)
    return [one for one in inner if isinstance(one, Object)] if same else []


def _listed(m: Machine, given: Value) -> list[Value]:
    return lookup.items(m, given) if isinstance(given, Listing) else []


def _kind(layer: Any) -> str:
    """Which of the layers that go over a sequence an object is; '' for all others."""
    library = isinstance(layer.type, str) and layer.type.startswith("torch.nn.")
    return layer.type_name if library and layer.type_name in {*_LAYERS, *_STACKS} else ""


def _takes_sequence_first(m: Machine, layer: Object) -> Object | None:
    """The layer itself, or what a stack of such layers is made of, if it takes the sequence
    first."""
    if _kind(layer) in _STACKS:
        inner = layer.arguments[0] if layer.arguments else layer.keywords.get("encoder_layer")
        known = isinstance(inner, Object) and _kind(inner) in _LAYERS
        return _takes_sequence_first(m, inner) if known and isinstance(inner, Object) else None
    made = layer.place.node if layer.place is not None else None
    if not isinstance(made, syntax.Call) or len(layer.arguments) > _LAYERS[_kind(layer)]:
        return None
    starred = any(isinstance(one, syntax.Starred) for one in made.args)
    told = starred or "**" in layer.keywords or m.attribute(layer, "batch_first") is not None
    return layer if _is_false(layer.keywords.get("batch_first")) and not told else None


def _kept(m: Machine, value: Value) -> list[Value]:
    """Of what a value was made that has its first two dimensions."""
    if isinstance(value, Phi):
        return list(value.options)
    if not isinstance(value, Node):
        return []
    if value.op == "forward" and isinstance(value.subject, Object):
        return _given(value, value.subject)
    if value.op == "item":
        return list(value.inputs[:1]) if _keeps_both(value) else []
    if value.op == "cat":
        along = value.keywords.get("dim") or (value.inputs[1] if len(value.inputs) > 1 else None)
        listed = _listed(m, value.inputs[0]) if value.inputs else []
        return listed if _number(along) in (1, 2, -1) else []
    return list(value.inputs) if value.op in _KEEPS or _adds_last(value) else []


def _given(call: Node, module: Object) -> list[Value]:
    """What a call of a module goes on from: what its own ``forward`` gave, or its input."""
    if isinstance(module.type, Class) or module.type_name == "Sequential":
        return list(call.inputs[:1])
    return list(call.inputs[1:2]) if module.type_name in _MODULES else []


def _keeps_both(value: Node) -> bool:
    """Whether a subscript takes rows and a stretch of each, and adds no dimension before them."""
    node = value.place.node if value.place is not None else None
    if not isinstance(node, syntax.Subscript):
        return False
    parts = node.slice.elts if isinstance(node.slice, syntax.Tuple) else [node.slice]
    return len(parts) > 1 and all(isinstance(one, syntax.Slice) for one in parts[:2])


def _is_batch(m: Machine, block: Block, call: Node) -> bool:
    """Whether what a layer is given is seen to have the examples of a batch first."""
    seen = list(walked(call.inputs[1:2], lambda one: _kept_or_layer(m, one)))
    if any(_is_turned(one) for one in seen):
        return False
    embedded = any(
        getattr(getattr(one, "subject", None), "type_name", "") == _WORDS for one in seen
    )
    return any(
        _comes_by_rows(m, one) or (_rank(one) == 3 - embedded and _has_labels_by_row(m, block, one))
        for one in seen
        if isinstance(one, Node)
    )


def _is_turned(value: Value) -> bool:
    return isinstance(value, Node) and value.op in _TURNS and not _adds_last(value)


def _adds_last(value: Node) -> bool:
    """Whether a dimension is added behind the others."""
    where = value.inputs[1:2] or (value.keywords.get("dim"),)
    return value.op == "unsqueeze" and _number(where[0]) in (-1, 2)


def _kept_or_layer(m: Machine, value: Value) -> list[Value]:
    """As `_kept`, and through layers that go over a sequence: they turn nothing."""
    call = _answered(value)
    layers = _of_call(m, call) if call is not None else []
    return list(call.inputs[1:2]) if call is not None and layers else _kept(m, value)


def _comes_by_rows(m: Machine, value: Node) -> bool:
    """Whether a value is a part of a batch of a shuffled loader, rows drawn by chance, or windows
    of a series."""
    if value.op == "unfold":
        return len(value.inputs) > 1 and _number(value.inputs[1]) == 0
    holder = value.inputs[0] if value.inputs else None
    if value.op == "split" and isinstance(holder, Node):
        return _comes_by_rows(m, holder)
    if value.op != "item":
        return False
    if len(value.inputs) == 2 and _is_drawn(m, value.inputs[1]):
        return True
    if isinstance(holder, Node) and len(value.inputs) == 1:  # an element of a loop
        return holder.op == "split" and _comes_by_rows(m, holder)
    if isinstance(holder, Node) and holder.op == "item" and isinstance(value.inputs[1], Const):
        holder = holder.inputs[0] if len(holder.inputs) == 1 else None  # one of what a loader gives
    return isinstance(holder, Object) and _is_shuffled_loader(holder)


def _is_drawn(m: Machine, index: Value) -> bool:
    """Whether rows are drawn by chance: no order of time is left among them."""
    return any(isinstance(one, Node) and one.op in _CHANCE for one in _behind(m, index))


def _behind(m: Machine, value: Value) -> Iterator[Value]:
    return upstream(m, value, lambda _: True)


def _is_shuffled_loader(loader: Object) -> bool:
    """Whether a loader puts examples that are in no order together, in the way that it does by
    itself."""
    if loader.type not in ("torch.utils.data.DataLoader", "torch.utils.data.dataloader.DataLoader"):
        return False
    own = {"collate_fn", "batch_sampler", "sampler", "**"} & set(loader.keywords)
    shuffle = loader.keywords.get("shuffle", *loader.arguments[2:3] or [None])
    size = loader.keywords.get("batch_size", *loader.arguments[1:2] or [None])
    if own or len(loader.arguments) > 3 or size is None:
        return False
    whole = not isinstance(size, Const) or (isinstance(size.value, int) and size.value > 1)
    return whole and isinstance(shuffle, Const) and shuffle.value is True


def _rank(value: Node) -> int:
    """How many dimensions a tensor is made with, if there is more than one of each of the first
    two."""
    if value.op not in _DRAWN:
        return 0
    sizes = [one for one in value.inputs if not isinstance(one, Listing)]
    if value.op == "randint":
        listed = [one for one in value.inputs if isinstance(one, Listing)]
        return 2 if listed and len(listed[0].attributes) == 2 else 0
    known = [_number(one) for one in sizes]
    return len(known) if len(known) > 1 and all(n is not None and n > 1 for n in known[:2]) else 0


def _has_labels_by_row(m: Machine, block: Block, data: Node) -> bool:
    """Whether each row of the data has a label of its own, made of all of the row, and no order of
    rows matters to it."""
    found = False
    for one in happenings(block):
        if one.kind != "loss.forward" or len(one.arguments) < 2:
            continue
        made = [part for part in _behind(m, one.arguments[1]) if isinstance(part, Node)]
        if data not in made:
            continue
        if any(part.op in _IN_ORDER for part in made):
            return False
        for part in made:
            if part.op in _REDUCES and part.inputs and data in _behind(m, part.inputs[0]):
                dimensions = _dimensions(m, part)
                found = found or (1 in dimensions and 0 not in dimensions)
    return found
