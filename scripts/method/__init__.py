# SPDX-License-Identifier: Apache-2.0
"""The method of the paper: networks, losses, virtual adversarial training and the reciprocal step.

Also what travels with the step: schedules, precision, accumulation over batches and processes.
"""

import lazy_loader

# what configs name, imported when it is first used: a command starts with no more than it needs
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "losses": ["AdversarialLoss", "CriticLoss"],
        "networks": ["Segmenter", "VolumetricCritic", "with_initial_foreground_probability"],
        "precision": ["use_mixed_precision"],
        "reciprocal_step": ["ReciprocalStep"],
        "spoilt_masks": ["SpoiltMasks"],
        "synchronised_norm": ["synchronised"],
        "vat": ["UnlabelledVirtualAdversarialHandler", "VirtualAdversarialHandler"],
    },
)
