"""Lines of the user's own functions that say something, found by their text."""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import CodeType
from typing import Final

from tcstatic.model import Location
from tcstatic.runtime.probes.locate import Locator

# ``[:, 1:]``, ``[2:]``, ``[i + 1 : i + n + 1]``
_SHIFT: Final = re.compile(
    r"\[(?:[^\[\]]*,)?\s*(?:[12]|[^\[\]:,]*\+\s*[12])\s*:(?!\s*[12]\s*\])[^\[\]]*\]"
)
_TWICE: Final = re.compile(r"(?<![\w.\])])([\w.]+\[[^\[\]]*\])(?:\.\w+\(\))?\s*,\s*\1(?![\w\[])")
_PART: Final = re.compile(r"\s*(\w+)\s*=\s*([\w.]+\[[^\[\]]*\])")
_TARGET: Final = re.compile(r"label|target|tgt|\by\b|\by_|_y\b|next|truth", re.IGNORECASE)
_LOSS: Final = re.compile(r"\bCrossEntropyLoss\(|\bNLLLoss\(")
_TIMES: Final = re.compile(r"(?<!\*)\*(?!\*)|\bmul\(")
_NAME: Final = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_CTC: Final = re.compile(r"\bCTCLoss\(|\bctc_loss\(")
_MASK: Final = re.compile(r"\b(\w*key_padding_mask)\s*=\s*(?!None\b|=)([\w.]+)(.?)")
_OTHER_MASK: Final = re.compile(r"\bmasked_fill_?\(|\battn_mask\s*=\s*(?!None\b|=)")
_ORDER: Final = re.compile(r"\b(tril|triu)_?\(|\bgenerate_square_subsequent_mask\(")
_MASKING: Final = re.compile(r"\bmasked_fill_?\(|\b\w*mask\s*=\s*(?!None\b|=)")
_ATTENTION: Final = re.compile(r"\b(scaled_dot_product_attention|multi_head_attention_forward)\(")
_SOFTMAX: Final = re.compile(r"\bsoftmax\(")
_HOLDS: Final = re.compile(
    r"\bself\.(\w+)\s*=.*\b(MultiheadAttention|Transformer((En|De)coder)?(Layer)?)\("
)
_HOLDS_SOFTMAX: Final = re.compile(r"\bself\.(\w+)\s*=.*\bSoftmax\(")

# What a state begins with.
_STARTS: Final = re.compile(
    r"=\s*(None|0(\.0)?|\[\]|\(\)|deque\(.*|[\w.]*(zeros|init_?\w*)\(.*)\s*$"
)


def shift_lines(code: Iterable[CodeType], locator: Locator) -> Iterator[Location]:
    """Where something is shifted by a place or two; data before models, targets before others."""
    found = [(one, text) for one, text in _lines(code, locator) if _SHIFT.search(text)]
    order = sorted(found, key=lambda one: (_in_forward(one[0]), not _TARGET.search(one[1])))
    return (one for one, _ in order)


def twice_lines(code: Iterable[CodeType], locator: Locator) -> Iterator[Location]:
    """Where the same part of something is handed on twice, or bound to a second name as well."""
    lines = list(_lines(code, locator))
    yield from (one for one, text in lines if _TWICE.search(text))
    bound = [(one, found) for one, text in lines if (found := _PART.match(text))]
    for one, found in bound:
        same = [other for where, other in bound if where.function == one.function]
        if _TARGET.search(found[1]) and [other[2] for other in same].count(found[2]) == 2:
            yield one


def loss_lines(code: Iterable[CodeType], locator: Locator) -> Iterator[Location]:
    """Where a loss over classes is made, if that is in one place."""
    found = [one for one, text in _lines(code, locator) if _LOSS.search(text)]
    return iter(found if len(found) == 1 else ())


def ctc_lines(code: Iterable[CodeType], locator: Locator) -> Iterator[Location]:
    """Where a loss over alignments is made or computed, if that is in one place."""
    found = [one for one, text in _lines(code, locator) if _CTC.search(text)]
    return iter(found if len(found) == 1 else ())


def product_lines(
    code: CodeType,
    shapes: Mapping[str, tuple[int, ...]],
    both: Sequence[tuple[int, ...]],
    locator: Locator,
) -> Iterator[Location]:
    """Where a function multiplies what has these two shapes, by the names that it has for them."""
    for where, text in _lines([code], locator):
        value = text.partition("=")[2] or text
        found = {shapes.get(name) for name in _NAME.findall(value)}
        if _TIMES.search(value) and found.issuperset(both):
            yield where


