# SPDX-License-Identifier: Apache-2.0
"""Training at several sites without pooling data: MONAI's federated client and NVIDIA FLARE's simulator."""
