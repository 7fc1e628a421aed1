"""Affine layers one directly behind the other, which are no more than one of them.

What is looked at is the text of a module: layers that stand side by side in ``nn.Sequential``, and
attributes of a class of which one is called with what another gives, and nothing else is. How wide
they are is what the program makes them with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, final

from tcstatic.program.paths import wording
from tcstatic.program.paths.facts.chains import chained
from tcstatic.program.paths.facts.orders import tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module, definitions_around, statements_in
from tcstatic.program.paths.tree import Block
from tcstatic.program.paths.values import Const, Object, Place, Value, same
from tcstatic.program.source import syntax

_AFFINE: Final = {"Linear": 2, "Conv1d": 3, "Conv2d": 3, "Conv3d": 3}
_BETWEEN: Final = re.compile(r"^(Identity|(Alpha|FeatureAlpha)?Dropout[123]?d?)$")
_WORTH: Final = re.compile(r"\b(Linear|Conv[123]d)\(")
# Where modules are taken apart, or looked into, the value between two layers is of use.
_TAKEN_APART: Final = re.compile(
    r"register_forward_(pre_)?hook|\b(named_)?children\(|create_feature_extractor"
)
# Names of what is affine on purpose, or is a factor of something.
_MEANT: Final = re.compile(
    r"linear|affine|lora|low_?rank|(^|_)rank|factor|svd|pca|adapter|bottleneck|word_?2_?vec|gram"
    r"|cbow|glove|matrix|auto_?enc|probe|collaps|identity|toy|dummy|repar|^deep$|overparam"
    r"|random_feat|rotation",
    re.IGNORECASE,
)
_OTHER_USE: Final = re.compile(
    r"proj|embed|emb(_|$)|latent|code|down|up(_|$)|reduc|squeeze|expand|compress|shared|tied"
    r"|pretrain|(^|[_.])pre(_|$)|lora|rank|factor|mu$|mean|std|var",
    re.IGNORECASE,
)
_SAID: Final = re.compile(
    r"no (act|non)|without|deliberate|intention|purpose|rank|factor|(stay|still|purely|be) linear",
    re.IGNORECASE,
)
# Methods of a sequence that take, or put in, a part of it; and functions that go over all parts.
_PICKS: Final = r"(insert|append|extend|add_module|get_submodule|pop|__getitem__|modules|_modules)"
_GOES_OVER: Final = frozenset("enumerate zip reversed list tuple iter reduce ModuleList".split())
_INITIALISES: Final = re.compile(r"\binit\b|init_|_init|\.(normal|uniform|zero|fill|copy)_$")


@final
class Pair:
    """Two layers, as they are made; `where` what is to be mended, in `function`."""

    def __init__(self, made: tuple[syntax.Call, syntax.Call], where: syntax.expr, function: str):
        self.made = made
        self.where = where
        self.function = function


@surveys
def stacked(m: Machine, block: Block) -> None:
    """``stacked`` of the second of two affine layers with nothing but dropout between them."""
    for module, pair in wording.found(block, _WORTH, _in_module):
        if _is_wide(m, pair):
            first, second = (syntax.unparse(one) for one in pair.made)
            place = Place(module, pair.where, pair.function)
            tell(block, "stacked", place, name=second, other=first)


def _in_module(module: Module) -> Iterator[Pair]:
    if _TAKEN_APART.search(module.text.text):
        return
    for node in syntax.walk(module.tree):
        if isinstance(node, syntax.Call) and wording.called(node) == "Sequential":
            yield from _in_sequence(module, node)
    uses = _Uses(module)
    for statement in statements_in(module.tree):
        if isinstance(statement, syntax.ClassDef) and not _MEANT.search(statement.name):
            yield from _in_class(module, statement, uses)


def _in_sequence(module: Module, call: syntax.Call) -> Iterator[Pair]:
    """Neighbours among the layers that ``nn.Sequential`` is called with."""
    last: syntax.Call | None = None
    found: list[tuple[syntax.Call, syntax.Call]] = []
    for one in _stages(call):
        if _BETWEEN.match(wording.called(one)):
            continue
        now = one if isinstance(one, syntax.Call) and _is_affine(module, one) else None
        both = (last, now) if now is not None and last is not None else None
        if both is not None and _alike(*both) and not _is_said(module, both):
            found.append(both)
        last = now
    if found:
        around = [one.name for one in definitions_around(module.tree, call.lineno)]
        bound = _bound_to(module, call)
        if not any(map(_MEANT.search, (*around, *bound))) and not _is_cut(module, bound):
            yield from (Pair(both, both[1], ".".join(around[-2:])) for both in found)


def _bound_to(module: Module, call: syntax.Call) -> list[str]:
    """The names that what a call makes, or is a part of, is bound to."""
    return [
        name
        for statement in statements_in(module.tree)
        if statement.lineno <= call.lineno <= (statement.end_lineno or statement.lineno)
        for name, value in wording.pairs(statement)
        if any(part is call for part in syntax.walk(value))
    ]


def _stages(call: syntax.Call) -> Sequence[Any]:
    first: Any = call.args[0] if len(call.args) == 1 else None
    if wording.called(first) == "OrderedDict" and isinstance(first, syntax.Call) and first.args:
        return [getattr(one, "elts", [None])[-1] for one in getattr(first.args[0], "elts", ())]
    return call.args


def _is_cut(module: Module, names: list[str]) -> bool:
    """Whether parts of what has a name are taken, for more than to look at their weights; or
    something is put between them."""
    lasts = {name.rpartition(".")[2] for name in names}
    last = "|".join(sorted(map(re.escape, lasts))) or "$"
    taken = rf"\b({last})(\[[^\]]*\](?!\.(weight|bias)(?!\w|\s*=[^=]))|\.{_PICKS}\()"
    if re.search(taken, module.text.text):
        return True
    for one in syntax.walk(module.tree):
        if isinstance(one, syntax.For | syntax.comprehension):
            given: list[Any] = [one.iter]
        elif isinstance(one, syntax.Assign) and isinstance(one.targets[0], syntax.Tuple):
            given = [one.value] if not isinstance(one.value, syntax.Tuple | syntax.Call) else []
        elif isinstance(one, syntax.Starred):
            given = [one.value]
        elif wording.called(one) in _GOES_OVER and isinstance(one, syntax.Call):
            given = [*one.args]
        else:
            continue
        if any(_is_itself(value, lasts) for value in given):
            return True
    return False


def _is_itself(value: syntax.expr, lasts: set[str]) -> bool:
    """Whether something of these names is gone over, not what one of its methods gives."""
    held = {id(one.value) for one in syntax.walk(value) if isinstance(one, syntax.Attribute)}
    return any(
        str(getattr(one, "attr", None) or getattr(one, "id", "")) in lasts
        for one in syntax.walk(value)
        if isinstance(one, syntax.Name | syntax.Attribute) and id(one) not in held
    )


def _in_class(module: Module, owner: syntax.ClassDef, uses: _Uses) -> Iterator[Pair]:
    """Layers that are attributes of a class, and of which one is given what another gives."""
    methods = [one for one in owner.body if isinstance(one, syntax.FunctionDef)]
    made, between = _layers(module, methods)
    for method in methods if len(made) > 1 else ():
        if _MEANT.search(method.name):
            continue
        for first, second in chained(method, made.keys(), between):
            names = (wording.name(first.func), wording.name(second.func))
            calls = (made[names[0]], made[names[1]])
            if first is second or not _alike(*calls) or _is_said(module, (*calls, second)):
                continue
            if not uses.besides(owner, (first, second)):
                yield Pair(calls, second, f"{owner.name}.{method.name}")


def _layers(
    module: Module, methods: Iterable[syntax.FunctionDef]
) -> tuple[dict[str, syntax.Call], set[str]]:
    """The attributes that are made affine layers, once and for all, and those that are dropout."""
    made: dict[str, syntax.Call] = {}
    between: set[str] = set()
    counts: dict[str, int] = {}
    for statement in (one for method in methods for one in wording.own(method.body)):
        for name in wording.bound(statement):
            counts[name] = counts.get(name, 0) + 1
        for name, value in wording.pairs(statement):
            if _BETWEEN.match(wording.called(value)):
                between.add(name)
            elif isinstance(value, syntax.Call) and _is_affine(module, value):
                made[name] = value
    own = {name for name in made if name.startswith("self.") and not _OTHER_USE.search(name)}
    return {name: made[name] for name in made if name in own and counts[name] == 1}, between


def _is_affine(module: Module, call: syntax.Call) -> bool:
    """Whether a call makes one of torch's layers that looks at one place at a time."""
    kind = wording.called(call)
    if kind not in _AFFINE or any(isinstance(one, syntax.Starred) for one in call.args):
        return False
    holder = wording.name(getattr(call.func, "value", None))
    imported = rf"from torch\.nn(\.modules\.\w+)? import [^#\n]*\b{kind}\b"
    if holder not in ("nn", "torch.nn") and not re.search(imported, module.text.text):
        return False
    if kind == "Linear":
        return True
    size: Any = next((one.value for one in call.keywords if one.arg == "kernel_size"), None)
    size = call.args[2] if len(call.args) > 2 else size
    plain = len(call.args) <= 3 and not {one.arg for one in call.keywords} - {
        "in_channels",
        "out_channels",
        "kernel_size",
        "bias",
    }
    return plain and getattr(size, "value", None) == 1


