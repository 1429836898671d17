# SPDX-License-Identifier: Apache-2.0
"""Draws the reference records: seeded, invented, and uneven between sites, as real ones are.

1. The same seed gives the same records, on every machine.
2. Each site sees two of the four classes often and the others rarely, so a model trained at one site alone fails where
   the sites together do not.
3. A text whose SHA-256 starts with two zero bits is kept for `pooled_test`; sites hold only others. So no site's
   record, of whatever seed, is ever a test record.
4. Only the identifiers say it in every row: they start with `SYN-`, for synthetic.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from cloister.reference import clinical_notes, complaints
from cloister.reference.wording import Wording

Kind = Literal["clinical-notes", "complaints"]

WORDINGS: dict[Kind, Wording] = {"clinical-notes": clinical_notes.WORDING, "complaints": complaints.WORDING}


@dataclass(frozen=True)
class SiteRecords:
    """What one site holds.

    Attributes:
        site: its name.
        kind: of record.
        store: the kind of store they lie in.
        style: how it writes, a number into the wording's openings.
        counts: number of records of each class, in the order of the wording's classes.
    """

    site: str
    kind: Kind
    store: Literal["sqlite", "parquet", "csv"]
    style: int
    counts: tuple[int, ...]


SITES = (
    SiteRecords("hospital-north", "clinical-notes", "sqlite", 0, (150, 90, 28, 28)),
    SiteRecords("hospital-river", "clinical-notes", "parquet", 1, (28, 28, 90, 150)),
    SiteRecords("hospital-hill", "clinical-notes", "csv", 2, (28, 120, 120, 28)),
    SiteRecords("bank-oak", "complaints", "sqlite", 0, (150, 90, 28, 28)),
    SiteRecords("bank-elm", "complaints", "parquet", 1, (28, 28, 90, 150)),
    SiteRecords("bank-ash", "complaints", "csv", 2, (28, 120, 120, 28)),
)


@dataclass(frozen=True)
class Record:
    """One invented record.

    Attributes:
        record_id: such as `SYN-000123`.
        person_id: such as `SYN-P-00042`; one person may have several records.
        text: what it says.
        label: its class.
    """

    record_id: str
    person_id: str
    text: str
    label: str


def site_records(site: SiteRecords, seed: int) -> list[Record]:
    """The records of one site, in random order, all texts different."""
    draw = random.Random(f"{seed} {site.site}")  # noqa: S311  records are invented, not secret
    texts = _different_texts(WORDINGS[site.kind], draw, styles=(site.style,), for_test=False)
    labels = [label for label, count in zip(texts, site.counts, strict=True) for _ in range(count)]
    draw.shuffle(labels)
    people = max(1, 3 * len(labels) // 4)
    return [
        Record(f"SYN-{number:06}", f"SYN-P-{draw.randrange(people):05}", next(texts[label]), label)
        for number, label in enumerate(labels, start=1)
    ]


def pooled_test(kind: Kind, seed: int, n: int) -> list[tuple[str, str]]:
    """Records to test on, as all sites together write them, the classes in equal numbers.

    Args:
        kind: of record.
        seed: of the draw.
        n: how many; the first classes get one more where it does not divide.

    Returns:
        Pairs of text and class, none of which any site holds.
    """
    wording = WORDINGS[kind]
    draw = random.Random(f"{seed} test {kind}")  # noqa: S311  records are invented, not secret
    texts = _different_texts(wording, draw, styles=tuple(range(len(wording.openings))), for_test=True)
    labels = [tuple(texts)[number % len(texts)] for number in range(n)]
    return [(next(texts[label]), label) for label in labels]


def _different_texts(
    wording: Wording, draw: random.Random, *, styles: tuple[int, ...], for_test: bool
) -> dict[str, Iterator[str]]:
    seen: set[str] = set()

    def of(label: str) -> Iterator[str]:
        while True:
            text = wording.write(label, draw.choice(styles), draw)
            if text not in seen and _kept_for_test(text) is for_test:
                seen.add(text)
                yield text

    return {label: of(label) for label in wording.reasons}


def _kept_for_test(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] < 0b0100_0000
