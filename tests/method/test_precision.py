# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Events
from torch import nn

from scripts.base.errors import BundleError
from scripts.method.precision import autocast, critic_scaler, segmenter_scaler, use_mixed_precision
from tests.builders import make_critic, make_reciprocal_trainer, make_segmenter, make_supervised_trainer

DTYPES = [None, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_networks_run_in_the_precision_that_is_set(dtype: torch.dtype | None) -> None:
    network = nn.Conv3d(4, 3, 1)
    trainer = make_supervised_trainer(network, amp_dtype=dtype)
    with autocast(trainer):
        assert torch.is_autocast_enabled("cpu") == (dtype is not None)
        assert network(torch.rand(1, 4, 4, 4, 4)).dtype == (dtype or torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_the_reciprocal_trainers_scalers_only_those_of_float16_are_used(dtype: torch.dtype | None) -> None:
    trainer = make_reciprocal_trainer(make_segmenter(), make_critic(), amp_dtype=dtype)
    if dtype is not None:
        # enabled on the CPU too, where the trainer's own would rest
        trainer.state.g_scaler, trainer.state.d_scaler = torch.amp.GradScaler("cpu"), torch.amp.GradScaler("cpu")
    segmenters, critics = segmenter_scaler(trainer), critic_scaler(trainer)
    if dtype == torch.float16:
        assert segmenters is trainer.state.g_scaler
        assert critics is trainer.state.d_scaler
    else:
        loss = torch.tensor(2.0)
        assert segmenters.scale(loss) == critics.scale(loss) == loss


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_supervised_trainers_own_scaler_is_used_wherever_it_has_one(dtype: torch.dtype | None) -> None:
    trainer = make_supervised_trainer(make_segmenter(), amp_dtype=dtype)
    used = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda: used.append(segmenter_scaler(trainer)))
    trainer.run()  # which makes the scaler
    if dtype is None:
        assert not used[0].is_enabled()
    else:
        assert used == [trainer.scaler]


@pytest.mark.parametrize(
    ("device", "capabilities", "expected"),
    [
        ("cuda", {}, True),
        ("cpu", {"avx512_bf16": True}, True),
        ("cpu", {"amx_bf16": True, "avx512_bf16": True}, True),
        ("cpu", {"avx512_bf16": False, "amx_bf16": False, "cpu_name": "old"}, False),
        ("cpu", {}, False),
    ],
)
def test_auto_is_mixed_precision_where_the_hardware_has_it_and_says_so(
    device: str,
    capabilities: dict[str, Any],
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert use_mixed_precision("auto", device) is expected
    assert ("on for" if expected else "off for") in capsys.readouterr().out
    assert use_mixed_precision(True, device) is True
    assert use_mixed_precision("auto", device, patch_size=32) is (device == "cuda")
    assert use_mixed_precision(False, device) is False


def test_bfloat16_on_a_cpu_is_refused_for_patches_whose_gradients_would_be_wrong() -> None:
    assert use_mixed_precision(True, "cpu", patch_size=48)
    assert use_mixed_precision(True, "cuda", patch_size=32)
    with pytest.raises(BundleError, match=r"amp is true on a CPU with patch_size 32: .*set --amp false"):
        use_mixed_precision(True, "cpu", patch_size=32)
