# SPDX-License-Identifier: Apache-2.0
"""How much Dice is kept under artefacts and adversarial perturbations."""
