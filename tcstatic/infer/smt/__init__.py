"""Positive and negative contexts -> a precondition; implication between preconditions.

from tcstatic.infer.smt import Example, learn

learned = learn([Example({"stage": "train"}, True), Example({"stage": "eval"}, False)])
to_text(learned.general)  # stage == 'train'
"""

from tcstatic.errors import Undecided, Unlearnable
from tcstatic.infer.smt.deciding import Domain, equivalent, implies, satisfiable
from tcstatic.infer.smt.examples import Example, Learned
from tcstatic.infer.smt.learning import learn
from tcstatic.infer.smt.literals import Atom, default_cost

__all__ = [
    "Atom",
    "Domain",
    "Example",
    "Learned",
    "Undecided",
    "Unlearnable",
    "default_cost",
    "equivalent",
    "implies",
    "learn",
    "satisfiable",
]
