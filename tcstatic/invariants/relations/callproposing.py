"""What calls suggest: hypotheses about what functions are given and give, and the limits they keep.

One event says of a call what was given and what came of it: up to 32 fields. Proposed are, of each
function: for each field at most MOST_TOLD values, the natural bounds of a number, and how it goes
on over time; and pairs of fields that agree, of one sort each. So their number grows with the
functions that several programs call, and not with calls, programs, or pairs of functions.

What only the shape of a program makes true is asked of more programs (`weak`) than what a function
does by itself (`strong`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from tcstatic.invariants.relations.called import CALL, label_of_call
from tcstatic.invariants.relations.callusage import CHANCE, FORWARD, Usage, usage_of
from tcstatic.invariants.relations.measured import (
    COURSES,
    OVER_TIME,
    STREAM,
    UNKNOWN,
    WHOLE_RUN,
    is_from,
)
from tcstatic.invariants.relations.proposing import EQUAL_SHARE, is_passing
from tcstatic.invariants.relations.sequences import OBJECT
from tcstatic.model import FieldSeen, Group, Hypothesis, Scalar, Vocabulary

MOST_FUNCTIONS: Final = 256  # of which something is proposed, those of most programs first
# What they are given and give is up to what each program puts into them; but its type stays.
CONTAINERS: Final = frozenset({"torch.nn.Sequential"})
MOST_TOLD: Final = 2  # of the values of a field
LEAST_CALLS: Final = 4  # with a value, or with two that agree
# A flag may be one thing in one context and another in the next; a word is proposed if it is usual.
FLAG_SHARE: Final = 0.2
WORD_SHARE: Final = 0.9
# Numbers that are proposed to lie within natural bounds take so many different values.
LEAST_NUMBERS: Final = 3
MANY_NUMBERS: Final = 6  # where none of them is to exceed one
MOST_CHOICES: Final = 8  # of a share that programs choose; of what is measured there are more
_SIZES: Final = ("_rows", "_second", "_width", "_length")
_SORTS: Final = ("_dtype", "_device", "_requires_grad", "_ndim", *_SIZES)
# Sizes of different sides that say something where they agree: of rows and of steps in time.
_SIDES: Final = ({"_second", "_rows"}, {"_second", "_width"}, {"_rows", "_length"})
_BUILT: Final = ("_dtype", "_requires_grad", "_training", "_from", "_optimized")
# Of what is given, not itself.
_TOLD: Final = (*_SORTS, "_from", "_type", "_keys", "_training", "_optimized", "_set", "_decay")
# Of functions of torch, only these are given what trains as a whole.
_OF_ALL: Final = "torch.nn.utils."
_ALWAYS: Final = ("_dtype",)
_BATCH: Final = ("_dtype", "_rows")  # kept by whatever a batch goes through
_PRECISION: Final = ("float", "bfloat", "complex")
_LEFT: Final = frozenset(
    "name role own lasted sampled fields_left_out autocast arg_self_type".split()
)


def strong(runs: int) -> int:
    """In how many of so many programs a function must have been seen to do something."""
    return min(1 + runs // 3, 3)


def weak(runs: int) -> int:
    """In how many of so many programs something must have been that follows from how they are
    built."""
    return 3 if runs > 2 else 4


def choice(runs: int) -> int:
    """In how many of so many programs something must have been so that each is free to choose."""
    return 5


def called_groups(vocabulary: Vocabulary) -> list[Group]:
    """The calls of functions that other programs may know."""
    groups = [one for one in vocabulary.groups if one.kind == CALL]
    return sorted(groups, key=lambda one: (-one.events, one.name))[:MOST_FUNCTIONS]


def arguments(vocabulary: Vocabulary) -> Iterator[Hypothesis]:
    """What functions are given: usual values, natural bounds, courses over time, what agrees."""
    usage, needed = usage_of(vocabulary), weak(vocabulary.runs)
    kept = {*usage.kept(needed)}
    for group in called_groups(vocabulary):
        label = label_of_call(group.name)
        library = not group.name.startswith("torch.")
        for name in (one for one, _ in _fields(group, "arg_", passing=True)):
            about: dict[str, Any] = {"of": label, "argument": name}
            for course in usage.courses(label, name, choice(vocabulary.runs)):
                params = {**about, OVER_TIME: course}
                yield Hypothesis("argument", params, "", frozenset({name}), choice(vocabulary.runs))
            if library and (label, name) in kept:
                params = {**about, OVER_TIME: COURSES[0], STREAM: WHOLE_RUN}
                yield Hypothesis("argument", params, "", frozenset({name}), needed)
        for name, seen in _fields(group, "arg_") if group.name not in CONTAINERS else ():
            yield from _values_given(group, name, seen, vocabulary.runs)


def _values_given(group: Group, name: str, seen: FieldSeen, runs: int) -> Iterator[Hypothesis]:
    about: dict[str, Any] = {"of": label_of_call(group.name), "argument": name}
    library = not group.name.startswith("torch.")
    if name.endswith("_from") and seen.total < _tensors(group, name):
        return
    unvaried = len(seen.values) == 1 and f"{name}_type" not in group.fields
    for key, value, needed in _claims(name, seen, runs, library=library):
        if key == "is" and unvaried and not name.endswith(_TOLD):
            continue  # an option that nobody has used
        if (name.endswith("_set") and value is False) or (name.endswith("_decay") and value):
            continue  # what is so by default
        if name.endswith("_optimized") and not (library or group.name.startswith(_OF_ALL)):
            continue
        params = {**about, "equals": value} if key == "is" else {**about, **value}
        yield Hypothesis("argument", params, "", _told_of(group, name), needed)
    if library and name.endswith("_dtype"):
        yield from _never_from_itself(group, name.removesuffix("_dtype"), runs)
    chosen = library or _is_users(group)
    for other, needed in _agreeing(name, seen, "arg_", runs, library=chosen):
        params = {**about, "equals_field": other}
        yield Hypothesis("argument", params, "", frozenset({name, other}), needed)


def _is_users(group: Group) -> bool:
    """Whether these are functions of users' own, which a library knows as something."""
    return "own" in group.fields


