# SPDX-License-Identifier: Apache-2.0
"""An app for MONAI Label: datastore, inference, scoring, training, and a page for reviewers."""
