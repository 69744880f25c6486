# SPDX-License-Identifier: Apache-2.0
"""How a training continues after it was stopped or killed.

`StateSaver` writes the state of the run, `find_state` finds its newest intact file, and MONAI's `CheckpointLoader`
loads it into networks, optimisers, schedulers and `RunState`. `StopHandler` saves a state on SIGTERM or Ctrl-C, and
`ResumableDataLoader` starts in the middle of an epoch.
"""
