"""What was learnt -> the sentence that a person reads, and the record that is written."""

from __future__ import annotations

from typing import Any, Final

from tcstatic.infer.learning import Learned
from tcstatic.invariants.conditions import And, Condition, fields_of, parse, to_text
from tcstatic.invariants.relations.bracketed import BRACKETS
from tcstatic.invariants.relations.called import called_in
from tcstatic.invariants.relations.measured import BOUNDS
from tcstatic.model import Hypothesis, Invariant, Support

_VERBS: Final = {"changes": "changes", "leaves": "leaves alone"}


def sentence(hypothesis: Hypothesis) -> str:
    """One readable sentence of what a hypothesis claims."""
    params = hypothesis.params
    about = _about(hypothesis)
    said = _of_calls(hypothesis.relation, params, about)
    if said:
        return said
    match hypothesis.relation:
        case "argument":
            return f"{params['argument']} of {about} {_right(params, 'equals')}"
        case "result":
            of = "each member of " if params.get("each") else ""
            return f"{params['value']} of {of}{about} {_right(params, 'is')}"
        case "count":
            bound = "at_least" if "at_least" in params else "at_most"
            return f"{params['of']} at {about} is {bound.replace('_', ' ')} {params[bound]}"
        case "member":
            part = "all" if params.get("need", "all") == "all" else "some"
            return f"{part} of {params['of']} lie within {params['within']} at {about}"
        case "effect":
            verb = next(verb for verb in _VERBS if verb in params)
            which = "some" if params.get("quantifier") == "some" else "each"
            where = f" where {params['over']}" if "over" in params else ""
            return f"{about} {_VERBS[verb]} {params[verb]} of {which} parameter{where}"
        case "equal":
            return f"{params['state']} is equal on all ranks"
    return _order(params)


def _of_calls(relation: str, params: Any, about: str) -> str:
    match relation:
        case "count" if "per" in params:
            return _rate(params)
        case "effect" if "contains" in params or "lacks" in params:
            inner = params.get("contains") or f"no {params['lacks']}"
            return f"{about} contains {inner}"
        case "effect" if called_in(params["call"]):
            verb = next(verb for verb in _VERBS if verb in params)
            return f"{about} {_VERBS[verb]} what {params[verb]} holds"
        case "equal" if "of" in params:
            return (
                f"{params['field']} of {params['of']} equals {params['as_field']} of {params['as']}"
            )
    return ""


def _right(params: Any, key: str) -> str:
    if "equals_field" in params:
        return f"equals {params['equals_field']}"
    if "never_from" in params:
        return f"comes from no {params['never_from']}"
    if "over_time" in params:
        said = {
            "constant": "is the same at each call",
            "distinct": "is another at each call",
            "rising": "grows from call to call",
            "changing": "is another than at the call before",
        }[params["over_time"]]
        return f"{said} of a run" if "stream" in params else said
    if key in params:
        return f"is {params[key]!r}"
    return "is " + " and ".join(
        f"{bound.replace('_', ' ')} {params[bound]:g}" for bound in BOUNDS if bound in params
    )


def _rate(params: Any) -> str:
    bound = "at_least" if "at_least" in params else "at_most"
    number = f"{bound.replace('_', ' ')} {params[bound]} {params['of']}"
    if params["per"] == "end":
        return f"there is {number} on one object"
    return f"from one {params['per']} to the next there is {number}"


def _order(params: Any) -> str:
    role = params.get("same")
    whose = " on one object" if role in ("self", "object") else f" of one {role}" if role else ""
    if "precedence" in params:
        return f"{params['precedence']} comes before each {params['before']}{whose}"
    first, last = params["between"]
    for where in BRACKETS:
        if where in params and first == last:
            return f"{params[where]} is {where} of what {first} begins and ends in turn"
        if where in params:
            return f"{params[where]} is {where} of what {first} begins and {last} ends"
    if "existence" in params:
        return f"between {first} and {last}{whose} there is {params['existence']}"
    return f"between {first} and {last}{whose} there is no {params['absence']}"


def _about(hypothesis: Hypothesis) -> str:
    params = hypothesis.params
    kind = str(params.get("of") if hypothesis.relation in ("argument", "result") else "")
    kind = kind or str(params.get("at") or params.get("call") or "")
    name = hypothesis.when.partition("==")[2].strip().strip("'\"")
    return name or kind


def invariant(one: Learned, number: int) -> Invariant:
    """The record of what was learnt."""
    hypothesis = one.hypothesis
    said = sentence(hypothesis)
    when, over = _split(one)
    parts = [hypothesis.when] if hypothesis.when else []
    parts += [to_text(when)] if when is not None else []
    condition = " and ".join(f"({part})" if len(parts) > 1 else part for part in parts)
    runs = f"{len(one.runs)} healthy run{'s' if len(one.runs) != 1 else ''}"
    return Invariant(
        code=f"INF{number:03d}",
        name=f"learnt-{hypothesis.relation}-{number}",
        relation=hypothesis.relation,
        params={**hypothesis.params, "over": over} if over else hypothesis.params,
        severity="warning",
        message=f"this run differs from healthy ones: {_plain(said)}",
        why=f"It held {one.held} times in {runs}, and was never seen to fail in such a context.",
        cure="Find out why this run differs; where it is meant to, drop this invariant.",
        when=condition,
        seen=to_text(one.seen) if one.seen is not None else "",
        support=Support(one.held, one.contexts, one.excluded, one.runs),
        feeds=("run",),
        status="learnt",
    )


def _split(one: Learned) -> tuple[Condition | None, str]:
    """The precondition over the event, and that over each of its members, where it can be told
    apart: a relation selects its members, and `when` asks once for all of them."""
    selected = str(one.hypothesis.params.get("over", ""))
    if one.when is None or not fields_of(one.when) & one.members:
        return one.when, selected
    parts = one.when.items if isinstance(one.when, And) else (one.when,)
    over = [part for part in parts if fields_of(part) <= one.members]
    rest = [part for part in parts if not fields_of(part) <= one.members]
    chosen = _joined([*([parse(selected)] if selected else []), *over])
    return _joined(rest), to_text(chosen) if chosen is not None else ""


def _joined(parts: list[Condition]) -> Condition | None:
    if len(parts) < 2:
        return parts[0] if parts else None
    return And(tuple(parts))


def _plain(text: str) -> str:
    return text.replace("{", "(").replace("}", ")")