def _alike(first: syntax.Call, second: syntax.Call) -> bool:
    return wording.called(first) == wording.called(second)


def _is_said(module: Module, nodes: Iterable[syntax.expr]) -> bool:
    """Whether a comment beside the layers says that they are meant so."""
    lines = {line for one in nodes for line in (one.lineno - 1, one.lineno)}
    return any(_SAID.search(module.text.lines[line - 1].partition("#")[2]) for line in lines)


@final
class _Uses:
    """Where attributes are read in a module, but for what initialises them."""

    def __init__(self, module: Module) -> None:
        self._read: dict[str, list[syntax.Attribute]] = {}
        fine: set[int] = set()
        for one in syntax.walk(module.tree):
            if isinstance(one, syntax.Call) and _INITIALISES.search(_end(one.func)):
                fine |= {id(part) for part in syntax.walk(one)}
            elif isinstance(one, syntax.Attribute) and id(one) not in fine:
                self._read.setdefault(one.attr, []).append(one)

    def besides(self, owner: syntax.ClassDef, calls: tuple[syntax.Call, syntax.Call]) -> bool:
        """Whether attributes of a class are used for more than to be called in these places."""
        mine = range(owner.lineno, (owner.end_lineno or owner.lineno) + 1)
        functions = [call.func for call in calls]
        return any(
            one not in functions and (one.lineno in mine or wording.name(one.value) != "self")
            for function in functions
            for one in self._read.get(wording.name(function).rpartition(".")[2], ())
            if isinstance(one.ctx, syntax.Load)
        )


