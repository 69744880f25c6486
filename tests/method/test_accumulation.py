# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from ignite.engine import State
from torch import nn

from scripts.method.accumulation import AccumulationWindow, accumulation_window, average_gradients, step


def make_state(iteration: int, epoch_length: int) -> State:
    return State(iteration=iteration, epoch_length=epoch_length)


def test_windows_begin_anew_with_each_epoch() -> None:
    windows = [accumulation_window(make_state(iteration, 5), 2) for iteration in range(1, 11)]
    pair = [AccumulationWindow(2, 0), AccumulationWindow(2, 1)]
    epoch = [*pair, *pair, AccumulationWindow(1, 0)]
    assert windows == epoch * 2
    assert [w.begins for w in epoch] == [True, False, True, False, True]
    assert [w.ends for w in epoch] == [False, True, False, True, True]


def test_without_accumulation_each_batch_is_a_step() -> None:
    assert {accumulation_window(make_state(iteration, 3), 1) for iteration in range(1, 8)} == {AccumulationWindow(1, 0)}


def make_network(gradient: float) -> tuple[nn.Linear, torch.optim.SGD]:
    network = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(network.weight)
    network.weight.grad = torch.tensor([[gradient, 1.0]])
    return network, torch.optim.SGD(network.parameters(), lr=1)


def test_gradients_become_their_mean() -> None:
    network, _ = make_network(3.0)
    average_gradients(network, batches=4)
    assert network.weight.grad is not None
    assert network.weight.grad.tolist() == [[0.75, 0.25]]


@pytest.mark.parametrize("gradient", [torch.nan, torch.inf, -torch.inf])
def test_a_step_is_taken_only_with_a_finite_gradient(gradient: float) -> None:
    for value, taken in ((3.0, True), (gradient, False)):
        network, optimizer = make_network(value)
        assert step(network, optimizer, scaler=torch.amp.GradScaler("cpu", enabled=False)) == taken
        assert network.weight.tolist() == ([[-3.0, -1.0]] if taken else [[0.0, 0.0]])


def test_an_overflow_in_float16_counts_once_the_scale_is_down() -> None:
    network, optimizer = make_network(torch.inf)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(torch.zeros(()))  # which makes the scale
    for scale, taken in ((4, True), (2, True), (1, False), (1, False)):
        assert scaler.get_scale() == scale
        network.weight.grad = torch.tensor([[torch.inf, 1.0]])
        assert step(network, optimizer, scaler=scaler) == taken
    assert network.weight.tolist() == [[0.0, 0.0]]
