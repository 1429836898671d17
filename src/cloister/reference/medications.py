# SPDX-License-Identifier: Apache-2.0
"""Invented lines about medicines, in which drug, dose and how often are marked.

Sites write in an order of their own, each of other drugs. No line comes from a real record, and none is advice.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

LABELS = ("drug", "dose", "frequency")

_DRUGS = (
    *("ramipril", "metformin", "ibuprofen", "sertraline", "levothyroxine", "atorvastatin", "amlodipine", "bisoprolol"),
    *("omeprazole", "salbutamol", "furosemide", "apixaban", "gabapentin", "prednisolone", "amoxicillin", "paracetamol"),
)
_DOSES = ("5 mg", "10 mg", "20 mg", "40 mg", "50 mcg", "100 mg", "250 mg", "500 mg", "2 puffs", "one tablet")
_FREQUENCIES = (
    *("once daily", "twice daily", "three times a day", "every morning", "at night", "every 6 hours"),
    *("as needed", "on Mondays", "with meals"),
)
_LINES: tuple[tuple[str, ...], ...] = (
    (
        "Takes {drug} {dose} {frequency}, no side effects.",
        "Started {drug} {dose} {frequency} after the visit.",
        "{drug} {dose} {frequency}; pressure better since.",
        "Continues {drug} {frequency}. Asks for a repeat.",
    ),
    (
        "pt on {dose} of {drug} {frequency}",
        "stop {drug}, was on {dose}",
        "changed to {drug} {dose} {frequency} - tolerated well",
        "family says {drug} is taken {frequency} only",
    ),
    (
        "Plan: {drug} ({dose}, {frequency}), review in two weeks.",
        "Discharged with {drug} {dose} to be taken {frequency}.",
        "No {drug} today; back to {dose} {frequency} from tomorrow.",
        "{drug} was forgotten; {dose} given instead, {frequency} as before.",
    ),
)
_REMARKS = ("", "", " Slept well.", " No fever.", " Lives alone.", " Walks with a stick.", " No known allergies.")


@dataclass(frozen=True)
class MedicationSite:
    """How a site writes.

    Attributes:
        site: its name.
        style: number into the lines.
        notes: how many.
        known: the drugs that it writes of in four lines of five, as a slice of all.
    """

    site: str
    style: int
    notes: int
    known: slice


MEDICATION_SITES = (
    MedicationSite("hospital-north", 0, 220, slice(0, 8)),
    MedicationSite("hospital-river", 1, 180, slice(6, 16)),
    MedicationSite("hospital-hill", 2, 240, slice(3, 12)),
)

_KNOWN_SHARE = 0.8


def medication_files(site: MedicationSite, seed: int) -> dict[str, bytes]:
    """What is written of one site's lines: a JSON object each."""
    draw = random.Random(f"{seed} medications {site.site}")  # noqa: S311  records are invented, not secret
    lines = []
    for number in range(1, site.notes + 1):
        note, entities = _marked(site, draw)
        record = {
            "note_id": f"SYN-{number:06}",
            "patient_id": f"SYN-P-{draw.randrange(3 * site.notes // 4):05}",
            "note": note,
            "entities": entities,
        }
        lines.append(json.dumps(record) + "\n")
    return {"medications.jsonl": "".join(lines).encode()}


def _marked(site: MedicationSite, draw: random.Random) -> tuple[str, list[dict[str, str | int]]]:
    drugs = _DRUGS[site.known] if draw.random() < _KNOWN_SHARE else _DRUGS
    chosen = {"drug": draw.choice(drugs), "dose": draw.choice(_DOSES), "frequency": draw.choice(_FREQUENCIES)}
    line = draw.choice(_LINES[site.style])
    text = ""
    entities: list[dict[str, str | int]] = []
    while "{" in line:
        before, _, rest = line.partition("{")
        label, _, line = rest.partition("}")
        text += before
        piece = chosen[label]
        entities.append({"start": len(text), "end": len(text) + len(piece), "label": label})
        text += piece
    return text + line + draw.choice(_REMARKS), entities
