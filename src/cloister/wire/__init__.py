# SPDX-License-Identifier: Apache-2.0
"""In what form an update's values travel: pure, block by block, nothing of NVFlare."""
