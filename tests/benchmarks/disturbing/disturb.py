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
ARMED = []  # what the next collective of this rank does wrong


def seed(number):
    """The generator of this rank, seeded as it should be, or as another rank's is: ``rng:0``."""
    torch.manual_seed(SEED + number)


def due(kind, step, rank):
    """Whether something of a kind goes wrong in a step of a rank."""
    return bool(KIND) and (kind, str(step), str(rank)) == (KIND, STEP, RANK)


def row(index, batch, rank, world, who):
    """The row that `who` reads for an index of a part: that of its neighbour, if disturbed."""
    if due("batch", index // world // batch, who):
        return index - rank + (rank + 1) % world
    return index


def operation(step, rank):
    """How a number is brought together over the ranks."""
    return dist.ReduceOp.MAX if due("argument", step, rank) else dist.ReduceOp.SUM


def lossy(bring_together):
    """The same collective over a link, or on a card, that may lose something."""

    def all_reduce(tensor, *args, **kwargs):
        done = bring_together(tensor, *args, **kwargs)
        if ARMED:
            ARMED.clear()
            corrupt(tensor)
        return done

    return all_reduce


def corrupt(tensor, by=0.5):
    """Another number is in the memory of this rank's part: nothing has counted a write to it."""
    local(tensor).detach().data.view(-1)[0] += by


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
    elif KIND == "result" and not NAME:
        ARMED.append(True)
    elif KIND == "result":

        def altered(module, given, output):
            corrupt(output)

        OUTPUTS.append(dict(model.named_modules())[NAME].register_forward_hook(altered))


def backward(model, optimizer):
    """Gradients are ready."""
    if KIND == "gradient":
        corrupt(dict(model.named_parameters())[NAME].grad)
    elif KIND == "rate":
        for group in optimizer.param_groups:
            group["lr"] *= 1.5


def stepped(model, optimizer):
    """A step is over."""
    if KIND == "weight":
        corrupt(dict(model.named_parameters())[NAME], 0.01)
    elif KIND == "state":
        hit = dict(model.named_parameters())[NAME]
        corrupt(next(iter(optimizer.state[hit].values())))
    elif KIND == "buffer":
        corrupt(dict(model.named_buffers())[NAME])


dist.all_reduce = lossy(dist.all_reduce)
