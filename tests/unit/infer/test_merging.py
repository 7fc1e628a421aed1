"""Learning from more runs later: the same as from all of them at once, and hands off what a person
has changed."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcstatic.errors import InputError
from tcstatic.infer import Survey, Wanted, observe
from tcstatic.infer.keeping import Kept, beside, packed, plain, read_kept
from tcstatic.infer.session import Lesson, lesson
from tcstatic.invariants.relations import check_params
from tcstatic.invariants.rules import load_rules
from tcstatic.model import Context, Event, Invariant
from tests.unit.infer.runs import healthy

USUAL = Wanted()
Runs = dict[str, list[Event]]


def learn(runs: Runs, path: Path, earlier: Path | None = None, wanted: Wanted = USUAL) -> Lesson:
    """Learn, and write."""
    events = {name: (lambda one=one: one) for name, one in runs.items()}
    found = lesson(events, wanted, earlier=earlier)
    found.write(path)
    return found


def written(path: Path) -> dict[str, Invariant]:
    """What a file holds, by what it says."""
    rules = load_rules([path], schema=check_params)
    return {one.message + one.when: one for one in rules}


def said(path: Path) -> set[tuple[object, ...]]:
    """What a file says, but for codes."""
    return {
        (one.message, one.when, one.seen, repr(one.params), one.support)
        for one in written(path).values()
    }


def evaluating(events: Sequence[Event], *, in_train_mode: bool) -> list[Event]:
    """A run whose forward passes in evaluation are in this mode."""
    return [
        one._replace(values={**one.values, "training": in_train_mode})
        if one.context.fields["stage"] == "evaluate"
        else one
        for one in events
    ]


def elsewhere(events: Sequence[Event], stage: str) -> list[Event]:
    """A run that goes on in a stage of another name."""
    return [
        one._replace(context=Context({**one.context.fields, "stage": stage}))
        if one.context.fields["stage"] == "train" and one.sequence >= 20
        else one
        for one in events
    ]


EVERY: Runs = {
    "plain": healthy(9),
    "longer": healthy(14, model="Other"),
    "clipped": healthy(10, clip=True),
    "careless": evaluating(healthy(12), in_train_mode=True),
    "elsewhere": elsewhere(healthy(8), "finetune"),
}


@settings(max_examples=12)
@given(
    order=st.permutations(sorted(EVERY)),
    cuts=st.sets(st.integers(1, len(EVERY) - 1), max_size=3),
)
def test_the_order_and_the_portions_of_runs_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], cuts: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("merged")
    learn(EVERY, folder / "all.yaml")
    path = None
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(order)], strict=True):
        learn({name: EVERY[name] for name in order[begin:end]}, folder / "part.yaml", path)
        path = folder / "part.yaml"
    assert said(folder / "part.yaml") == said(folder / "all.yaml")


def test_support_adds_up_and_what_is_seen_widens(tmp_path: Path) -> None:
    path = tmp_path / "learnt.yaml"
    learn({"a": EVERY["plain"]}, path)
    before = written(path)
    learn({"b": EVERY["elsewhere"]}, path, path)
    after = written(path)
    key = next(key for key in before if "finite of optimizer.step is True" in key)
    assert before[key].support is not None and after[key].support is not None
    assert (before[key].support.held, after[key].support.held) == (9, 17)
    assert after[key].support.runs == ("a", "b")
    assert "stage == 'train'" in before[key].seen
    assert "stage in ('finetune', 'train')" in after[key].seen
    assert before[key].code == after[key].code


def test_what_new_runs_violate_gets_a_precondition_or_goes(tmp_path: Path) -> None:
    path = tmp_path / "learnt.yaml"
    strict = Wanted(relations=("result",))
    always = [one for one in EVERY["plain"] if one.context.fields["stage"] == "train"]
    learn({"a": always}, path, wanted=strict)
    about = "this run differs from healthy ones: training of model.forward is True"
    assert about in written(path)
    learn({"b": healthy(12)}, path, path, strict)
    assert about not in written(path)
    (stronger,) = [one for key, one in written(path).items() if key.startswith(about)]
    assert stronger.when and stronger.support is not None and stronger.support.excluded == 3
    gone = [
        one._replace(values={**one.values, "training": one.step % 2 == 0})
        if one.kind == "model.forward"
        else one
        for one in healthy(30)
    ]
    found = learn({"c": gone}, path, path, strict)
    assert not [key for key in written(path) if key.startswith(about)]
    assert "It was learnt before, and is not any more." in found.why(stronger.code)


def test_a_run_that_was_learnt_from_is_not_counted_twice(tmp_path: Path) -> None:
    path = tmp_path / "learnt.yaml"
    learn({"a": healthy(9), "b": healthy(9)}, path)
    text = path.read_bytes()
    found = learn({"a": healthy(9)}, path, path)
    assert found.again == ["a"] and "known already: a" in found.summary(path)
    assert path.read_bytes() == text
    learn({"a": healthy(10)}, path, path)
    assert any(one.support and "a'" in one.support.runs for one in written(path).values())


def test_what_a_person_changed_stays(tmp_path: Path) -> None:
    path = tmp_path / "learnt.yaml"
    learn({"a": healthy(9)}, path)
    heading, *blocks = path.read_text(encoding="utf-8").split("\n- ")
    removed = blocks.pop(0)
    edited = blocks[0] = blocks[0].replace("severity: warning", "severity: error  # sure of it")
    own = (
        "code: OWN001\n  name: mine\n  relation: count\n"
        "  that: {of: stale, at: optimizer.step, at_most: 0}\n"
        "  severity: error\n  message: m\n  why: w\n  cure: c\n"
    )
    path.write_text("\n- ".join([heading, *blocks, own]), encoding="utf-8")
    for new in ({"b": EVERY["longer"]}, {"c": EVERY["careless"]}):
        learn(new, path, path)
        text = path.read_text(encoding="utf-8")
        gone = next(line for line in removed.splitlines() if "message:" in line)
        assert gone not in text
        assert edited.strip() in text and own.strip() in text
    rules = {one.code: one for one in load_rules([path], schema=check_params)}
    assert "OWN001" in rules
    assert len({one.message for one in rules.values()}) == len(rules)


def test_other_relations_than_those_asked_for_stay(tmp_path: Path) -> None:
    path = tmp_path / "learnt.yaml"
    learn({"a": healthy(9)}, path)
    before = {code: one for code, one in written(path).items() if one.relation != "order"}
    learn({"b": EVERY["careless"]}, path, path, Wanted(relations=("order",)))
    after = {code: one for code, one in written(path).items() if one.relation != "order"}
    assert before == after


def test_observations_are_kept_as_they_were(tmp_path: Path) -> None:
    events = [
        one._replace(values={**one.values, "ids": frozenset({3, 1}), "sizes": (1, 2.5, None)})
        for one in healthy()
    ]
    events.append(events[0]._replace(values={"nan": float("inf"), "one": 1, "true": True}))
    events += [Event("call", 900 + n, None, values={"name": "torch.relu"}) for n in range(3)]
    surveys = pickle.loads(pickle.dumps(observe({"a": lambda: events})))
    path = tmp_path / "x.observed.json.gz"
    path.write_bytes(packed(Kept(surveys)))
    again = read_kept(path).surveys
    assert plain(again["a"]) == plain(surveys["a"])
    assert [one.event for one in again["a"].distinct] == [
        one.event for one in surveys["a"].distinct
    ]
    assert again["a"].vocabulary() == surveys["a"].vocabulary()
    assert len(again["a"].histories["a"]) == len(surveys["a"].histories["a"]) > 3


def test_surveys_that_are_joined_are_one_survey() -> None:
    at_once, joined = Survey(), Survey()
    for name, events in EVERY.items():
        at_once.add(name, events)
        alone = Survey()
        alone.add(name, events)
        joined.join(alone)
    assert joined.vocabulary() == at_once.vocabulary()
    assert [one.runs for one in joined.distinct] == [one.runs for one in at_once.distinct]


@pytest.mark.parametrize(
    "content, said",
    [
        pytest.param(None, "No such file", id="missing"),
        pytest.param(b"", "ends in the middle", id="empty"),
        pytest.param(b"not packed", "incorrect header", id="not packed"),
        pytest.param(gzip.compress(b"[]"), "TypeError", id="a list"),
        pytest.param(gzip.compress(b"{"), "JSONDecodeError", id="not json"),
        pytest.param(gzip.compress(b"[" * 100_000), "RecursionError", id="deep"),
        pytest.param(
            gzip.compress(b'{"schema": "tcstatic-observed/2"}'),
            "tcstatic-observed/2",
            id="a later schema",
        ),
        pytest.param(gzip.compress(bytes(1 << 20))[:-9], "ends in the middle", id="cut"),
        pytest.param(
            gzip.compress(
                json.dumps(
                    {
                        "schema": "tcstatic-observed/1",
                        "runs": {"a": {"events": [[1, "call"]], "kinds": [], "between": []}},
                        "written": {},
                        "dropped": [],
                    }
                ).encode()
            ),
            "ValueError",
            id="a short event",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "learnt.yaml"
    learn({"a": healthy(9)}, path)
    beside(path).unlink()
    if content is not None:
        beside(path).write_bytes(content)
    with pytest.raises(InputError) as raised:
        learn({"b": healthy(9)}, path, path)
    line = str(raised.value)
    assert said in line and "infer from the traces of all runs at once" in line
    assert len(line.splitlines()) == 1 and len(line) < 500


@pytest.mark.parametrize("most, said", [("MOST_BYTES", "bytes"), ("MOST_PARTS", "values")])
def test_more_than_any_runs_leave_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str, said: str
) -> None:
    path = tmp_path / "learnt.yaml"
    learn({"a": healthy(9)}, path)
    size = beside(path).stat().st_size
    read_kept(beside(path))
    monkeypatch.setattr(f"tcstatic.infer.keeping.{most}", size // 8 if said == "values" else size)
    with pytest.raises(InputError, match=f"more than [0-9]+ {said}"):
        read_kept(beside(path))


def test_rules_that_are_no_list_are_not_merged(tmp_path: Path) -> None:
    path = tmp_path / "learnt.yaml"
    learn({"a": healthy(9)}, path)
    first = path.read_text(encoding="utf-8").split("\n- ")[1]
    path.write_text(first.replace("\n  ", "\n"), encoding="utf-8")
    with pytest.raises(InputError, match="as infer writes it"):
        learn({"b": healthy(9)}, path, path)


def test_nothing_is_written_where_nothing_is_learnt(tmp_path: Path) -> None:
    idle = [one for one in healthy(3) if one.kind == "model.forward"]
    with pytest.raises(InputError, match="nothing was learnt from 3 events of 1 run") as raised:
        learn({"a": idle}, tmp_path / "learnt.yaml")
    assert "record a run that trains" in str(raised.value)
    assert list(tmp_path.iterdir()) == []
