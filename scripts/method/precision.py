# SPDX-License-Identifier: Apache-2.0
"""Mixed precision of a trainer: autocast and the gradient scalers of both networks."""

from __future__ import annotations

import torch
from monai.engines import AdversarialTrainer, Trainer

from scripts.base.errors import BundleError

# On CPUs. PyTorch 2.13 (oneDNN) leaves the weight gradient of a bfloat16 convolution over 1^3 or 2^3 voxels partly
# uninitialised: gradients of 1e30 in 8 of 30 untrained segmenters with patches of 16^3, 1 with 32^3, none with 48^3.
SMALLEST_BFLOAT16_PATCH = 48


def use_mixed_precision(amp: bool | str, device: torch.device | str, *, patch_size: int | None = None) -> bool:
    """Resolves the setting `amp` and prints what `auto` chose.

    Args:
        amp: True, False, or "auto": where the hardware computes in half precision, that is on GPUs and on CPUs with
            bfloat16 instructions (AMX or AVX-512). That is read from the CPU, not timed: a seeded run must repeat.
        device: of the training.
        patch_size: voxels along an edge of the patches that gradients are computed for; None without gradients.

    Raises:
        BundleError: if mixed precision is asked for on a CPU with patches for which its gradients are wrong.
    """
    on_gpu = torch.device(device).type == "cuda"
    is_safe = on_gpu or patch_size is None or patch_size >= SMALLEST_BFLOAT16_PATCH
    if amp != "auto":
        if amp and not is_safe:
            raise BundleError(
                f"amp is true on a CPU with patch_size {patch_size}: PyTorch's bfloat16 gradients are wrong "
                f"below {SMALLEST_BFLOAT16_PATCH}; set --amp false, or a larger --patch_size."
            )
        return bool(amp)
    cpu = torch.cpu.get_capabilities()
    pays = is_safe and (on_gpu or bool(cpu.get("amx_bf16") or cpu.get("avx512_bf16")))
    processor = "the GPU" if on_gpu else str(cpu.get("cpu_name", "this CPU"))
    print(f"amp auto: mixed precision is {'on' if pays else 'off'} for {processor}")
    return pays


def autocast(engine: Trainer) -> torch.autocast:
    """Returns the autocast context of a trainer's device, enabled by its `amp`, with the dtype of its `amp_kwargs`."""
    return torch.autocast(engine.state.device.type, enabled=engine.amp, **engine.amp_kwargs)


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Returns a tensor of half precision as float32 and any other unchanged; losses need at least float32."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def segmenter_scaler(engine: Trainer) -> torch.amp.GradScaler:
    """Returns the gradient scaler of the trained network: the trainer's in float16, otherwise one that does nothing."""
    return _trainers_or_disabled(
        engine.state.g_scaler if isinstance(engine, AdversarialTrainer) else engine.scaler, engine
    )


def critic_scaler(engine: AdversarialTrainer) -> torch.amp.GradScaler:
    """Returns the gradient scaler of the critic, see `segmenter_scaler`."""
    return _trainers_or_disabled(engine.state.d_scaler, engine)


def _trainers_or_disabled(scaler: torch.amp.GradScaler | None, engine: Trainer) -> torch.amp.GradScaler:
    # AdversarialTrainer creates scalers for every `amp`; bfloat16 has the range of float32 and needs none
    if scaler is None or (isinstance(engine, AdversarialTrainer) and engine.amp_kwargs.get("dtype") == torch.bfloat16):
        return torch.amp.GradScaler(engine.state.device.type, enabled=False)
    return scaler
