# SPDX-License-Identifier: Apache-2.0
"""Metrics of one case and region by the scoring rules of the challenges, and the metric of a MONAI evaluator."""
