# SPDX-License-Identifier: Apache-2.0
"""What a governed view holds, told in numbers and digests: what other gates know of the view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cloister.files import canonical_json, sha256_of
from cloister.records.view.split import seal_of

TRAINING, VALIDATION = "training", "validation"
"""The sides of the split."""


@dataclass(frozen=True)
class ViewManifest:
    """What a view holds, in numbers; no record's content.

    Attributes:
        rows: rows that the store holds.
        filtered: rows left out because the policy's filter does not let them through.
        rejected: rows left out because they break the dataset's schema.
        cut: texts shortened to the column's maximum.
        training: records to train on.
        validation: records kept from training.
        classes: by label, the number of records on each side of the split; of survival, by whether the event came.
        digests: SHA-256 by file name; of all images together under `images`.
        columns: the view's columns with their kinds.
        filtered_by: columns that rows were filtered by, sorted.
        rejected_by: by column, the rejected rows that it is the first to break.
        people: different people on each side of the split; None where the dataset says of nobody whom it is about.
        free_text: what was done about free text: `mask`, `refuse` or `keep`.
        identifying: by column of free text that was looked at, how often each kind of identifying piece was found.
        identifying_share: by such a column, the share of its cells in which any was found.
        seal: what only the site can make of all this, see `cloister.records.view.split.seal_of`. With it in the
            manifest, nobody else can tell from the manifest's digest whether a guess of the records is right.
    """

    rows: int
    filtered: int
    rejected: int
    cut: int
    training: int
    validation: int
    classes: Mapping[str, Mapping[str, int]]
    digests: Mapping[str, str]
    columns: Mapping[str, str]
    filtered_by: tuple[str, ...] = ()
    rejected_by: Mapping[str, int] = field(default_factory=dict)
    people: Mapping[str, int] | None = None
    free_text: str = "keep"
    identifying: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    identifying_share: Mapping[str, float] = field(default_factory=dict)
    seal: str = ""

    @property
    def records(self) -> int:
        """Records in the view, on both sides of the split."""
        return self.training + self.validation

    def to_json(self) -> dict[str, Any]:
        """As plain values, for sending."""
        return {**asdict(self), "filtered_by": list(self.filtered_by)}

    def sealed(self, key: bytes) -> ViewManifest:
        """The manifest with the seal of the site whose key this is."""
        return replace(self, seal=seal_of(key, canonical_json(replace(self, seal="").to_json())))

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's canonical JSON, hence of the view's content."""
        return sha256_of(canonical_json(self.to_json()))
