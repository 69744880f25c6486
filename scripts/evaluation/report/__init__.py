# SPDX-License-Identifier: Apache-2.0
"""What an evaluation writes for people: tables, summary, plots, and report.html with its viewer."""
