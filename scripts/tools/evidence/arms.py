# SPDX-License-Identifier: Apache-2.0
"""The arms of the experiments: settings of train.yaml that differ in one thing each."""

from __future__ import annotations

from typing import Any

Settings = dict[str, Any]

# a network that one CPU core trains in minutes; adversaries begin at the same fractions of a run as in train.yaml.
# In float32 everywhere, for not every machine computes in half precision
SMALL: Settings = {"features": 8, "critic_features": 8, "spacing": 3.0, "patch_size": 32, "epochs": 60, "amp": False}
NO_VAT: Settings = {"lambda_vat": 0}
NO_CRITIC: Settings = {"lambda_critic": 0}
PAPERS_CRITIC: Settings = {
    "critic_sees": "mask",
    "critic_judges": "source",
    "critic_starts_from_certainty": False,
    "critic_stride": 1,
    "critic_spoilt_masks": False,
}
# VAT with T = Y and a perturbation too small to matter is cross-entropy: D_KL(Y || sigmoid(F(x))) = BCE(F(x), Y)
CROSS_ENTROPY: Settings = {"vat_epsilon": 1e-9}

ALONE, WITH_VAT = "Dice", "Dice, VAT"
WITH_CROSS_ENTROPY, WITH_RANDOM = "Dice, cross-entropy", "Dice, random perturbation"
ARMS: dict[str, Settings] = {
    ALONE: NO_VAT | NO_CRITIC,
    WITH_CROSS_ENTROPY: CROSS_ENTROPY | NO_CRITIC,
    WITH_RANDOM: {"vat_direction": "random"} | NO_CRITIC,
    WITH_VAT: NO_CRITIC,
    "Dice, the paper's critic": NO_VAT | PAPERS_CRITIC,
    "Dice, critic of the correctness": NO_VAT,
    "Dice, VAT, critic of the correctness": {},
}

# VAT and its controls, which are compared with it
VAT_FIRST = (WITH_VAT, WITH_CROSS_ENTROPY, WITH_RANDOM)

# the levers of variety and smoothness, each by itself beside VAT, without a critic
DROPPED = "modalities dropped"
BESIDE_VAT: dict[str, Settings] = {
    "lesions of others": {"lesion_mix_prob": 0.3},
    "wider turns and zooms": {"max_turn": 0.4, "max_zoom": 0.25},
    "more changes of intensity": {"intensity_prob": 0.1},
    DROPPED: {"drop_modality_prob": 0.15},
    "more patches of tumour": {"tumour_patches": 0.33},
    "mean of weights": {"weight_average": 0.01},
    "weight decay": {"weight_decay": 0.01},
    "dropout": {"network_def#dropout": 0.1},
    "VAT from the start": {"vat_start": 0},
    "VAT of twice the size": {"vat_epsilon": 0.06},
    "VAT of five times the weight": {"lambda_vat": 1.0},
    "cross-entropy of that weight": CROSS_ENTROPY | {"lambda_vat": 1.0},
}
LEVERS = {name: lever | NO_CRITIC for name, lever in BESIDE_VAT.items()}


def schedule(steps: int) -> Settings:
    """Returns when the adversaries begin in a run of so many steps."""
    return {"vat_start": steps // 5, "critic_start": steps * 4 // 5, "critic_ramp": steps // 15}
