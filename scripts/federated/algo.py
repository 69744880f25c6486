# SPDX-License-Identifier: Apache-2.0
"""MONAI's federated client for a trainer with two networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.fl.client import MonaiAlgo
from monai.fl.utils.exchange_object import ExchangeObject
from torch import nn

CONFIG_FILES = ("configs/train.yaml", "configs/federated.yaml")


class SharedNetworks(nn.Module):
    """The networks that the sites share, as one module; calling it runs the segmenter.

    Args:
        segmenter: network whose weights are named `segmenter.*`.
        critic: network whose weights are named `critic.*`; None if each site keeps its own.
    """

    def __init__(self, segmenter: nn.Module, critic: nn.Module | None = None) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.critic = critic

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the segmenter's logits (B, regions, H, W, D) for images (B, modalities, H, W, D)."""
        return self.segmenter(image)


class ReciprocalAlgo(MonaiAlgo):
    """MONAI's federated client for this bundle, whose trainer has two networks; for any federated framework.

    One workflow provides trainer and evaluator. The trainer is kept over all rounds: its epochs and iterations
    continue, and with them the learning rate and the start of VAT and critic. The optimisers' states stay at the site.

    Args:
        bundle_root: folder of the bundle.
        config_files: train.yaml and overlays, including federated.yaml, relative to the bundle.
        settings: settings of the site, such as `dataset_dir`.
        options: arguments of `MonaiAlgo`, such as `send_weight_diff` and `config_filters_filename`.
    """

    trainer: Any
    evaluator: Any
    eval_workflow: Any

    def __init__(
        self,
        bundle_root: str,
        config_files: Sequence[str] = CONFIG_FILES,
        *,
        settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        # MonaiAlgo accepts a SupervisedTrainer only, so it receives the workflow as the evaluator's
        super().__init__(
            bundle_root,
            config_train_filename=None,
            config_evaluate_filename=list(config_files),
            eval_kwargs={"bundle_root": bundle_root} | dict(settings or {}),
            **options,
        )

    def initialize(self, extra: dict[str, Any] | None = None) -> None:
        """Reads the config, finds and checks the site's cases and creates trainer and evaluator.

        Raises:
            RuntimeError: MONAI's, caused by a `BundleError` if the site's data or settings are wrong.
        """
        super().initialize(extra)
        parser = self.eval_workflow.parser
        self.local_epochs = parser.get_parsed_content("local_epochs")
        self.trainer = parser.get_parsed_content("train#trainer")
        self.trainer.network = self.evaluator.network = shared_networks(parser)

    def get_weights(self, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Returns the change of the shared weights in this round (or the weights, without `send_weight_diff`)."""
        sent = super().get_weights(extra)
        sent.weights = averageable(sent.weights)
        return sent

    def evaluate(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Returns the Dice of the received weights on the site's held-out cases."""
        metrics = super().evaluate(data, extra)
        # MonaiAlgo assigns them to the next epoch, whose weights will be different
        if self.evaluator.state.best_metric_epoch == self.trainer.state.epoch + 1:
            self.evaluator.state.best_metric_epoch -= 1
        return metrics


def shared_networks(parser: ConfigParser) -> SharedNetworks:
    """Returns the config's networks as one module, without the critic if the setting `local_critic` is true."""
    critic = None if parser.get_parsed_content("local_critic") else parser.get_parsed_content("critic")
    return SharedNetworks(parser.get_parsed_content("network"), critic)


def averageable(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the weights that are averaged: all but BatchNorm's integer counts of batches, which stay at the site."""
    # FLARE cannot send tensors in channels_last_3d
    return {name: weight.contiguous() for name, weight in weights.items() if weight.is_floating_point()}
