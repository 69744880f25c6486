# SPDX-License-Identifier: Apache-2.0
"""The results of an evaluation for people: tables, summary, plots, and report.html with its viewer."""
