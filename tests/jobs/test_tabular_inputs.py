# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from cloister.errors import JobError
from cloister.jobs.statistics import CategorySummary, FeatureStatistics, NumberSummary
from cloister.jobs.tabular_inputs import CategoryInput, NumberInput, inputs_of, scaling_of


def described(**features: NumberSummary | CategorySummary) -> FeatureStatistics:
    return FeatureStatistics(records=100, features=features)


def test_numbers_are_standardised_and_categories_have_slots() -> None:
    inputs = inputs_of(
        ("ward", "age", "pulse"),
        described(
            pulse=NumberSummary(present=80, missing=20, mean=70.0, variance=16.0),
            age=NumberSummary(present=100, missing=0, mean=50.0, variance=100.0),
            ward=CategorySummary(present=100, missing=0, counts={"s": 40, "b": 60, "rare": None, "never": 0}),
            stay=NumberSummary(present=100, missing=0, mean=1.0, variance=1.0),
        ),
    )
    assert inputs.numbers == (NumberInput("age", 50.0, 10.0, False), NumberInput("pulse", 70.0, 4.0, True))
    assert inputs.categories == (CategoryInput("ward", ("b", "s")),)
    ward = inputs.categories[0]
    assert (ward.other, ward.missing, ward.slots) == (2, 3, 4)
    assert (inputs.indicators, inputs.width) == ((1,), 2 + 1 + 4)


@pytest.mark.parametrize(
    ("summary", "scaling"),
    [
        (NumberSummary(present=0, missing=9), (0.0, 1.0)),
        (NumberSummary(present=9, missing=0, mean=4.0, variance=0.0), (4.0, 1.0)),
        (NumberSummary(present=9, missing=0, mean=1e12, variance=1e-4), (1e12, 1.0)),  # a rounding error
        (NumberSummary(present=9, missing=0, mean=-4.0, variance=0.25), (-4.0, 0.5)),
    ],
)
def test_what_does_not_vary_is_not_magnified(summary: NumberSummary, scaling: tuple[float, float]) -> None:
    assert scaling_of(summary) == scaling


def test_a_number_of_which_nothing_is_told_is_unknown() -> None:
    inputs = inputs_of(("age",), described(age=NumberSummary(present=0, missing=100)))
    assert inputs.numbers == (NumberInput("age", 0.0, 1.0, True, known=False),)


def test_a_feature_that_is_not_described_is_named() -> None:
    with pytest.raises(JobError, match="the feature `age` was not described"):
        inputs_of(("age",), described())
