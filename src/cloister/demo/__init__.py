# SPDX-License-Identifier: Apache-2.0
"""The reference federation on one machine: its invented records, and what each site would reach alone."""

from cloister.demo.comparison import compare
from cloister.demo.material import fix_splits, make_material

__all__ = ["compare", "fix_splits", "make_material"]