def mask_lines(code: Iterable[CodeType], locator: Locator) -> Iterator[Location]:
    """Where attention is told what to hide: in a model's own code first."""
    lines = list(_lines(code, locator))
    given = [(one, found) for one, text in lines if (found := _MASK.search(text))]
    given = [pair for pair in given if not _defines(pair[0], lines)]
    order = sorted(given, key=lambda pair: not _in_forward(pair[0]))
    for where, found in order:
        made = None if found[3] in "([" and found[3] else _made(found[2], where, lines)
        yield made or where
    yield from (one for one, text in lines if _OTHER_MASK.search(text) and _in_forward(one))


def order_lines(code: Iterable[CodeType], locator: Locator) -> Iterator[Location]:
    """Where it is said which places come later: where a model is called, before where it is made,
    and what hides them before where they are kept."""
    lines = list(_lines(code, locator))
    called = [(one, text) for one, text in lines if not one.function.endswith("__init__")]
    yield from (one for one, text in called if _ORDER.search(text))
    yield from (one for one, text in called if _MASKING.search(text) and _in_forward(one))
    yield from (one for one, text in lines if _ORDER.search(text))
    yield from attending_lines(code, locator)


def attending_lines(code: Iterable[CodeType], locator: Locator) -> Iterator[Location]:
    """Where places attend to each other: by torch's own function, or one of its layers."""
    lines = list(_lines(code, locator))
    yield from (one for one, text in lines if _ATTENTION.search(text))
    yield from _called(_HOLDS, lines)
    yield from (one for one, text in lines if _in_forward(one) and _SOFTMAX.search(text))
    yield from _called(_HOLDS_SOFTMAX, lines)


def _called(holds: re.Pattern[str], lines: list[tuple[Location, str]]) -> Iterator[Location]:
    """Where a layer is called that an attribute holds, or one of several that it holds."""
    for name in sorted({found[1] for _, text in lines if (found := holds.search(text))}):
        each = re.compile(rf"\bfor\s+(?:\w+\s*,\s*)?(\w+)\s+in\s+[^:]*\bself\.{name}\b")
        called = {found[1] for _, text in lines if (found := each.search(text))}
        called.add(rf"self\.{name}")
        call = re.compile(rf"(?<![\w.])({'|'.join(sorted(called))})\(")
        yield from (one for one, text in lines if _in_forward(one) and call.search(text))


def carrying_lines(
    name: str, code: Iterable[CodeType], locator: Locator, loop: Location | None
) -> Iterator[Location]:
    """Where a name, or an attribute (".name"), is bound to something new, or something is added to
    it: behind the head of the loop first, where that is in the same function, and never where it
    is made."""
    plain = re.escape(name.lstrip("."))
    mine = rf"\.{plain}" if name.startswith(".") else rf"(?<![\w.]){plain}"
    bound = re.compile(rf"^[^=(]*\(?[^=(]*{mine}\b[^=(]*[-+*/]?=(?!=)|{mine}\.(append|extend)\(")
    found = [
        one
        for one, text in _lines(code, locator)
        if bound.search(text) and not one.function.endswith("__init__") and not _STARTS.search(text)
    ]
    if loop is not None:
        inside = [one for one in found if one.file == loop.file and one.line > loop.line]
        found.sort(key=lambda one: (one not in inside or one.function != loop.function, one.line))
    return iter(found)


def _defines(where: Location, lines: list[tuple[Location, str]]) -> bool:
    text = next(text for one, text in lines if one == where)
    return re.match(r"\s*(async\s+)?def\b", text) is not None


def _made(name: str, where: Location, lines: list[tuple[Location, str]]) -> Location | None:
    """Where a name of the same function is bound."""
    bound = re.compile(rf"\s*{re.escape(name)}\s*(:[^=]+)?=(?!=)")
    found = [
        one
        for one, text in lines
        if one.function == where.function and one.line < where.line and bound.match(text)
    ]
    return found[-1] if found else None


def _in_forward(where: Location) -> bool:
    return where.function.rpartition(".")[2] == "forward"


def _lines(code: Iterable[CodeType], locator: Locator) -> Iterator[tuple[Location, str]]:
    """Yield the lines of functions, each once, under the innermost function that has it."""
    found: dict[tuple[str, int], tuple[Location, str]] = {}
    for one in code:
        place = locator.relative(sys.intern(one.co_filename))
        for line in {line for *_, line in one.co_lines() if line}:
            text = linecache.getline(one.co_filename, line).partition("#")[0]
            where = Location(place, line, 1, line, 1, one.co_qualname)
            known = found.get((place, line))
            if known is None or len(known[0].function) < len(where.function):
                found[place, line] = (where, text)
    return iter(found.values())
