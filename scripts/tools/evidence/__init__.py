# SPDX-License-Identifier: Apache-2.0
"""Experiment: what each part of the method is worth, by small trainings that differ in one thing each."""
