# SPDX-License-Identifier: Apache-2.0

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
    """The networks that the sites of a federated training have in common, as one; called like the segmenter.

    Args:
        segmenter: whose weights are `segmenter.*`.
        critic: whose weights are `critic.*`; None where each site keeps its own.
    """

    def __init__(self, segmenter: nn.Module, critic: nn.Module | None = None) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.critic = critic

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Gives the segmenter's logits (B, regions, H, W, D) for images (B, modalities, H, W, D)."""
        return self.segmenter(image)


class ReciprocalAlgo(MonaiAlgo):
    """MONAI's federated client for this bundle, whose trainer has two networks; works in any framework.

    One workflow gives trainer and evaluator. The trainer lives as long as the client: its epochs and iterations, and
    with them the learning rate and the start of VAT and critic, run on over the rounds, and the optimisers' states
    stay at the site.

    Args:
        bundle_root: the bundle's folder.
        config_files: train.yaml and overlays, federated.yaml among them, relative to the bundle.
        settings: that the site sets, such as `dataset_dir`.
        options: of `MonaiAlgo`, such as `send_weight_diff` and `config_filters_filename`.
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
        # MonaiAlgo takes a SupervisedTrainer only, so the workflow is given to it as that of the evaluator
        super().__init__(
            bundle_root,
            config_train_filename=None,
            config_evaluate_filename=list(config_files),
            eval_kwargs={"bundle_root": bundle_root} | dict(settings or {}),
            **options,
        )

    def initialize(self, extra: dict[str, Any] | None = None) -> None:
        """Reads the config, finds and checks the site's cases and builds trainer and evaluator.

        Raises:
            RuntimeError: of MONAI, caused by a `BundleError` for what is wrong with the site's data or settings.
        """
        super().initialize(extra)
        parser = self.eval_workflow.parser
        self.local_epochs = parser.get_parsed_content("local_epochs")
        self.trainer = parser.get_parsed_content("train#trainer")
        self.trainer.network = self.evaluator.network = shared_networks(parser)

    def get_weights(self, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Gives the change of the shared weights in this round (or the weights, without `send_weight_diff`)."""
        sent = super().get_weights(extra)
        sent.weights = averageable(sent.weights)
        return sent

    def evaluate(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Gives the Dice of received weights on the site's own held-out cases."""
        metrics = super().evaluate(data, extra)
        # MonaiAlgo numbers them like the epoch that follows; the weights after it are others
        if self.evaluator.state.best_metric_epoch == self.trainer.state.epoch + 1:
            self.evaluator.state.best_metric_epoch -= 1
        return metrics


def shared_networks(parser: ConfigParser) -> SharedNetworks:
    """Gives the config's own networks as one, the critic unless the setting `local_critic` is true."""
    critic = None if parser.get_parsed_content("local_critic") else parser.get_parsed_content("critic")
    return SharedNetworks(parser.get_parsed_content("network"), critic)


def averageable(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gives what a mean is taken of: all but BatchNorm's counts of batches, whole numbers that stay a site's own."""
    # FLARE sends no tensors in channels_last_3d
    return {name: weight.contiguous() for name, weight in weights.items() if weight.is_floating_point()}
