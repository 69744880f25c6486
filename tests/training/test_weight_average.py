# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import torch
from ignite.engine import Events
from torch import nn

from scripts.training.checkpoints import BestWeightsHandler
from scripts.training.weight_average import WeightAverage, WeightAverageHandler
from tests.builders import make_critic, make_evaluator, make_reciprocal_trainer, make_voxelwise_segmenter
from tests.tolerances import FLOAT32


def test_the_average_is_the_mean_at_first_and_then_exponential_and_is_what_is_validated_and_saved(
    tmp_path: Path,
) -> None:
    network, seen, judged = make_voxelwise_segmenter(), [], []
    saver = BestWeightsHandler(str(tmp_path), networks={"model": network})
    evaluator = make_evaluator(network, handlers=[saver])
    trainer = make_reciprocal_trainer(network, make_critic(), epochs=4, lambda_critic=0.0, learning_rates=(0.1, 0.1))
    WeightAverageHandler(WeightAverage(network, momentum=0.25), validator=evaluator).attach(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(network.weight.detach().clone()))
    evaluator.add_event_handler(Events.EPOCH_STARTED, lambda: judged.append(network.weight.detach().clone()))
    trainer.run()
    average = seen[0].double()
    for step, weights in enumerate(seen[1:], start=2):
        average += max(0.25, 1 / step) * (weights - average)
    evaluator.run()
    # float32: each step rounds up to three times, and leaves at most three quarters of the earlier errors
    torch.testing.assert_close(judged[0].double(), average, rtol=3 * FLOAT32, atol=0)
    assert torch.equal(torch.load(tmp_path / "model.pt", weights_only=True)["weight"], judged[0])
    assert torch.equal(network.weight, seen[-1])
    assert (judged[0] - seen[-1]).abs().max() > 0.01


def test_without_a_momentum_or_before_the_first_step_the_weights_are_validated_as_they_are() -> None:
    for momentum in (0.0, 0.5):
        network = make_voxelwise_segmenter()
        evaluator = make_evaluator(network)
        average = WeightAverage(network, momentum=momentum)
        WeightAverageHandler(average, validator=evaluator).attach(make_reciprocal_trainer(network, make_critic()))
        with torch.no_grad():
            network.weight.fill_(3)  # as weights that are loaded
        evaluator.add_event_handler(Events.EPOCH_STARTED, _check_weight, network, 3)
        evaluator.run()
        assert bool(average.state_dict()) == bool(momentum)


def _check_weight(network: nn.Conv3d, expected: float) -> None:
    assert (network.weight == expected).all()
