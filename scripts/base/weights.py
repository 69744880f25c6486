# SPDX-License-Identifier: Apache-2.0
"""Loading of weights (plain state dicts), with errors that say what does not fit."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence

import torch
from torch import nn

from scripts.base.atomic_files import is_intact_archive
from scripts.base.errors import BundleError


def load_weights(network: nn.Module, path: str) -> nn.Module:
    """Loads a plain state dict into a network.

    Returns:
        The network.

    Raises:
        BundleError: if there is no such file, it is no checkpoint, or it belongs to another architecture or width.
    """
    if not os.path.isfile(path):
        raise BundleError(f"no weights at {path}: train first, or name others with --ckpt_dir or --initial_weights.")
    try:
        if not is_intact_archive(path):
            raise ValueError("its checksums differ")
        weights = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # damaged bytes make pickle raise almost any error
        raise BundleError(f"{path} is no checkpoint, or is damaged ({type(error).__name__}): copy it again.") from error
    own = network.state_dict()
    if own.keys() != weights.keys():
        names = ", ".join(sorted(own.keys() ^ weights.keys())[:3])
        raise BundleError(
            f"{path} is of another architecture than the config's network; they differ in {names} ...; "
            "give weights of this architecture, or the config of these weights."
        )
    for name, tensor in own.items():
        if tensor.shape != weights[name].shape:
            raise BundleError(
                f"{path} is of another width: {name} has shape {tuple(weights[name].shape)} there and "
                f"{tuple(tensor.shape)} in the config's network; set --features (or --critic_features) to match."
            )
    network.load_state_dict(weights)
    return network


def load_copies(network: nn.Module, paths: Sequence[str]) -> list[nn.Module]:
    """Returns a copy of a network for each checkpoint, in eval mode and on the network's device; see `load_weights`."""
    return [load_weights(copy.deepcopy(network), path).eval() for path in paths]
