"""What learning rests on <-> a small file beside what was learnt, so that more runs can be added.

The observations of each run are kept, not the traces: its distinct events with their counts. With
them, learning from more runs later gives what learning from all of them at once gives. The file is
compressed json; nothing that it holds is executed.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, final

from tcstatic.caching import read_whole
from tcstatic.errors import InputError, input_problem
from tcstatic.infer.surveying import Survey
from tcstatic.invariants.relations.proposing import is_passing
from tcstatic.model import Context, Event, Location, Member

SCHEMA: Final = "tcstatic-observed/1"
SUFFIX: Final = ".observed.json.gz"
CODE: Final = re.compile(r"INF\d{3,9}")
LEVEL: Final = 4  # of compression: the highest takes three times as long and saves a tenth
MOST_BYTES: Final = 1 << 28  # unpacked; a run takes some ten thousand
MOST_PARTS: Final = 1 << 24  # values in it: each takes some sixty bytes when it is read
_PLACE: Final = tuple(one.name for one in fields(Location))
_SCALARS: Final = (bool, int, float, str, type(None))


@final
@dataclass(frozen=True, slots=True)
class Written:
    """An invariant as it was written: what it claims, and the hash of its text."""

    claim: str
    digest: str


@final
@dataclass(frozen=True, slots=True)
class Kept:
    """The survey of each run, what was `written` by code, and the claims that a person has
    `dropped` since."""

    surveys: Mapping[str, Survey]
    written: Mapping[str, Written] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()


def beside(path: Path) -> Path:
    """Where the observations lie that a file of invariants was learnt from."""
    return path.with_suffix(SUFFIX)


def packed(kept: Kept) -> bytes:
    """The content of the file."""
    data = {
        "schema": SCHEMA,
        "runs": {name: plain(kept.surveys[name]) for name in sorted(kept.surveys)},
        "written": {code: [one.claim, one.digest] for code, one in sorted(kept.written.items())},
        "dropped": sorted(kept.dropped),
    }
    return gzip.compress(json.dumps(data, separators=(",", ":")).encode(), LEVEL, mtime=0)


def read_kept(path: Path) -> Kept:
    """Read the file; raise InputError, in one line, where it is not what `packed` has made."""
    try:
        data = json.loads(_unpacked(read_whole(path, MOST_BYTES)))
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {str(data['schema'])[:40]!r}; expected {SCHEMA!r}")
        return Kept(
            {_text(name): restored(_text(name), one) for name, one in data["runs"].items()},
            {
                _code(code): Written(_text(claim), _text(digest))
                for code, (claim, digest) in data["written"].items()
            },
            frozenset(map(_text, data["dropped"])),
        )
    except OSError as error:
        got = error.strerror or type(error).__name__
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError) as error:
        got = f"{type(error).__name__}: {error}"
    except (TypeError, ValueError, zlib.error) as error:
        got = f"{type(error).__name__}: {error}"
    raise InputError(
        input_problem(
            "the observations of earlier runs cannot be read",
            where=str(path),
            got=" ".join(got.split())[:160],
            expected=f"the {SUFFIX} file that infer wrote beside its yaml",
            cure="infer from the traces of all runs at once",
        )
    )


def plain(survey: Survey) -> dict[str, Any]:
    """The survey of one run as json can say it."""
    distinct = survey.distinct
    places = {one: place for place, one in enumerate(distinct)}
    return {
        "events": [[one.runs.total(), *_told(one.event)] for one in distinct],
        "kinds": list(survey.between.kinds),
        "between": [
            [role, first, last, places[known], mask, times]
            for role, first, last, known, mask, times in survey.between.counts()
        ],
        "calls": [_course(one) for one in survey.histories.values()],
    }


def _course(history: Sequence[Event]) -> dict[str, Any]:
    """The events of a run in their order: what is said, once each, and when it was said."""
    said: dict[object, int] = {}
    values: dict[int, object] = {}
    bodies: list[list[Any]] = []
    when: list[list[Any]] = []
    for event in history:
        key = _key(event, values)
        place = said.get(key)
        if place is None:
            place = said[key] = len(bodies)
            bodies.append(_told(event))
        context = event.context.fields
        passing = [value for name, value in context.items() if is_passing(name)]
        when.append([place, event.sequence, event.step, event.epoch, *passing])
    return {"said": bodies, "when": when}


def _key(event: Event, known: dict[int, object]) -> object:
    """What tells an event from others, but for when; a number by its type too.

    Events that say the same share their values: `known` has what those, by identity, come to.
    """
    values = known.get(id(event.values))
    if values is None:
        values = tuple([(name, type(value), value) for name, value in event.values.items()])
        known[id(event.values)] = values
    context = tuple(
        [
            (name, type(value), value)
            for name, value in event.context.fields.items()
            if not is_passing(name)
        ]
    )
    subjects = tuple(event.subjects.items())
    about = event.kind, event.where, subjects, event.context.inferred, event.rank
    return about, values, context


def _events(course: Mapping[str, Any]) -> list[Event]:
    bodies = [_event(told) for told in course["said"]]
    passing = [[*filter(is_passing, one.context.fields)] for one in bodies]
    found = []
    for place, sequence, step, epoch, *values in course["when"]:
        body = bodies[_whole(place)]
        moved = _scalars(dict(zip(passing[place], values, strict=True)))
        context = Context({**body.context.fields, **moved}, body.context.inferred)
        found.append(
            body._replace(
                sequence=_whole(sequence), step=_whole(step), epoch=_step(epoch), context=context
            )
        )
    return found


def restored(name: str, data: Mapping[str, Any]) -> Survey:
    """The survey of a run of this name, of what `plain` has said."""
    survey = Survey()
    events = ((_event(told), _whole(times)) for times, *told in data["events"])
    distinct = survey.restore(name, events)
    counts = (
        (
            _text(role),
            _text(first),
            _text(last),
            distinct[_whole(place)],
            _whole(mask),
            _whole(times),
        )
        for role, first, last, place, mask, times in data["between"]
    )
    survey.between.restore(name, map(_text, data["kinds"]), counts)
    for history in data.get("calls", ()):
        survey.histories[name] = _events(history)
    return survey


def _told(event: Event) -> list[Any]:
    where = event.where
    return [
        event.kind,
        event.sequence,
        None if where is None else [getattr(where, name) for name in _PLACE],
        dict(event.subjects),
        {name: _tagged(value) for name, value in event.values.items()},
        dict(event.context.fields),
        sorted(event.context.inferred),
        [[one.number, one.name, dict(one.fields)] for one in event.members],
        event.step,
        event.epoch,
        event.rank,
    ]


def _event(told: list[Any]) -> Event:
    kind, sequence, where, subjects, values, fields, inferred, members, step, epoch, rank = told
    return Event(
        _text(kind),
        _whole(sequence),
        None if where is None else _location(*where),
        {_text(role): tuple(map(_whole, numbers)) for role, numbers in subjects.items()},
        {_text(name): _untagged(value) for name, value in values.items()},
        Context(_scalars(fields), frozenset(map(_text, inferred))),
        tuple(Member(_whole(n), _text(name), _scalars(said)) for n, name, said in members),
        _whole(step),
        _step(epoch),
        _whole(rank),
    )


def _step(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _location(file: Any, *others: Any) -> Location:
    *numbers, function = others
    line, column, end_line, end_column = map(_whole, numbers)
    return Location(_text(file), line, column, end_line, end_column, _text(function))


def _tagged(value: Any) -> Any:
    """A scalar as it is; a tuple or a set with a word that says so."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, frozenset):
        return {"set": [_tagged(one) for one in sorted(value, key=repr)]}
    if isinstance(value, tuple):
        return {"tuple": [_tagged(one) for one in value]}
    return {"text": repr(value)}


def _untagged(value: Any) -> Any:
    if not isinstance(value, dict):
        return _scalar(value)
    ((word, told),) = value.items()
    if word == "text":
        return _text(told)
    return {"set": frozenset, "tuple": tuple}[word](map(_untagged, told))


def _scalars(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {_text(name): _scalar(value) for name, value in fields.items()}


def _scalar(value: Any) -> Any:
    if not isinstance(value, _SCALARS):
        raise TypeError(f"{value!r:.40} is no scalar")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _code(value: str) -> str:
    if not CODE.fullmatch(value):
        raise ValueError(f"{value!r:.40} is no code of what was learnt")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r:.40} is no whole number")
    return value


def _unpacked(content: bytes) -> bytes:
    """The content, as far as it is no bomb."""
    packed = zlib.decompressobj(wbits=31)
    found = packed.decompress(content, MOST_BYTES)
    if packed.unconsumed_tail:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    if not packed.eof:
        raise ValueError("it ends in the middle")
    if sum(map(found.count, (b"[", b"{", b",", b":"))) > MOST_PARTS:
        raise ValueError(f"more than {MOST_PARTS} values")
    return found
