# SPDX-License-Identifier: Apache-2.0
"""What surrounds the reciprocal step in a run: progress, seeding, skipped steps and the best weights.

How a stopped run continues is in resume/.
"""

from scripts.training.checkpoints import BestWeightsHandler, RestartBestHandler
from scripts.training.progress import ProgressHandler, TensorBoardHandler, loss_terms
from scripts.training.resume.loader import ResumableDataLoader
from scripts.training.resume.run_state import RunState
from scripts.training.resume.state_files import StateSaver, find_state
from scripts.training.resume.stopping import StopHandler
from scripts.training.seeding import EpochSeedHandler
from scripts.training.skipped_steps import SkippedStepHandler

__all__ = [
    "BestWeightsHandler",
    "EpochSeedHandler",
    "ProgressHandler",
    "RestartBestHandler",
    "ResumableDataLoader",
    "RunState",
    "SkippedStepHandler",
    "StateSaver",
    "StopHandler",
    "TensorBoardHandler",
    "find_state",
    "loss_terms",
]
