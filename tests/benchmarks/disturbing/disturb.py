"""One fault on one rank, as a faulty card or a library would make it: no source shows it.

``DISTURB=KIND:STEP:RANK:NAME`` in the environment says what is disturbed, in which optimizer step
(counted from 0), on which rank, and the parameter that it hits.
"""

import os

import torch

KIND, STEP, RANK, NAME = (os.environ.get("DISTURB", "") + ":::").split(":")[:4]


def at(place, step, rank, model, optimizer):
    """Disturb what is due at a place: "backward" (gradients are ready) or "step" (it is over)."""
    if not KIND or step != int(STEP) or rank != int(RANK):
        return
    hit = dict(model.named_parameters())[NAME]
    with torch.no_grad():
        if place == "backward" and KIND == "gradient":
            hit.grad.view(-1)[0] += 0.5
        elif place == "backward" and KIND == "rate":
            for group in optimizer.param_groups:
                group["lr"] *= 1.5
        elif place == "step" and KIND == "weight":
            hit.data.view(-1)[0] += 0.01
        elif place == "step" and KIND == "state":
            next(iter(optimizer.state[hit].values())).view(-1)[0] += 0.5
