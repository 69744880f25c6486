# SPDX-License-Identifier: Apache-2.0
"""The bundle's code, one room a folder; brats.py is the domain on one page."""
