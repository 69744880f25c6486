# SPDX-License-Identifier: Apache-2.0
"""Programs for the people who develop the bundle: benchmarks, active learning and the release."""