def _told_of(group: Group, given: str) -> frozenset[str]:
    """All that is told of what was given."""
    return frozenset(name for name in group.fields if f"{name}_".startswith(f"{given}_"))


def _tensors(group: Group, source: str) -> int:
    """How often the tensor was given whose source is told, where it is known."""
    seen = group.fields.get(f"{source.removesuffix('_from')}_dtype")
    return seen.total if seen is not None else 0


def _never_from_itself(group: Group, given: str, runs: int) -> Iterator[Hypothesis]:
    """What a function has given does not go into it again, where it never did."""
    source = group.fields.get(f"{given}_from")
    gives = any(name.startswith("result") for name in group.fields)
    known = source.values if source is not None else ()
    if gives and not any(is_from(said, group.name) for _, said in known):
        params = {"of": label_of_call(group.name), "argument": given, "never_from": group.name}
        yield Hypothesis("argument", params, "", frozenset({f"{given}_from"}), weak(runs))


def results(vocabulary: Vocabulary) -> Iterator[Hypothesis]:
    """What functions give, as such and by what they are given; in which mode they are called."""
    usage = usage_of(vocabulary)
    for group in called_groups(vocabulary):
        label = label_of_call(group.name)
        library = not group.name.startswith("torch.")
        for name, seen in (*_fields(group, "result"), *_fields(group, "after_")):
            if name.endswith("_changed") or group.name in CONTAINERS:
                continue
            about: dict[str, Any] = {"of": label, "value": name}
            for key, value, runs in _claims(name, seen, vocabulary.runs, library=library):
                if value is not None:
                    params = {**about, "is": value} if key == "is" else {**about, **value}
                    yield Hypothesis("result", params, "", _results_of(group), runs)
            for course in usage.courses(label, name, weak(vocabulary.runs)):
                params = {**about, "over_time": course}
                yield Hypothesis("result", params, "", _results_of(group), weak(vocabulary.runs))
        yield from _results_by_arguments(group, label, vocabulary.runs)


def _results_by_arguments(group: Group, label: str, runs: int) -> Iterator[Hypothesis]:
    own = group.name not in CONTAINERS
    for name, seen in _fields(group, "arg_"):
        library = not group.name.startswith("torch.")
        if not own and not name.endswith(_BATCH):
            continue
        for other, needed in _agreeing(name, seen, "result", runs, library=library):
            params = {"of": label, "value": other, "equals_field": name}
            yield Hypothesis("result", params, "", _results_of(group) | {name}, needed)
    mode = group.fields.get("grad_enabled")
    for value in (True, False) if own and not _is_users(group) else ():
        if mode is not None and mode.values.get(("bool", value), 0) >= WORD_SHARE * mode.total:
            about = {"of": label, "value": "grad_enabled", "is": value}
            yield Hypothesis("result", about, "", frozenset({"grad_enabled"}), choice(runs))


def _results_of(group: Group) -> frozenset[str]:
    """What came of a call explains no other thing that came of it."""
    return frozenset(name for name in group.fields if name.startswith(("result", "after_")))


def _fields(group: Group, prefix: str, *, passing: bool = False) -> Iterator[tuple[str, FieldSeen]]:
    for name in sorted(group.fields):
        implied = _base(name, "_type") in group.fields or _is_whole(group, name)
        left = name in _LEFT or (is_passing(name) and not passing)
        if name.startswith(prefix) and not (left or implied or _is_by_parameters(group, name)):
            yield name, group.fields[name]


