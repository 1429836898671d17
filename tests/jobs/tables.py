# SPDX-License-Identifier: Apache-2.0
"""Jobs on columns and descriptions of columns, drawn by hypothesis or plain."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from cloister.jobs import Job
from cloister.jobs.statistics import CategorySummary, FeatureStatistics, NumberSummary

LABELS = ("no", "yes")


def job(
    task: str = "tabular-classification",
    *,
    features: tuple[str, ...] = ("age", "smoker", "ward"),
    architecture: dict[str, Any] | None = None,
    labels: tuple[str, ...] = LABELS,
    **training: object,
) -> Job:
    aims: dict[str, dict[str, object]] = {
        "tabular-classification": {"label": "ill", "labels": labels},
        "tabular-regression": {"target": "stay"},
        "survival": {"time": "days", "event": "died"},
    }
    plan = {"steps": 60, "batch_size": 16, "learning_rate": 0.01, "seed": 5, **training}
    document = {
        "job": "risk",
        "purpose": "research",
        "task": task,
        "architecture": architecture or {"mlp": {"hidden": [8]}},
        "dataset": {"name": "stays", "features": features, **aims[task]},
        "method": {"full": {}},
        "training": {key: value for key, value in plan.items() if value is not None},
        "federation": {"rounds": 2},
    }
    return Job.model_validate_json(json.dumps(document))


_COUNT = st.integers(0, 500)
_NUMBERS = st.builds(
    NumberSummary,
    present=_COUNT,
    missing=st.sampled_from([0, 0, 7, 90]),
    mean=st.floats(-1e6, 1e6),
    variance=st.one_of(st.just(0.0), st.floats(0, 1e9)),
)
_CATEGORIES = st.builds(
    CategorySummary,
    present=_COUNT,
    missing=st.sampled_from([0, 12]),
    counts=st.dictionaries(st.sampled_from(["a", "b", "c", "true", "false", "é"]), st.one_of(st.none(), _COUNT)),
)


@st.composite
def described_jobs(draw: st.DrawFn) -> tuple[Job, FeatureStatistics]:
    """A job on columns with any network, and a description of its features."""
    features = draw(
        st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), st.one_of(_NUMBERS, _CATEGORIES), min_size=1)
    )
    for taken in ("ill", "stay", "days", "died"):
        features.pop(taken, None)
    features = features or {"age": NumberSummary(present=3, missing=0)}
    heads = draw(st.integers(1, 3))
    architecture = draw(
        st.one_of(
            st.builds(lambda hidden: {"mlp": {"hidden": hidden}}, st.lists(st.integers(1, 9), max_size=3)),
            st.builds(
                lambda each, layers: {"ft_transformer": {"width": heads * each, "layers": layers, "heads": heads}},
                st.integers(4, 7),
                st.integers(1, 3),
            ),
        )
    )
    task = draw(st.sampled_from(["tabular-classification", "tabular-regression", "survival"]))
    labels = tuple(f"c{number}" for number in range(draw(st.integers(2, 5))))
    names = tuple(draw(st.permutations(sorted(features))))
    drawn = job(task, features=names, architecture=architecture, labels=labels)
    return drawn, FeatureStatistics(records=draw(_COUNT), features=features)
