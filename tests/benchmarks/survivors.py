"""Why some mutants of `tests.benchmarks.injecting` are not found, or not at the mutated line."""

from __future__ import annotations

from typing import Final

_FLOW: Final = (
    "the value reaches the loss through lists, dicts or attributes that lint does not follow"
)
_TAKEN: Final = "programs do this on purpose, and nothing in it or in its run tells this one apart"
_NEEDED: Final = "no invariant watches it yet: "

# By operator, or by operator, program and line where mutants of one operator differ.
REASONS: Final[dict[str | tuple[str, str, int], str]] = {
    "backward-of-a-part": "the total is used for more than being shown",
    "backward-twice": "no optimizer steps: the update is written by hand",
    "batch-not-first": _NEEDED + "that one example's output does not depend on the others",
    "data-of-input": "weights behind the cut are tied, or reach the loss another way: all are "
    + "trained",
    "detach-part-of-loss": _FLOW,
    "drop-clearing": "each step is told at its own line, where clearing is missing before",
    "drop-log-softmax": _FLOW,
    "drop-mode": "a generator draws samples in train mode: " + _TAKEN,
    "drop-parameters": "told where the model is made or trained; " + _TAKEN,
    "drop-resumed-state": "code that is not known may load the weights",
    "drop-schedule": "told where the optimizer steps",
    "drop-shuffle": "data without an order of its own: " + _TAKEN,
    "drop-target-update": "a network that never follows another one is a teacher, too; an average "
    + "is told where the optimizer steps",
    "drop-update": "a short training in a function of its own, cleared before each backward",
    "drop-update-bn": "an exponential average follows closely, and so do its statistics: " + _TAKEN,
    "drop-wrapper": "each rank trains a model of its own: populations do so on purpose",
    "freeze-a-part": "the text freezes or thaws elsewhere as well, or hands the model on",
    "layer-without-gradients": "weights behind it are tied: all are trained",
    "mode-of-other-model": "told where the model is evaluated",
    "model-made-again": "told where the optimizer steps",
    "no-rate": "code that is not known may set the rate",
    "number-in-loss": _FLOW,
    "optimizer-each-batch": "it steps with a closure, trains an input, or lies in a generator",
    "optimizer-of-a-part": _TAKEN,
    "optimizer-of-other-model": "told where the optimizer steps",
    "optimizer-takes-other-model-too": "each of the two steps from a backward of its own",
    "other-mode": "the model was loaded, or draws samples; else told where it is evaluated",
    "other-model-is-the-same": _NEEDED + "a model is loaded from itself under another name",
    "probabilities-for-logs": "a loss written by hand, not one of torch's",
    "all-data-for-all": _NEEDED + "ranks read different parts of the data",
    "same-numbers-on-all": _NEEDED + "ranks draw different batches",
    "same-part-for-all": _NEEDED + "ranks read different parts of the data",
    "schedule-each-batch": "a decay without an end: " + _TAKEN,
    "schedule-each-epoch": _NEEDED + "a schedule of a known length is not used up",
    "schedule-of-other-optimizer": "schedules that differ may be chained on purpose",
    "schedule-twice": "ReduceLROnPlateau is told one loss twice, which it takes as two epochs",
    "scheduler-first-in-epoch": "the loop that steps may be empty for all that is known",
    "seed-each-batch": _NEEDED + "a generator of the program's own is seeded anew in each step",
    "shape-left": "the data, or an accuracy, are a table of all pairs: only losses are watched",
    "softmax-over-batch": "attention, or a target that no label stands beside",
    "step-after-loop": "another branch or code that is not known may use the gradients",
    "step-on-one-rank": "told where the ranks part, at the backward or the step beside it",
    "tied-by-data": _NEEDED + "two parameters share one memory",
    "weights-changed-on-one-rank": "told at the first step at which the replicas differ",
}


def reason_of(operator: str, script: str, line: int) -> str:
    """Return why a mutant survives; nothing where that is not known."""
    return REASONS.get((operator, script, line)) or REASONS.get(operator, "")
