# SPDX-License-Identifier: Apache-2.0
"""How good a segmentation is: metrics, reliability of the critic, the report, and robustness.

Each is a handler of a MONAI evaluator, or a program of its own on top of one.
"""

import lazy_loader

# what configs name, imported when it is first used: a command starts with no more than it needs
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "metrics.brats_metric": ["BratsMetricHandler", "from_output"],
        "reliability.handler": ["ReliabilityHandler"],
        "reliability.section": ["reliability_section"],
        "report.handler": ["EvaluationReport"],
        "report.picture": ["CasePictureHandler"],
        "report.training_curves": ["TrainingCurvesHandler"],
        "robustness.evaluation": ["RobustnessEvaluation", "load_networks"],
        "robustness.section": ["robustness_section"],
    },
)
