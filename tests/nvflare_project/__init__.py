# SPDX-License-Identifier: Apache-2.0
"""Tests of cloister.nvflare_project: files as NVFlare reads them, and documents that `cloister check` accepts."""
