# SPDX-License-Identifier: Apache-2.0
"""Segmentation in the browser: `python -m scripts.browser FOLDER` writes a static page that needs no server of its own."""