def _base(name: str, ending: str) -> str:
    """The field that tells the type of a tensor's elements, of what another one tells of it."""
    return f"{name.removesuffix(ending)}_dtype" if name.endswith(ending) else ""


def _is_whole(group: Group, name: str) -> bool:
    """Whether a field tells that a tensor of whole numbers or flags requires no gradient."""
    seen = group.fields.get(_base(name, "_requires_grad"))
    return seen is not None and not any(str(v).startswith(_PRECISION) for _, v in seen.values)


def _is_by_parameters(group: Group, name: str) -> bool:
    """Whether a field tells that a module of torch takes or gives what requires gradients: that is
    up to which parameters a program trains, and where in its model the module stands."""
    module = group.name.startswith("torch.") and "arg_self_training" in group.fields
    return module and name.endswith("_requires_grad")


def _claims(
    name: str, seen: FieldSeen, runs: int, *, library: bool
) -> Iterator[tuple[str, Any, int]]:
    """Values, each with in how many runs it must have been seen; then bounds. Functions of torch
    are given what programs choose."""
    for value, needed in _usual(name, seen, runs, library=library):
        yield "is", value, needed if library else choice(runs)
    if not name.endswith(_SORTS):
        shares = _shares(seen) if name.startswith("arg_") else ()
        for bounds in (*_bounds(seen), *shares):
            yield "bounds", bounds, choice(runs)


def _usual(name: str, seen: FieldSeen, runs: int, *, library: bool) -> list[tuple[Scalar, int]]:
    """The usual values of a field that say something to other programs."""
    if name.endswith((*_SIZES, "_device")):
        return []
    total = seen.total
    found = []
    kept: tuple[str, ...] = _BUILT if name.startswith("arg_") else (*_BUILT, "_type", "_trainable")
    for (kind, value), times in seen.values.items():
        share = FLAG_SHARE if kind in ("bool", "float") else WORD_SHARE
        if times < max(LEAST_CALLS, share * total) or not _is_sayable(name, kind, value):
            continue
        if kind == "float" and not (library and name.startswith("arg_")):
            continue  # a loss may vanish, and functions of torch are given what programs choose
        if not library and name.endswith("_dtype") and str(value).startswith(_PRECISION):
            continue  # so is the precision in which a program computes
        needed = weak(runs) if name.endswith(kept) else choice(runs)
        found.append((-times, str(value), value, needed))
    found.sort(key=lambda one: one[:2])
    return [(value, needed) for _, _, value, needed in found][:MOST_TOLD]


def _is_sayable(name: str, kind: str, value: Scalar) -> bool:
    """Whether a value is more than a size or a measurement."""
    if kind == "int":
        return name.endswith("_ndim") or (isinstance(value, int) and value <= 1)
    if kind == "float":
        return value == 0
    if value == UNKNOWN:
        return False
    return kind in ("bool", "str", "NoneType")


def _bounds(seen: FieldSeen) -> Iterator[dict[str, float]]:
    """The natural bounds that a number keeps, and those of its order of magnitude."""
    values = [v for kind, v in seen.values if kind in ("int", "float") and v is not None]
    numbers = [float(v) for v in values if not isinstance(v, str)]
    if len(numbers) < LEAST_NUMBERS or len(numbers) != len(seen.values):
        return
    if not all(map(math.isfinite, numbers)):
        return
    least, most = min(numbers), max(numbers)
    if least >= 0:
        yield {"above": 0} if least > 0 else {"at_least": 0}
        if most == 1 and len(numbers) >= MANY_NUMBERS:
            yield {"at_most": 1}
    elif most <= 0:
        yield {"below": 0} if most < 0 else {"at_most": 0}
    if least > 0 and any(kind == "float" for kind, _ in seen.values):
        yield {
            "at_least": 10.0 ** (math.floor(math.log10(least)) - 1),
            "at_most": 10.0 ** (math.floor(math.log10(most)) + 2),
        }


def _shares(seen: FieldSeen) -> Iterator[dict[str, float]]:
    """The least natural bound of a share, where chance does not explain that all lie under it."""
    numbers = [v for kind, v in seen.values if kind == "float" and not isinstance(v, str | None)]
    if not 0 < len(numbers) == len(seen.values) <= MOST_CHOICES:
        return
    if not 0 <= min(numbers) <= max(numbers) < 1:
        return
    chosen = sum(seen.runs.values())
    for bound in (0.5, 1.0):
        if max(numbers) <= bound and bound**chosen < CHANCE:
            yield {"at_most": bound}
            return


