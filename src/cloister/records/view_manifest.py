# SPDX-License-Identifier: Apache-2.0
"""What a governed view holds, told in numbers and digests: what other gates know of the view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cloister.files import canonical_json, sha256_of

TRAINING, VALIDATION = "training", "validation"
"""The sides of the split."""


@dataclass(frozen=True)
class ViewManifest:
    """What a view holds, in numbers; no record's content.

    Attributes:
        rows: rows read from the store.
        filtered: rows left out because the policy's filter does not let them through.
        rejected: rows left out because they break the dataset's schema.
        cut: texts shortened to the column's maximum.
        training: records to train on.
        validation: records kept from training.
        classes: by label, the number of records on each side of the split.
        digests: SHA-256 by file name.
        columns: the view's columns, text first.
        filtered_by: columns that rows were filtered by, sorted.
    """

    rows: int
    filtered: int
    rejected: int
    cut: int
    training: int
    validation: int
    classes: dict[str, dict[str, int]]
    digests: dict[str, str]
    columns: tuple[str, ...]
    filtered_by: tuple[str, ...] = ()

    @property
    def records(self) -> int:
        """Records in the view, on both sides of the split."""
        return self.training + self.validation

    def to_json(self) -> dict[str, Any]:
        """As plain values, for sending."""
        return {
            "rows": self.rows,
            "filtered": self.filtered,
            "rejected": self.rejected,
            "cut": self.cut,
            "training": self.training,
            "validation": self.validation,
            "classes": self.classes,
            "digests": self.digests,
            "columns": list(self.columns),
            "filtered_by": list(self.filtered_by),
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's canonical JSON, hence of the view's content."""
        return sha256_of(canonical_json(self.to_json()))
