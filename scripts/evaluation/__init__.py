# SPDX-License-Identifier: Apache-2.0
"""How good a segmentation is: metrics, reliability of the critic, the report, and robustness.

Each is a handler of a MONAI evaluator, or a program of its own on top of one.
"""

from scripts.evaluation.metrics.brats_metric import BratsMetricHandler, from_output
from scripts.evaluation.reliability import ReliabilityHandler
from scripts.evaluation.report.handler import EvaluationReport
from scripts.evaluation.report.picture import CasePictureHandler
from scripts.evaluation.report.reliability_section import reliability_section
from scripts.evaluation.report.training_curves import TrainingCurvesHandler
from scripts.evaluation.robustness.evaluation import RobustnessEvaluation, load_networks
from scripts.evaluation.robustness.page import robustness_section

__all__ = [
    "BratsMetricHandler",
    "CasePictureHandler",
    "EvaluationReport",
    "ReliabilityHandler",
    "RobustnessEvaluation",
    "TrainingCurvesHandler",
    "from_output",
    "load_networks",
    "reliability_section",
    "robustness_section",
]
