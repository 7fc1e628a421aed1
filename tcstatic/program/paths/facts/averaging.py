"""Gradients of several ranks: never brought together, or summed and never divided."""

from __future__ import annotations

import re
from typing import Final

from tcstatic.program.paths import gradients, wording
from tcstatic.program.paths.facts.orders import all_loops, tell
from tcstatic.program.paths.facts.registry import surveys
from tcstatic.program.paths.machine import Machine
from tcstatic.program.paths.project import Module
from tcstatic.program.paths.tree import Block, Happening, happenings
from tcstatic.program.paths.values import External, Object
from tcstatic.program.source import syntax

# Whatever may bring models together, by its name.
_TOGETHER: Final = re.compile(
    r"all_?reduce|all_?gather|reduce_?scatter|broadcast|gather|scatter|average|sync(?!hronize)|mpi"
    r"|DDP|FSDP|fully_?shard|parallel|horovod|hvd|accelerat|deepspeed|fabric|lightning|prepare"
    r"|^reduce|comm_hook|distribute_|DTensor|^i?(send|recv)|rpc|ensemble|federat|gossip|population"
    r"|ZeroRedundancy",
    re.IGNORECASE,
)
# What is brought together for a log.
_NUMBERS: Final = re.compile(
    r"loss|correct|total|acc|count|seen|num|metric|stat|hits|score|mean$", re.IGNORECASE
)
_WRAPPERS: Final = frozenset({"DistributedDataParallel", "FullyShardedDataParallel", "fully_shard"})
_WORLD: Final = r"(world|get_world_size|n_?proc|nranks|num_(ranks|replicas|workers|gpus)|ngpus)"
_SAVES: Final = re.compile(r"save|dump|export|write", re.IGNORECASE)
_RANK: Final = re.compile(r"rank|worker|process_index|\bmember|\bexpert", re.IGNORECASE)
# What is called beside an average of gradients.
_BESIDE: Final = frozenset({"barrier", "monitored_barrier", "broadcast"})
# A number of ranks, or of what they hold, by which something is divided or multiplied.
_SCALED: Final = re.compile(
    rf"[*/]=?\s*[\w.(]*{_WORLD}|{_WORLD}[\w.()\"'\[\]]*\s*[*/]|(div|mul)_?\([^\n]*{_WORLD}"
    r"|grad[\w.()]*\s*[*/]|(div|mul)_\(|\.AVG\b|PREMUL|=\s*[\"']sum[\"']|\.sum\(\)\s*\.backward"
    r"|[*/]\s*[\w.(]*(size|count|tokens|total|denom)"
    rf"|[*/]=?\s*[\w.(\[\"']*{_WORLD}|\.sum\([^\n]*\)\s*[*/]|\bsum_?(of_)?loss\w*\s*/"
    r"|[*/]=?\s*\(?\w*(gpus|devices|nodes|processes|ranks|replicas|rows|examples|samples)\b"
    r"|\b\w*(share|fraction|portion|ratio|weight|part)s?[\w\[\].]*\s*\*"
    r"|[*/]=?\s*[\w.]*(share|fraction|portion|ratio|weight|part)s?\b",
    re.IGNORECASE,
)
_RANKS: Final = re.compile(
    r"\b(\w+)\s*(?::\s*\w+\s*)?=[^=\n][^\n]*(get_)?world_size", re.IGNORECASE
)
# What makes the size of a gradient of no matter.
_SIZELESS: Final = re.compile(r"\bsign_?\(|normalize\(|[*/]\s*\(?[\w.]*norm\b|/[^\n]*\.norm\(")
_FREE: Final = re.compile(
    r"\b(Adam\w*|[NR]Adam|Sparse_?Adam|Adagrad|Adadelta|RMSprop|Rprop|Adafactor|Lion|Muon|LAMB|Lamb"
    r"|LARS|Prodigy|SOAP|Sophia\w*)\("
)
_SIZED: Final = re.compile(r"\b(SGD|ASGD|LBFGS)\b|clip_grad")


def unaveraged(m: Machine, every: list[Happening], model: int, block: Block) -> None:
    """``unaveraged`` of a model that is trained on a rank's own part of the data, where nothing
    in the program can bring the ranks' gradients, or their weights, together."""
    handed = frozenset[int]().union(*(one.maybe for one in every if one.wild))
    known = m.objects.get(model)
    if known is None or known.place is None or model in handed or not _is_open(known):
        return
    modules = wording.at_work(every)
    if any(one.kind == "wrap.new" for one in every) or any(map(_may_bring_together, modules)):
        return
    if any(map(_keeps_each, modules)):
        return
    tell(block, "unaveraged", known.place, subjects={"model": (model,)})


@surveys
def unwrapped(m: Machine, block: Block) -> None:
    """``unaveraged`` of the model of a program that imports a wrapper and has forgotten it."""
    every = happenings(block)
    if not any(one.kind == "dist.init" for one in every):
        return
    if not any(_forgets_wrapper(module) for module in wording.at_work(every)):
        return
    for loop in all_loops(block):
        inside = happenings(loop.body)
        if {"loss.backward", "optimizer.step"} <= {one.kind for one in inside}:
            models = {
                numbers[0]
                for one in inside
                if one.kind == "model.forward" and (numbers := one.subjects.get("model", ()))
            }
            if len(models) == 1:
                unaveraged(m, every, models.pop(), block)
                return


