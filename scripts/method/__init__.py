# SPDX-License-Identifier: Apache-2.0
"""The method of the paper: networks, losses, virtual adversarial training and the reciprocal step.

Also what travels with the step: schedules, precision, accumulation over batches and processes.
"""

from scripts.method.losses import AdversarialLoss, CriticLoss
from scripts.method.networks import VolumetricCritic, with_initial_foreground_probability
from scripts.method.reciprocal_step import ReciprocalStep
from scripts.method.synchronised_norm import synchronised
from scripts.method.vat import UnlabelledVirtualAdversarialHandler, VirtualAdversarialHandler

__all__ = [
    "AdversarialLoss",
    "CriticLoss",
    "ReciprocalStep",
    "UnlabelledVirtualAdversarialHandler",
    "VirtualAdversarialHandler",
    "VolumetricCritic",
    "synchronised",
    "with_initial_foreground_probability",
]
