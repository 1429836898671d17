# SPDX-License-Identifier: Apache-2.0
"""Invented patients with heart failure: what was known on the day it was found, and what came after.

Sites differ in whom they see. Older and heavier people, smokers and those with a high pressure come back more often, by
one rule that is the same everywhere; what is left is chance. No number comes from a real patient, and none is advice.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import date, timedelta

INDEX_DAY = date(2024, 1, 1)
"""On which heart failure was found, of everybody: an export shows all patients as of one day."""

WINDOW_DAYS = 90
"""Within which somebody comes back or not. Whoever is here lived so long, so that it is known of all."""

_FOLLOWED_DAYS = 730
_MEAN_DAYS = 700.0
_CHILDREN = 4
_SHARE_WITHOUT_BMI = 0.06


@dataclass(frozen=True)
class HeartSite:
    """Whom a site sees.

    Attributes:
        site: its name.
        patients: how many, beside a few children.
        age: mean, years.
        bmi: mean, kg/m².
        smokers: share, 0 to 1.
        men: share, 0 to 1.
    """

    site: str
    patients: int
    age: float
    bmi: float
    smokers: float
    men: float


HEART_SITES = (
    HeartSite("hospital-north", 190, 71.0, 26.0, 0.20, 0.45),
    HeartSite("hospital-river", 160, 58.0, 29.5, 0.45, 0.60),
    HeartSite("hospital-hill", 220, 64.0, 27.5, 0.30, 0.52),
)


@dataclass(frozen=True)
class HeartPatient:
    """One invented patient.

    Attributes:
        number: from 1, at this site.
        born: day of birth.
        sex: `female` or `male`.
        systolic: pressure, mm[Hg].
        bmi: kg/m²; None where nobody weighed them.
        smoker: whether.
        back_on: day on which they were taken in again, counted from `INDEX_DAY`; None where not within the window.
        days: until death, or until the last day that is known of.
        died: whether.
    """

    number: int
    born: date
    sex: str
    systolic: int
    bmi: float | None
    smoker: bool
    back_on: int | None
    days: int
    died: bool

    @property
    def age(self) -> int:
        """Completed years on `INDEX_DAY`."""
        day = INDEX_DAY
        return day.year - self.born.year - ((day.month, day.day) < (self.born.month, self.born.day))

    @property
    def last_day(self) -> date:
        """The last on which anything is known."""
        return INDEX_DAY + timedelta(self.days)


def heart_patients(site: HeartSite, seed: int) -> list[HeartPatient]:
    """The patients of one site; a few of them are children."""
    draw = random.Random(f"{seed} heart {site.site}")  # noqa: S311  records are invented, not secret
    ages = [min(94.0, max(25.0, draw.gauss(site.age, 9.0))) for _ in range(site.patients)]
    ages += [draw.uniform(9.0, 17.0) for _ in range(_CHILDREN)]
    draw.shuffle(ages)
    return [_patient(number, age, site, draw) for number, age in enumerate(ages, start=1)]


def _patient(number: int, age: float, site: HeartSite, draw: random.Random) -> HeartPatient:
    sex = "male" if draw.random() < site.men else "female"
    systolic = round(draw.gauss(134.0 + 0.3 * (age - 62.0), 14.0))
    bmi = round(min(45.0, max(17.0, draw.gauss(site.bmi, 3.6))), 1)
    smoker = age > 18.0 and draw.random() < site.smokers
    risk = 0.11 * (age - 64.0) + 0.05 * (systolic - 135) + 0.16 * (bmi - 27.5) + (1.5 if smoker else -0.5)
    back = draw.random() < 1.0 / (1.0 + math.exp(-1.6 * risk))
    lived = WINDOW_DAYS + 1 + round(draw.expovariate(1.0) * _MEAN_DAYS * math.exp(-0.5 * risk))
    followed = draw.randint(_FOLLOWED_DAYS // 2, _FOLLOWED_DAYS)
    return HeartPatient(
        number=number,
        born=INDEX_DAY - timedelta(round(age * 365.25)),
        sex=sex,
        systolic=min(220, max(80, systolic)),
        bmi=None if draw.random() < _SHARE_WITHOUT_BMI else bmi,
        smoker=smoker,
        back_on=draw.randint(2, WINDOW_DAYS - 1) if back else None,
        days=min(lived, followed),
        died=lived <= followed,
    )