def _agreeing(
    name: str, seen: FieldSeen, prefix: str, runs: int, *, library: bool
) -> Iterator[tuple[str, int]]:
    """Fields that begin so, and usually are what this one is."""
    apart = prefix == "result"  # what is given is not made of one another
    needed = weak(runs) if library and apart else choice(runs)
    if name.endswith(_ALWAYS if library else _BATCH) and (apart or not library):
        needed = strong(runs)
    elif len(seen.values) < 2 and not name.endswith(_ALWAYS):
        return  # one size, of both
    for other, (same, both) in sorted(seen.equals.items()):
        if not other.startswith(prefix) or not agree_in_sort(name, other):
            continue
        if same >= max(LEAST_CALLS, EQUAL_SHARE * both):
            yield other, needed


def sort_of(name: str) -> str:
    """What a field tells: only fields of one sort are compared."""
    found = next((sort for sort in _SORTS if name.endswith(sort)), "")
    return found


def agree_in_sort(name: str, other: str) -> bool:
    """Whether two fields tell what may be compared."""
    sorts = {sort_of(name), sort_of(other)}
    return len(sorts) == 1 or sorts in _SIDES


def is_comparable(name: str, value: object) -> bool:
    """Whether a field is compared with others of its event."""
    if name in _LEFT or name.endswith("_device") or not name.startswith(("arg_", "result")):
        return False
    kinds = (bool, str) if sort_of(name) in (*_ALWAYS, "_requires_grad") else (int,)
    return type(value) in kinds


def counts(vocabulary: Vocabulary) -> Iterator[Hypothesis]:
    """How many calls lie between two steps or epochs, or on one object in all."""
    usage = usage_of(vocabulary)
    needed, free = weak(vocabulary.runs), choice(vocabulary.runs)
    for of, per, least, most in usage.rates(needed):
        about: dict[str, Any] = {"of": of, "per": per}
        if least >= 1 and of != FORWARD:
            yield Hypothesis("count", {**about, "at_least": 1}, "", frozenset(), free)
        if most <= 1:
            yield Hypothesis("count", {**about, "at_most": most}, "", frozenset(), needed)
    for of in usage.once_per_object(needed):
        params = {"of": of, "per": "end", "same": "self", "at_most": 1}
        yield Hypothesis("count", params, "", frozenset(), needed)


def contents(vocabulary: Vocabulary) -> Iterator[Hypothesis]:
    """What calls contain, and what of a training step they never do."""
    needed, free = weak(vocabulary.runs), choice(vocabulary.runs)
    for label, inner, verb in usage_of(vocabulary).contents(needed):
        runs = free if verb == "contains" else needed
        yield Hypothesis("effect", {"call": label, verb: inner}, "", frozenset(), runs)
    for group in called_groups(vocabulary):
        for name, seen in _fields(group, "after_"):
            what, _, state = name.removeprefix("after_").rpartition("_")
            for value in (True, False) if state == "changed" else ():
                if seen.values.get(("bool", value), 0) >= FLAG_SHARE * seen.total:
                    verb = "changes" if value else "leaves"
                    params = {"call": label_of_call(group.name), verb: what}
                    runs = needed if value else free
                    yield Hypothesis("effect", params, "", _results_of(group), runs)


def orders(vocabulary: Vocabulary) -> Iterator[Hypothesis]:
    """What comes before what on one object, or between two things; in which part of a step."""
    usage: Usage = usage_of(vocabulary)
    needed, free = weak(vocabulary.runs), choice(vocabulary.runs)
    every: list[dict[str, Any]] = []
    for first, last in usage.precedences(free):
        every.append({"precedence": first, "before": last, "same": OBJECT})
    for first, what in usage.finals(free):
        every.append({"absence": what, "between": [first, "end"], "same": OBJECT})
    for first, what in usage.rewrites(needed):
        overwritten = {"absence": what, "between": [first, "end"], "same": OBJECT}
        yield Hypothesis("order", overwritten, "", frozenset(), needed)
    for first, what in usage.responses(free):
        every.append({"existence": what, "between": [first, "end"], "same": OBJECT})
    for first, last, what in usage.turns(free):
        every.append({"existence": what, "between": [first, last], "same": OBJECT})
    for pattern, what, between in usage.phases(needed):
        every.append({pattern: what, "between": list(between)})
    for (first, last), what, where in usage.brackets(free):
        every.append({where: what, "between": [first, last]})
    for params in every:
        # what a loop always does there may be its habit; what none does is asked of fewer
        runs = needed if "absence" in params and "same" not in params else free
        yield Hypothesis("order", params, "", frozenset(), runs)


def alike(vocabulary: Vocabulary) -> Iterator[Hypothesis]:
    """What two functions are given alike, whatever it is in each program."""
    needed = weak(vocabulary.runs)
    for (of, field), (other, theirs) in usage_of(vocabulary).alike(needed):
        params = {"of": of, "field": field, "as": other, "as_field": theirs}
        yield Hypothesis("equal", params, "", frozenset(), needed)
