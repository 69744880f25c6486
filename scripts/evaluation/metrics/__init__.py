# SPDX-License-Identifier: Apache-2.0
"""Metrics of one case and region by the challenges' scoring rules."""
