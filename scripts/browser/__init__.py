# SPDX-License-Identifier: Apache-2.0
"""Segmentation in the browser: `python -m scripts.browser FOLDER` writes a page of static files.

The page's modules are in web/, those that compute in web/steps/.
"""
