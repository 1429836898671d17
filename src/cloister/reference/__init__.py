# SPDX-License-Identifier: Apache-2.0
"""The reference federation's records: invented, seeded, and marked as such (`SYN-…`)."""

from cloister.reference.generator import pooled_test
from cloister.reference.stores import make_records

__all__ = ["make_records", "pooled_test"]
