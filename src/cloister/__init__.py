# SPDX-License-Identifier: Apache-2.0
"""Cloister: federated fine-tuning of foundation models under policies that each site owns."""

__version__ = "0.1.0"
