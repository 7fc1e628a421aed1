"""Whether ranks train together."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from tcstatic.runtime.probes.contact import Contact, in_parts, joins, keeps_apart


def test_what_is_sent_between_the_forward_and_the_step_brings_ranks_together() -> None:
    contact = Contact()
    contact.brings(torch.zeros(8))
    assert contact.met
    contact.model_begins()
    assert not contact.met
    contact.brings([torch.zeros(1), torch.zeros(4)])
    contact.model_begins()  # another one, on the way to the same step
    assert contact.met
    contact.step_ends()
    contact.model_begins()
    assert not contact.met


def test_single_numbers_and_objects_do_not() -> None:
    contact = Contact()
    contact.model_begins()
    for value in (torch.zeros(()), [torch.zeros(1)] * 2, [None, 3], None, "text"):
        contact.brings(value)
    assert not contact.met


def test_what_models_and_parameters_say_themselves() -> None:
    plain = SimpleNamespace()
    assert not keeps_apart([plain]) and not joins([plain]) and not in_parts([torch.zeros(2)])
    assert keeps_apart([plain, SimpleNamespace(require_backward_grad_sync=False)])
    assert joins([SimpleNamespace(_join_config=SimpleNamespace(enable=True))])
    assert in_parts([SimpleNamespace(placements=())])