def _is_open(model: Object) -> bool:
    """Whether a model is one of torch's, or of the program's own classes."""
    return not isinstance(model.type, str) or model.type.startswith("torch.nn.")


@surveys
def summed(m: Machine, block: Block) -> None:
    """``summed`` of an ``all_reduce`` that adds up gradients, in a program that divides nothing by
    the number of ranks. Parts of a gradient are added up rightly where ranks share the work on
    one batch: they bring activations together as well, or a wrapper averages."""
    every = happenings(block)
    collectives = [one for one in every if one.kind == "dist.collective"]
    added = [one for one in collectives if _adds_gradients(m, one)]
    others = [one for one in collectives if one not in added]
    logged = {name for one in others if (name := _measured(one))}
    beside = {one.values.get("operation") for one in others if not _measured(one)}
    if not added or beside - _BESIDE or any(one.kind == "wrap.new" for one in every):
        return
    texts = [_without(module.text.text, logged) for module in wording.at_work(every)]
    if not _minds_ranks(texts):
        for one in dict.fromkeys(added):
            tell(block, "summed", one.place)


def _measured(one: Happening) -> str:
    """The name of what a collective brings together, if that was made of plain numbers."""
    call = one.place.node
    given = call.args[0] if isinstance(call, syntax.Call) and call.args else None
    if not isinstance(given, syntax.Name):
        return ""
    made = rf"\b{re.escape(given.id)} *= *torch\.((as_)?tensor\(|(zeros|ones)\([123]\b)"
    return given.id if re.search(made, one.place.module.text.text) else ""


def _without(text: str, names: set[str]) -> str:
    """A text without the lines that name one of some numbers."""
    named = "|".join(map(re.escape, sorted(names)))
    return re.sub(rf"(?m)^.*\b({named})\b.*$", "", text) if names else text


def _minds_ranks(texts: list[str]) -> bool:
    """Whether the number of ranks is reckoned with, or the size of a gradient is of no matter."""
    if any(_SCALED.search(text) or _SIZELESS.search(text) for text in texts):
        return True
    for text in texts:
        names = {re.escape(found[1]) for found in _RANKS.finditer(text)}
        if names and re.search(rf"[*/]=?\s*[\w.(]*\b({'|'.join(sorted(names))})\b", text):
            return True
    return any(map(_FREE.search, texts)) and not any(map(_SIZED.search, texts))


def sizeless(text: str) -> bool:
    """Whether the size of a gradient is of no matter in a file: its optimizer brings all to one."""
    if _SIZELESS.search(text):
        return True
    return bool(_FREE.search(text)) and not _SIZED.search(text)


def _adds_gradients(m: Machine, one: Happening) -> bool:
    given = one.arguments[0] if one.arguments else one.keywords.get("tensor")
    how = one.arguments[1] if len(one.arguments) > 1 else one.keywords.get("op")
    if one.values.get("operation") != "all_reduce":
        return False
    adds = how is None or (isinstance(how, External) and how.path.endswith(".SUM"))
    return adds and given is not None and bool(gradients.holders(m, given))


def _may_bring_together(module: Module) -> bool:
    """Whether some name in a file, beside those that it imports or assigns, may bring models
    together."""
    nodes = list(syntax.walk(module.tree))
    numbers = {
        id(node.func)
        for node in nodes
        if isinstance(node, syntax.Call)
        and node.args
        and _NUMBERS.search(syntax.unparse(node.args[0]))
    }
    own = {one.id for one in nodes if isinstance(one, syntax.Name) and _is_stored(one)}
    for node in nodes:
        name = getattr(node, "id", None) or getattr(node, "attr", None) or ""
        if id(node) in numbers or not isinstance(name, str) or name in own:
            continue
        if _TOGETHER.search(name):
            return True
    return False


def _keeps_each(module: Module) -> bool:
    """Whether a file saves something under a name that has the rank in it: each rank's own."""
    named = {
        name
        for node in syntax.walk(module.tree)
        if isinstance(node, syntax.Assign)
        for name, value in wording.pairs(node)
        if _has_rank(value)
    }
    return any(
        _has_rank(given) or wording.names(given) & named
        for node in syntax.walk(module.tree)
        if isinstance(node, syntax.Call) and _SAVES.search(wording.called(node))
        for given in (*node.args[1:], *(one.value for one in node.keywords))
    )


def _has_rank(value: syntax.expr) -> bool:
    """Whether a text, or a path, is made of the rank."""
    joined = any(
        isinstance(one, syntax.JoinedStr | syntax.BinOp | syntax.Call) for one in syntax.walk(value)
    )
    texts = any(
        isinstance(one, syntax.Constant) and isinstance(one.value, str)
        for one in syntax.walk(value)
    )
    return joined and texts and _RANK.search(syntax.unparse(value)) is not None


def _is_stored(name: syntax.Name) -> bool:
    return isinstance(name.ctx, syntax.Store)


def _forgets_wrapper(module: Module) -> bool:
    """Whether a file imports a data-parallel wrapper, and never names it."""
    nodes = list(syntax.walk(module.tree))
    imported = {
        one.asname or one.name
        for node in nodes
        if isinstance(node, syntax.ImportFrom)
        for one in node.names
        if one.name in _WRAPPERS
    }
    return bool(imported) and not any(
        isinstance(one, syntax.Name) and one.id in imported for one in nodes
    )
