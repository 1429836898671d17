# SPDX-License-Identifier: Apache-2.0
"""How well predictions agree with the truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def accuracy(truth: Integers, predicted: Integers) -> float:
    """Share of the records, both of shape (n,) with n > 0, whose class is right."""
    return float(np.mean(truth == predicted))


def macro_f1(truth: Integers, predicted: Integers) -> float:
    """Mean over classes of F1 = 2 TP / (2 TP + FP + FN), both arguments of shape (n,) with n > 0.

    Classes that neither occur nor are predicted do not count, as in scikit-learn's `f1_score(average="macro")`.
    """
    scores = []
    for number in np.union1d(truth, predicted):
        true_positives = np.sum((truth == number) & (predicted == number))
        mistaken = np.sum((truth == number) != (predicted == number))
        scores.append(2 * true_positives / (2 * true_positives + mistaken))
    return float(np.mean(scores))
