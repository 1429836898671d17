# SPDX-License-Identifier: Apache-2.0
"""Invented questions that patients write, and how the desk answers: what a small language model can learn to write.

Sites are asked about different things. No letter comes from a real patient, and no answer is advice.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

_TOPICS: tuple[tuple[str, str], ...] = (
    ("When is my appointment with the {ward} ward?", "Your appointment at the {ward} ward is on {day}."),
    ("Can I move my visit to {day}?", "Yes, we moved your visit to {day}."),
    ("How do I get a copy of my {paper}?", "Please ask the desk for a copy of your {paper}."),
    ("May I eat before the {test}?", "Please do not eat for six hours before the {test}."),
    ("Where do I bring the {paper}?", "Please bring the {paper} to the {ward} ward."),
    ("Is the result of my {test} there?", "The result of your {test} will be there on {day}."),
)
_SLOTS = {
    "ward": ("eye", "heart", "bone", "skin", "lung"),
    "day": ("Monday", "Tuesday", "Thursday", "Friday"),
    "paper": ("report", "referral", "sick note", "invoice"),
    "test": ("blood test", "scan", "biopsy", "breath test"),
}
_GREETINGS = ("Hello. ", "Dear team, ", "Good morning. ", "")


@dataclass(frozen=True)
class LetterSite:
    """What a site is asked about.

    Attributes:
        site: its name.
        letters: how many.
        weights: of the topics; uneven, so that no site sees all of them often.
    """

    site: str
    letters: int
    weights: tuple[int, ...]


LETTER_SITES = (
    LetterSite("hospital-north", 220, (6, 6, 1, 1, 1, 1)),
    LetterSite("hospital-river", 180, (1, 1, 6, 6, 1, 1)),
    LetterSite("hospital-hill", 240, (1, 1, 1, 1, 6, 6)),
)


def letter_files(site: LetterSite, seed: int) -> dict[str, bytes]:
    """What is written of one site's letters: a JSON object each."""
    draw = random.Random(f"{seed} letters {site.site}")  # noqa: S311  records are invented, not secret
    lines = []
    for number in range(1, site.letters + 1):
        ((question, answer),) = draw.choices(_TOPICS, site.weights)
        chosen = {name: draw.choice(words) for name, words in _SLOTS.items()}
        record = {
            "letter_id": f"SYN-{number:06}",
            "patient_id": f"SYN-P-{draw.randrange(3 * site.letters // 4):05}",
            "question": draw.choice(_GREETINGS) + question.format_map(chosen),
            "answer": answer.format_map(chosen),
        }
        lines.append(json.dumps(record) + "\n")
    return {"letters.jsonl": "".join(lines).encode()}
