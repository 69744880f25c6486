# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from monai.engines import AdversarialTrainer, Trainer


def autocast(engine: Trainer) -> torch.autocast:
    """The trainer's mixed precision, on whatever device it runs: off unless `amp`, of `amp_kwargs`' dtype if given."""
    return torch.autocast(engine.state.device.type, enabled=engine.amp, **engine.amp_kwargs)


def segmenter_scaler(engine: Trainer) -> torch.amp.GradScaler:
    """The gradient scaler of the trained network: the trainer's own in float16, one that does nothing otherwise."""
    return _own_or_idle(engine.state.g_scaler if isinstance(engine, AdversarialTrainer) else engine.scaler, engine)


def critic_scaler(engine: AdversarialTrainer) -> torch.amp.GradScaler:
    """The gradient scaler of the critic, as `segmenter_scaler`."""
    return _own_or_idle(engine.state.d_scaler, engine)


def _own_or_idle(scaler: torch.amp.GradScaler | None, engine: Trainer) -> torch.amp.GradScaler:
    # AdversarialTrainer makes scalers for every `amp`, but bfloat16 has float32's range and needs none
    if scaler is None or (isinstance(engine, AdversarialTrainer) and engine.amp_kwargs.get("dtype") == torch.bfloat16):
        return torch.amp.GradScaler(engine.state.device.type, enabled=False)
    return scaler
