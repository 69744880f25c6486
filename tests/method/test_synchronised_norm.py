# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from torch import nn

from scripts.method.synchronised_norm import SynchronisedBatchNorm, synchronised
from tests.builders import make_critic, snapshot
from tests.tolerances import EXACT


def test_alone_it_is_batch_norm_with_its_gradients_and_statistics() -> None:
    theirs, ours = make_critic().double(), synchronised(make_critic().double())
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    gradients = []
    for critic in (theirs, ours):
        mask = torch.rand(2, 3, 6, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        mask.requires_grad_()
        for _ in range(2):
            critic(mask).square().mean().backward()
        assert mask.grad is not None
        gradients.append([mask.grad, *(p.grad for p in critic.parameters())])
    torch.testing.assert_close(*gradients, rtol=0, atol=EXACT)
    torch.testing.assert_close(snapshot(ours), snapshot(theirs), rtol=0, atol=EXACT)
    judgements = [critic.eval()(torch.ones(1, 3, 6, 6, 6, dtype=torch.float64)) for critic in (theirs, ours)]
    torch.testing.assert_close(*judgements, rtol=0, atol=EXACT)


def test_every_norm_is_converted_and_keeps_the_optimisers_parameters() -> None:
    critic = make_critic()
    parameters = list(critic.parameters())
    converted = synchronised(critic)
    assert [id(p) for p in converted.parameters()] == [id(p) for p in parameters]
    norms = [m for m in converted.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 3
    assert all(isinstance(norm, SynchronisedBatchNorm) for norm in norms)


def test_half_precision_goes_in_and_out() -> None:
    norm = SynchronisedBatchNorm(3)
    image = torch.rand(2, 3, 4, 4, 4).bfloat16()
    assert norm(image).dtype == torch.bfloat16
