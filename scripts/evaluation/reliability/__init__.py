# SPDX-License-Identifier: Apache-2.0
"""Whether the critic knows where a segmentation is wrong: scores of one case, their summary, and its section."""
