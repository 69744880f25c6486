# SPDX-License-Identifier: Apache-2.0
"""What surrounds the reciprocal step in a run: progress, seeding, skipped steps, averaged and best weights.

How a stopped run continues is in resume/.
"""

import lazy_loader

# what configs name, imported when it is first used: a command starts with no more than it needs
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoints": ["BestWeightsHandler", "RestartBestHandler"],
        "initial_weights": ["InitialWeightsHandler"],
        "progress": ["ProgressHandler", "TrainingScalarsHandler", "loss_terms"],
        "resume.loader": ["ResumableDataLoader"],
        "resume.run_state": ["RunState"],
        "resume.state_files": ["StateSaver", "find_state"],
        "resume.stopping": ["StopHandler"],
        "seeding": ["EpochSeedHandler"],
        "skipped_steps": ["SkippedStepHandler"],
        "weight_average": ["WeightAverage", "WeightAverageHandler"],
    },
)
