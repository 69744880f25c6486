# SPDX-License-Identifier: Apache-2.0
"""How a run that was stopped or killed continues: its state, the files that hold it, and stopping by signals."""
