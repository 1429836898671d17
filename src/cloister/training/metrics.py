# SPDX-License-Identifier: Apache-2.0
"""How well predictions agree with the truth."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float32] | npt.NDArray[np.float64]


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


def auc(truth: Integers, scores: Numbers) -> float | None:
    """Area under the receiver operating characteristic; over several classes the mean of each against the rest.

    The share of pairs of a record of the class and another one in which the former scores higher; of equal scores half
    (Hanley and McNeil, https://doi.org/10.1148/radiology.143.1.7063747). Classes that none or all of the records have
    do not count.

    Args:
        truth: class of each record, shape (n,).
        scores: of each class, rising with its probability, shape (n, classes).

    Returns:
        None where no class counts.
    """
    classes = range(scores.shape[1]) if scores.shape[1] > 2 else (1,)
    areas = [area for number in classes if (area := _area(truth == number, scores[:, number])) is not None]
    return float(np.mean(areas)) if areas else None


def _area(truth: Truths, scores: Numbers) -> float | None:
    positive = int(truth.sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return None
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # Equal scores share the mean of their ranks.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def rmse(truth: Numbers, predicted: Numbers) -> float:
    """Root of the mean squared error, both of shape (n,) with n > 0, in their unit."""
    return float(np.sqrt(np.mean(np.square(truth - predicted))))


def mae(truth: Numbers, predicted: Numbers) -> float:
    """Mean absolute error, both of shape (n,) with n > 0, in their unit."""
    return float(np.mean(np.abs(truth - predicted)))


def r2(truth: Numbers, predicted: Numbers) -> float | None:
    """Coefficient of determination, both of shape (n,): 1 less the squared error over that of the mean.

    Returns:
        None where all of ``truth`` is the same.
    """
    spread = float(np.square(truth - truth.mean()).sum()) if len(truth) else 0.0
    return 1 - float(np.square(truth - predicted).sum()) / spread if spread > 0 else None


def c_index(times: Numbers, events: Truths, risks: Numbers) -> float | None:
    """Harrell's concordance (https://doi.org/10.1001/jama.1982.03320430047030), all arguments of shape (n,).

    The share of comparable pairs in which who has the event first is said to be at higher risk; of equal risks half.
    Comparable are an event and whoever is known to be without one for longer; at the same time, an event and a record
    that ends without one.

    Args:
        times: to the event, or to the last that is known.
        events: whether it came.
        risks: higher where the event is expected earlier.

    Returns:
        None where no pair is comparable.
    """
    later: list[float] = []  # sorted risks of all that outlast the time in question
    concordant, comparable = 0.0, 0
    order = np.argsort(times, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(times[order])) + 1)  # by time
    for group in reversed(groups):
        for risk in risks[group[~events[group]]].tolist():
            insort(later, risk)
        here = risks[group[events[group]]].tolist()
        for risk in here:
            below, equal_or_below = bisect_left(later, risk), bisect_right(later, risk)
            concordant += (below + equal_or_below) / 2
            comparable += len(later)
        for risk in here:
            insort(later, risk)
    return concordant / comparable if comparable else None
