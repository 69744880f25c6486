# SPDX-License-Identifier: Apache-2.0
"""Experiment: what networks of other sizes and kinds reach in the same time, on the same patients."""
