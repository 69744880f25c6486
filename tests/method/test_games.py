# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch

from scripts.method.networks import VolumetricCritic
from scripts.method.spoilt_masks import SpoiltMasks
from tests.builders import (
    make_batch,
    make_cases,
    make_critic,
    make_loader,
    make_reciprocal_trainer,
    make_voxelwise_segmenter,
)


def play(judges: str) -> float:
    """Trains a segmenter by its critic alone; returns the change of its mean prediction inside the tumour core.

    The segmenter sees brightness voxel by voxel and takes the whole tumour for its core, of which it is sure.
    """
    segmenter, critic, spoilt_masks = make_voxelwise_segmenter(), make_critic(), None
    if judges == "correctness":
        torch.manual_seed(1)
        critic = VolumetricCritic(sees="image_and_mask", starts_from_certainty=True, channels=(4, 8, 8))
        spoilt_masks = SpoiltMasks()
    image, label = make_batch(4)
    core = label[:, 0] > 0
    before = segmenter(image).sigmoid()[:, 0][core].mean().item()
    make_reciprocal_trainer(
        segmenter,
        critic,
        loader=make_loader(make_cases(4)),
        epochs=20,
        judges=judges,
        balanced=judges == "correctness",
        learning_rates=(3e-2, 3e-3),
        lambda_dice=0.0,
        lambda_critic=1.0,
        critic_start=16,
        spoilt_masks=spoilt_masks,
    ).run()
    return segmenter(image).sigmoid()[:, 0][core].mean().item() - before


def test_the_game_of_the_source_empties_the_mask_and_that_of_the_correctness_does_not() -> None:
    assert play("source") < -0.3
    assert play("correctness") > -0.15
