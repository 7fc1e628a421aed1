"""One fault on one rank, as a faulty card or a library would make it: no source shows it.

``DISTURB=KIND:STEP:RANK:NAME`` in the environment says what is disturbed, in which optimizer step
(counted from 0), on which rank, and the parameter, buffer or module that it hits. ``SEED`` varies
what is drawn, so that healthy runs are not all the same one.
"""

import os

import torch
import torch.distributed as dist

KIND, STEP, RANK, NAME = (os.environ.get("DISTURB", "") + ":::").split(":")[:4]
SEED = 1000 * int(os.environ.get("SEED", "0"))
OUTPUTS = []  # handles of hooks that alter what a module gives


def seed(number):
    """The generator of this rank, seeded as it should be, or as another rank's is: ``rng:0``."""
    torch.manual_seed(SEED + number)


def due(kind, step, rank):
    """Whether something of a kind goes wrong in a step of a rank."""
    return bool(KIND) and (kind, str(step), str(rank)) == (KIND, STEP, RANK)


def row(index, batch, rank, world):
    """The row that a rank reads for an index of its part: that of its neighbour, if disturbed."""
    if due("batch", index // world // batch, rank):
        return index - rank + (rank + 1) % world
    return index


def operation(step, rank):
    """How a number is brought together over the ranks."""
    return dist.ReduceOp.MAX if due("argument", step, rank) else dist.ReduceOp.SUM


def reduced(tensor, step, rank):
    """What ranks have brought together arrives."""
    if due("result", step, rank) and not NAME:
        tensor.view(-1)[0] += 0.5


def local(tensor):
    """The part of a tensor that lies on this rank."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def at(place, step, rank, model, optimizer):
    """Disturb what is due at a place: "begin" (of a step), "backward" (gradients are ready) or
    "step" (it is over)."""
    while OUTPUTS:
        OUTPUTS.pop().remove()
    if not due(KIND, step, rank):
        return
    with torch.no_grad():
        if place == "begin":
            begins(model)
        elif place == "backward":
            backward(model, optimizer)
        else:
            stepped(model, optimizer)


def begins(model):
    """A step begins."""
    if KIND == "rng":
        seed(int(NAME))
    elif KIND == "result" and NAME:

        def altered(module, given, output):
            with torch.no_grad():
                local(output).view(-1)[0] += 0.5

        OUTPUTS.append(dict(model.named_modules())[NAME].register_forward_hook(altered))


def backward(model, optimizer):
    """Gradients are ready."""
    if KIND == "gradient":
        local(dict(model.named_parameters())[NAME].grad).view(-1)[0] += 0.5
    elif KIND == "rate":
        for group in optimizer.param_groups:
            group["lr"] *= 1.5


def stepped(model, optimizer):
    """A step is over."""
    if KIND == "weight":
        local(dict(model.named_parameters())[NAME].data).view(-1)[0] += 0.01
    elif KIND == "state":
        hit = dict(model.named_parameters())[NAME]
        local(next(iter(optimizer.state[hit].values()))).view(-1)[0] += 0.5
    elif KIND == "buffer":
        dict(model.named_buffers())[NAME].view(-1)[0] += 0.5
