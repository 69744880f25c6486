# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch

from scripts.inference.confidence import CriticConfidenced
from tests.builders import changed, make_critic, snapshot


def test_confidence_is_the_critics_judgement_in_eval_mode() -> None:
    critic = make_critic()
    critic(torch.rand(4, 3, 8, 8, 8))  # running statistics that differ from those of the prediction
    before = snapshot(critic.train())
    prediction = torch.rand(3, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    item = CriticConfidenced("pred", critic)({"pred": prediction.clone(), "image": torch.zeros(4, 8, 8, 8)})
    assert changed(critic, before) == set()
    with torch.no_grad():
        judgement = critic.eval()(prediction[None])[0]
    torch.testing.assert_close(item["confidence"], 1 / (1 + torch.exp(-judgement)))
    torch.testing.assert_close(item["pred"], prediction)