def _end(function: syntax.expr) -> str:
    """The last two parts of the name of what is called."""
    held = getattr(function, "value", None)
    last = str(getattr(function, "attr", None) or getattr(function, "id", ""))
    return f"{getattr(held, 'attr', None) or getattr(held, 'id', '')}.{last}"


def _is_wide(m: Machine, pair: Pair) -> bool:
    """Whether the width between two layers is known to be no less than that of one side."""
    found = [
        [one for one in m.objects.values() if one.place is not None and one.place.node is call]
        for call in pair.made
    ]
    if not found[0] or len(found[0]) != len(found[1]):
        return False
    return all(_spans(*both) for both in zip(*found, strict=True))


def _spans(first: Object, second: Object) -> bool:
    before, between = _sizes(first)
    into, behind = _sizes(second)
    if between is None or into is None:
        return False
    return any(side is not None and _reaches(between, side) for side in (before, behind))


def _reaches(width: Value, side: Value) -> bool:
    if same(width, side):
        return True
    numbers = [one.value if isinstance(one, Const) else None for one in (width, side)]
    known = [one for one in numbers if type(one) is int]
    return len(known) == 2 and known[0] >= known[1]


def _sizes(layer: Object) -> tuple[Value | None, Value | None]:
    """The widths of what a layer is given, and of what it gives."""
    words = ("in_features", "out_features")
    if layer.type_name != "Linear":
        words = ("in_channels", "out_channels")
    given: list[Value | None] = [*layer.arguments[:2]]
    given += [layer.keywords.get(word) for word in words[len(given) :]]
    return given[0], given[1]
