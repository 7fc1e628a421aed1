"""Why some mutants of `tests.benchmarks.injecting` are not found, or not at the mutated line.

Each reason says how it stands with the mutant:

- *by design*: healthy programs do the same on purpose, and nothing tells them apart;
- *another line*: it is found; the line that is named is where the fault shows, or can be mended;
- *missed*: a fault that lint or run could tell, and does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

BY_DESIGN, ANOTHER_LINE, MISSED = "by design", "another line", "missed"
STANDINGS: Final = (BY_DESIGN, ANOTHER_LINE, MISSED)


@final
@dataclass(frozen=True, slots=True)
class Reason:
    """How it stands with a mutant that survives, and why."""

    standing: str
    why: str

    def __str__(self) -> str:
        return f"{self.standing}: {self.why}"


def _meant(why: str) -> Reason:
    return Reason(BY_DESIGN, why)


def _named(why: str) -> Reason:
    return Reason(ANOTHER_LINE, why)


def _missed(why: str) -> Reason:
    return Reason(MISSED, why)


_FLOW: Final = _missed(
    "the summand comes from lists, dicts or attributes that lint does not follow, and the rest of "
    "the loss trains the same parameters"
)
_TIED: Final = _missed("the weights behind the cut are tied, and trained through their other use")
_BRANCH: Final = _meant(
    "one of several ways through a network is cut, as a stopped gradient is; all parameters are "
    "trained by another way"
)
_ORDER: Final = _meant("examples in a fixed order: data without an order of their own may be")
_SAMPLES: Final = _meant(
    "a generator draws a few samples in train mode: its answers are seen, not scored"
)
_LOOP: Final = _missed(
    "the network is one of several that a loop over a list of them evaluates, each in no loop over "
    "data"
)
_METRIC: Final = _missed(
    "a measure of the evaluation is a table of all pairs: only losses of a backward are watched"
)
_OTHER_WAY: Final = _missed(
    "a softmax in a loss that is written by hand, or in attention, has no "
    "label beside it that shows where the classes are"
)

# By operator, or by operator, program and line where mutants of one operator differ.
REASONS: Final[dict[str | tuple[str, str, int], Reason]] = {
    "all-data-for-all": _missed("nothing compares which part of the data each rank reads"),
    "backward-of-a-part": _meant("the total is used for more than being shown"),
    "backward-twice": _meant(
        "each of the two backwards has a forward of its own, as parts of a large batch have"
    ),
    "batch-not-first": _missed("nothing asks whether one example's output depends on the others"),
    "column-into-loss": _METRIC,
    "data-of-input": _BRANCH,
    ("data-of-input", "word_language_model.py", 58): _TIED,
    "detach-in-forward": _TIED,
    "detach-part-of-loss": _FLOW,
    "drop-clearing": _named("told where the optimizer steps"),
    "drop-log-softmax": _FLOW,
    "drop-mode": _meant(
        "a model whose weights were loaded may be trained in eval mode, so that its statistics stay"
    ),
    ("backward-twice", "amp_recipe.py", 37): _missed(
        "a scaler makes another number of the loss for each of the two"
    ),
    ("drop-mode", "dcgan.py", 113): _SAMPLES,
    ("drop-mode", "spectral_gan.py", 77): _SAMPLES,
    ("drop-mode", "swa_ema.py", 41): _LOOP,
    "drop-parameters": _named("told where the other group is given, or the optimizer is made"),
    "drop-resumed-state": _missed("code that is not known may load the weights"),
    "drop-schedule": _named("told where the optimizer steps"),
    "drop-shuffle": _ORDER,
    "drop-target-update": _meant("a network that never follows another one is a teacher, too"),
    ("drop-target-update", "swa_ema.py", 32): _named("told where the average is made"),
    "drop-update": _missed("a short training in a function of its own"),
    ("drop-update-bn", "swa_ema.py", 37): _named("told where the averaged network is evaluated"),
    "drop-update-bn": _meant(
        "an exponential average follows closely, and so do its running statistics"
    ),
    "drop-wrapper": _meant("each rank trains a model of its own, as populations do"),
    "freeze-a-part": _missed(
        "the text freezes or thaws elsewhere as well, or hands the model on: lint does not decide"
    ),
    "layer-without-gradients": _TIED,
    "loss-arguments-swapped": _missed(
        "a loss of the evaluation has no gradient, by which its two sides could be told apart"
    ),
    "mode-of-other-model": _named("told where the model is evaluated"),
    "model-made-again": _named("told where the optimizer steps"),
    "no-rate": _meant("the program sets another rate itself, after the first epochs"),
    "no-shuffle": _ORDER,
    "number-in-loss": _FLOW,
    "optimizer-each-batch": _missed(
        "it steps with a closure, trains an input, or is made in a generator"
    ),
    "optimizer-of-a-part": _meant("part of a model is trained, and the rest stays as it was made"),
    "optimizer-of-other-model": _named("told where the optimizer steps"),
    "optimizer-takes-other-model-too": _meant(
        "two optimizers hold one parameter, as two losses of a shared trunk may have it"
    ),
    ("optimizer-takes-other-model-too", "dcgan.py", 81): _named(
        "told where the optimizer steps with gradients that were not cleared"
    ),
    "other-mode": _meant(
        "train() right before an evaluation outside of a loop over data, as for Monte Carlo dropout"
    ),
    ("other-mode", "spectral_gan.py", 77): _SAMPLES,
    ("other-mode", "swa_ema.py", 41): _LOOP,
    ("other-mode", "transfer_learning.py", 52): _meant(
        "a model whose weights were loaded is trained in eval mode, so that its statistics stay"
    ),
    "other-model-is-the-same": _missed("a model is loaded from itself under another name"),
    "probabilities-for-logs": _missed("a loss written by hand, not one of torch's"),
    "same-numbers-on-all": _missed("nothing compares the batches that ranks draw for themselves"),
    "same-part-for-all": _missed("nothing compares which part of the data each rank reads"),
    "schedule-each-batch": _meant("a decay without an end has no unit that it must be counted in"),
    "schedule-each-epoch": _missed("a schedule of a known length is not used up"),
    "schedule-of-other-optimizer": _meant("schedules of one optimizer may be chained"),
    "schedule-twice": _missed(
        "ReduceLROnPlateau is told one loss twice, which it takes for two epochs"
    ),
    "scheduler-first-in-epoch": _missed("the loop that steps may be empty for all that is known"),
    "seed-each-batch": _missed("a generator of the program's own is seeded anew in each step"),
    "shape-left": _METRIC,
    "softmax-over-batch": _OTHER_WAY,
    "step-after-loop": _missed("other code may use the gradients that the loop leaves"),
    "step-on-one-rank": _named("told where the ranks part, at the backward or the step beside it"),
    "tied-by-data": _missed("nothing tells that two parameters share one memory"),
    "weights-changed-on-one-rank": _named("told at the first step at which the replicas differ"),
}


def reason_of(operator: str, script: str, line: int) -> Reason | None:
    """Return why a mutant survives, if that is known."""
    return REASONS.get((operator, script, line)) or REASONS.get(operator)
