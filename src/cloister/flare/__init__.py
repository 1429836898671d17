# SPDX-License-Identifier: Apache-2.0
"""The glue to NVIDIA FLARE 2.9: the only package that imports nvflare."""
