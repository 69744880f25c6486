# SPDX-License-Identifier: Apache-2.0
"""Time and memory of training steps, epochs, loading and inference, beside MONAI's own trainers and networks."""
