# SPDX-License-Identifier: Apache-2.0
"""What the invented hospital notes are put together from: reasons to be seen, by how soon, and the words around them.

Written for this demonstration. No phrase comes from a real note, and none is advice.
"""

from __future__ import annotations

from cloister.reference.wording import Wording

LABELS = ("routine", "soon", "urgent", "emergency")

_ROUTINE = (
    "asks for a repeat of the {drug} prescription",
    "wants a {form} signed",
    "a wart on the {limb} that has not changed for {months} months",
    "comes for the yearly check",
    "dry skin on the {limb} every winter",
    "wax in the {side} ear, hears a little less",
    "wishes to talk about stopping smoking",
    "needs travel vaccines before a trip in {months} months",
    "an old scar on the {limb} that itches at times",
    "mild hay fever as in every spring",
)

_SOON = (
    "sore throat for {days} days, swallowing hurts but drinks well",
    "burning when passing water since {days} days",
    "{side} ear pain after a cold, slept badly",
    "cough with green phlegm for {days} days, breathing easy",
    "eczema on the {limb} getting worse, scratches at night",
    "low back pain into the {side} leg, can stand on toes",
    "loose stools for {days} days, keeps fluids down",
    "pressure over the cheeks and blocked nose for {days} days",
    "low mood and poor sleep for {days} weeks, no plans of harm",
    "red sticky eyes, sight as before",
)

_URGENT = (
    "fever of {fever} with shaking chills since last night",
    "pain moved from the navel to the right lower belly, walks bent",
    "fell on the outstretched {side} hand, wrist bent like a fork",
    "wheezy since morning, inhaler helps for an hour only",
    "deep cut in the {limb} from a saw, bleeding held by pressure",
    "flank pain in waves with vomiting",
    "redness on the {limb} spreading past the pen line drawn yesterday",
    "vomited once after a knock on the head, a bit slow to answer",
    "sugar of {sugar} at home and very thirsty",
    "no water passed since yesterday, lower belly tight",
)

_EMERGENCY = (
    "crushing pressure behind the breastbone into the jaw, grey and sweating",
    "face hangs on the {side}, arm drifts down, words slurred for an hour",
    "found on the floor, does not wake to voice",
    "lips swollen and throat closing minutes after a nut bar",
    "fit that has not stopped for ten minutes",
    "blood spurting from the {limb}, soaked two towels",
    "only single words between breaths, lips blue",
    "took a whole box of {drug} an hour ago, drowsy",
    "tearing pain between the shoulder blades, pulses unequal",
    "mottled skin, pressure 70 over 40, confused with fever",
)

WORDING = Wording(
    reasons=dict(zip(LABELS, (_ROUTINE, _SOON, _URGENT, _EMERGENCY), strict=True)),
    openings=(
        ("{age} yo {sex},", "{age}y {sex}.", "pt {age} {sex}:", "{sex}, {age},"),
        (
            "A {age} year old {sex} came in.",
            "This {sex} of {age} was brought by family.",
            "Seen today: {sex} aged {age}.",
        ),
        ("desk note - {sex} {age} -", "walk-in, {sex}, {age} years;", "phone contact, {sex} {age};"),
    ),
    distractors=(
        "no chest pain",
        "denies fever",
        "not short of breath",
        "no slurred speech",
        "never had a fit",
        "had a {side} hip replaced years ago",
        "takes {drug} daily",
        "prescription for {drug} is still valid",
        "mother died of a heart attack at 80",
        "was seen for a sore throat last year",
        "no bleeding",
        "yearly check was fine",
        "belly soft",
        "no known allergies",
        "family is worried",
        "arrived on foot",
        "waited long at the desk",
        "asked for a sick note as well",
        "no head injury",
        "smokes ten a day",
        "lives alone",
        "eats and drinks as usual before this",
    ),
    slots={
        "age": ("19", "24", "31", "38", "42", "47", "55", "58", "63", "66", "71", "77", "84"),
        "sex": ("woman", "man", "person"),
        "drug": ("ramipril", "metformin", "ibuprofen", "sertraline", "levothyroxine", "atorvastatin"),
        "form": ("gym form", "driving form", "school form", "travel form"),
        "limb": ("left arm", "right arm", "left leg", "right leg", "left hand", "right thigh"),
        "side": ("left", "right"),
        "days": ("2", "3", "4", "5"),
        "months": ("2", "3", "4", "6"),
        "fever": ("39.2", "39.6", "40.1"),
        "sugar": ("19", "23", "27"),
        "pulse": ("118", "126", "134", "142"),
    },
    shortenings={
        "year old": "y/o",
        "patient": "pt",
        "prescription": "rx",
        "history": "hx",
        "blood pressure": "BP",
        "days": "d",
        "months": "mo",
        "left": "L",
        "right": "R",
        "with": "w/",
        "without": "w/o",
    },
)
