# SPDX-License-Identifier: Apache-2.0
"""Robustness: how much Dice is kept under artefacts and adversarial perturbations."""
