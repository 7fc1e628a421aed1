"""Wrapping sums of many tensors' bits at once, each number weighted by its place, by few kernels.

A large tensor is laid out in rows and is summed once along each side; a small one goes as it is.
All that comes of it is one vector, in which every piece is summed at once. How many kernels it
takes grows by two for each large tensor, and not at all with small ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import torch

_WIDTH: Final = 1024  # columns that a large tensor is laid out in
_SMALL: Final = 1 << 14  # elements; one so small is not summed beforehand
_ROW, _COLUMN, _REST = 0x9E3779B97F4A7C15 - (1 << 64), 0x2545F4914F6CDD1D, 0x5851F42D4C957F2D
_BITS: Final = (1 << 52) - 1  # what a float64 holds exactly

_Piece = tuple[int, int, Any]  # whose it is, its weight, its numbers


def weighted(views: Sequence[Any]) -> Any:
    """Return a float64 vector with a whole number for each flat view of whole numbers.

    All are on one device. Numbers that changed places, or that changed by as much up as down, show.
    """
    pieces = _in_groups(
        [piece for owner, view in enumerate(views) for piece in _pieces(owner, view)]
    )
    numbers = torch.cat([group.to(torch.int64) for group in _joined(pieces)])
    device = numbers.device
    place = torch.arange(1, numbers.numel() + 1, device=device)
    running = torch.stack((numbers, numbers * place)).cumsum(1)
    sizes = tuple(piece.numel() for _, _, piece in pieces)
    ends, before, weights = _bounds(sizes, tuple(weight for _, weight, _ in pieces), device)
    until = running[:, ends]
    sums = until.clone()
    sums[:, 1:] -= until[:, :-1]
    # The places are counted through all pieces, what is wanted is counted within each.
    values = (sums[1] - before * sums[0]) * weights
    nothing = torch.zeros(1, dtype=torch.int64, device=device)
    chosen = _owned(tuple(owner for owner, _, _ in pieces), len(views), device)
    return (torch.cat((values, nothing))[chosen].sum(0) & _BITS).to(torch.float64)


def _pieces(owner: int, view: Any) -> list[_Piece]:
    if view.element_size() == 8:
        view = view.view(torch.int32)  # round float64 have zeros in all low bits
    if view.numel() <= _SMALL:
        return [(owner, _REST, view)]
    cut = view.numel() - view.numel() % _WIDTH
    body = view[:cut].view(-1, _WIDTH)
    pieces = [
        (owner, _ROW, body.sum(1, dtype=torch.int64)),
        (owner, _COLUMN, body.sum(0, dtype=torch.int64)),
    ]
    return pieces if cut == view.numel() else [*pieces, (owner, _REST, view[cut:])]


def _in_groups(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Return pieces of one kind beside one another: torch joins those fastest."""
    return sorted(pieces, key=lambda one: str(one[2].dtype))


def _joined(pieces: Sequence[_Piece]) -> list[Any]:
    kinds = dict.fromkeys(piece.dtype for _, _, piece in pieces)
    return [torch.cat([p for _, _, p in pieces if p.dtype == kind]) for kind in kinds]


@lru_cache(maxsize=32)
def _bounds(sizes: tuple[int, ...], weights: tuple[int, ...], device: Any) -> tuple[Any, Any, Any]:
    """Return where pieces end, how many numbers are before each, and their weights; made once for
    each layout, because sending them waits for the device."""
    reached = torch.tensor(sizes).cumsum(0)
    before = reached - torch.tensor(sizes)
    return (reached - 1).to(device), before.to(device), torch.tensor(weights).to(device)


@lru_cache(maxsize=32)
def _owned(owners: tuple[int, ...], count: int, device: Any) -> Any:
    """Return a matrix with a column for each tensor: the positions of its pieces, and the one after
    all of them."""
    places: list[list[int]] = [[] for _ in range(count)]
    for position, owner in enumerate(owners):
        places[owner].append(position)
    most = max(map(len, places))
    columns = [one + [len(owners)] * (most - len(one)) for one in places]
    return torch.tensor(columns).T.contiguous().to(device)
