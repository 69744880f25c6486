# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset, PersistentDataset
from monai.transforms import Compose, RandFlipd, RandSpatialCropd, SpatialPadd
from monai.utils import CommonKeys as Keys

from scripts.training.seeding import EpochSeedHandler
from tests.builders import (
    make_adversarial_trainer,
    make_cases,
    make_critic,
    make_reciprocal_trainer,
    make_voxelwise_segmenter,
)


def test_each_process_draws_its_own_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, draws = Dataset(make_cases(1), RandFlipd("image", 0.5)), []
    for rank in (0, 1):
        monkeypatch.setattr("ignite.distributed.get_rank", lambda rank=rank: rank)
        trainer = make_adversarial_trainer()
        EpochSeedHandler(dataset, seed=0)(trainer)
        draws.append((torch.rand(1).item(), dataset.transform.R.rand()))
    assert draws[0][0] != draws[1][0]
    assert draws[0][1] != draws[1][1]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epochs_patches_depend_on_seed_and_epoch_alone(workers: int, tmp_path: Path) -> None:
    keys = ["image", "label"]
    random_patches = Compose([SpatialPadd(keys, (24,) * 3), RandSpatialCropd(keys, (16,) * 3), RandFlipd(keys, 0.5)])
    dataset = PersistentDataset(make_cases(6), random_patches, cache_dir=tmp_path)
    loader = DataLoader(dataset, batch_size=2, shuffle=True, num_workers=workers)

    def patches(seed: int, *, first_epoch: int, last_epoch: int) -> dict[int, torch.Tensor]:
        torch.seed()  # what came before must not matter
        seen: dict[int, list[torch.Tensor]] = {}
        trainer = make_reciprocal_trainer(
            make_voxelwise_segmenter(), make_critic(), loader=loader, epochs=last_epoch, lambda_critic=0.0
        )
        trainer.state.epoch = first_epoch - 1
        EpochSeedHandler(dataset, seed=seed).attach(trainer)
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED,
            lambda engine: seen.setdefault(engine.state.epoch, []).append(engine.state.output[Keys.IMAGE]),
        )
        trainer.run()
        return {epoch: torch.cat(images) for epoch, images in seen.items()}

    whole, resumed = patches(0, first_epoch=1, last_epoch=3), patches(0, first_epoch=2, last_epoch=3)
    assert whole.keys() == {1, 2, 3}
    assert resumed.keys() == {2, 3}
    assert all(torch.equal(resumed[epoch], whole[epoch]) for epoch in resumed)
    other = patches(7, first_epoch=1, last_epoch=1)
    assert not any(torch.equal(whole[1], images) for images in (whole[2], whole[3], other[1]))
