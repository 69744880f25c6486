# SPDX-License-Identifier: Apache-2.0
"""What two processes must agree on, run from test_distributed.py: any process that is wrong fails."""

from __future__ import annotations

import sys

import torch
from ignite import distributed as idist
from ignite.engine import Events
from monai.data import DataLoader, Dataset, DistributedSampler
from monai.engines import AdversarialTrainer
from torch import nn
from torch.optim import SGD

from scripts.base.distributed import (
    SameWeightsHandler,
    all_processes_agree,
    cases_of_process,
    gather_from_processes,
    join_processes,
    leave_processes,
    sum_over_processes,
)
from scripts.method.losses import voxel_weights
from scripts.method.reciprocal_step import STEP_TAKEN
from scripts.method.synchronised_norm import synchronised
from scripts.method.vat import VirtualAdversarialHandler
from tests.builders import (
    make_batch,
    make_critic,
    make_exact_cases,
    make_loader,
    make_reciprocal_trainer,
    make_segmenter,
)
from tests.tolerances import EXACT

STEPS = 6
BROKEN = 1  # the step, from 0, in which the last process has a voxel that is no number


def check_parts(rank: int) -> None:
    assert gather_from_processes([rank] * (rank + 1)) == [0, 1, 1]
    assert gather_from_processes(["a\tb"] if rank else []) == ["a\tb"]
    assert gather_from_processes(list(cases_of_process(3))) == [0, 1, 2]
    assert all_processes_agree(True)
    assert not all_processes_agree(rank == 0)
    network = make_critic(seed=rank)
    SameWeightsHandler([network])(None)  # type: ignore[arg-type]
    for tensor, first in zip(network.state_dict().values(), make_critic(seed=0).state_dict().values()):
        torch.testing.assert_close(tensor, first, rtol=0, atol=0)


def check_norm(rank: int) -> None:
    """Values, gradients and statistics of a batch's halves are those of the whole."""
    mask, _ = make_batch(4)
    mask = mask[:, :3].double()
    whole, halves = make_critic().double(), synchronised(make_critic().double())
    inputs = [mask.clone().requires_grad_(), mask[2 * rank : 2 * rank + 2].clone().requires_grad_()]
    for critic, image, size in ((whole, inputs[0], 4), (halves, inputs[1], 4)):
        (critic(image).square().sum() / size).backward()
    mine = slice(2 * rank, 2 * rank + 2)
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad[mine], rtol=0, atol=EXACT)  # type: ignore[index]
    for ours, theirs in zip(halves.parameters(), whole.parameters()):
        torch.testing.assert_close(sum_over_processes(torch.as_tensor(ours.grad)), theirs.grad, rtol=0, atol=EXACT)
    for statistics, expected in zip(halves.buffers(), whole.buffers()):
        torch.testing.assert_close(statistics, expected, rtol=0, atol=EXACT)


def check_balance(rank: int) -> None:
    label = make_batch(2)[1].double()
    label[1, :, 8:] = 0
    mine = voxel_weights(label[rank : rank + 1])
    torch.testing.assert_close(mine, whole_weights(label)[rank : rank + 1], rtol=EXACT, atol=0)


def whole_weights(label: torch.Tensor) -> torch.Tensor:
    share = label.mean(dim=(0, 2, 3, 4), keepdim=True)
    return torch.where(label > 0.5, 0.5 / share, 0.5 / (1 - share))


def train(rank: int) -> None:
    """Trains with halves of the batches of `train_alone`; a fault of one process is all processes' fault."""
    segmenter, critic = make_segmenter().double(), synchronised(make_critic().double())
    dataset = Dataset(make_exact_cases(2 * STEPS))
    loader = DataLoader(dataset, batch_size=1, sampler=DistributedSampler(dataset, shuffle=False))
    trainer = make_trainer(segmenter, critic, loader, faulty=rank == 1)
    trainer.run()
    weights = {"segmenter": segmenter.state_dict(), "critic": critic.state_dict()}
    torch.save(weights, f"{sys.argv[1]}/{rank}.pt")


def train_alone() -> dict[str, dict[str, torch.Tensor]]:
    segmenter, critic = make_segmenter().double(), make_critic().double()
    make_trainer(segmenter, critic, make_loader(make_exact_cases(2 * STEPS)), faulty=True).run()
    return {"segmenter": segmenter.state_dict(), "critic": critic.state_dict()}


def make_trainer(segmenter: nn.Module, critic: nn.Module, loader: DataLoader, *, faulty: bool) -> AdversarialTrainer:
    vat = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=0.03)
    trainer = make_reciprocal_trainer(segmenter, critic, handlers=[vat], loader=loader, lambda_critic=0.3)
    # Adam divides by the size of a gradient, and so makes whole steps of gradients that are rounding errors
    trainer.state.g_optimizer = SGD(segmenter.parameters(), 0.02)
    trainer.state.d_optimizer = SGD(critic.parameters(), 0.02)

    @trainer.on(Events.ITERATION_STARTED(once=BROKEN + 1))
    def break_image() -> None:
        if faulty:
            trainer.state.batch["image"][-1, 0, 8, 8, 8] = torch.nan

    @trainer.on(Events.ITERATION_COMPLETED)
    def check() -> None:
        assert trainer.state.output[STEP_TAKEN] == (trainer.state.iteration != BROKEN + 1)

    return trainer


if __name__ == "__main__":
    join_processes("cpu")
    for check in (check_parts, check_norm, check_balance, train):
        check(idist.get_rank())
    leave_processes()
