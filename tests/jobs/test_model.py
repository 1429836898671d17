# SPDX-License-Identifier: Apache-2.0
"""Job documents: what cannot be meant is refused before any site is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloister.documents import load, parse
from cloister.errors import InvalidDocumentsError
from cloister.jobs import Job

ROOT = Path(__file__).resolve().parents[2]
TEXT = f"""\
job: j
purpose: p
task: text-classification
base_model: {{ name: m, sha256: {"0" * 64}, licence: apache-2.0 }}
dataset: {{ name: d, text: t, label: l, labels: [a, b] }}
method: {{ lora: {{ rank: 8, alpha: 16, targets: [query] }} }}
training: {{ steps: 8, batch_size: 4, learning_rate: 0.001 }}
federation: {{ rounds: 2, sites: [x, y, z] }}
"""


def read(old: str = "", new: str = "") -> Job:
    assert old in TEXT
    return parse(TEXT.replace(old, new).encode(), Job, name="j.yaml").value


def test_what_is_not_said_has_a_default() -> None:
    job = read()
    assert job.training.head_learning_rate is None
    assert job.federation.minimum_sites == 2
    assert (job.select_by.metric, job.select_by.mode) == ("accuracy", "maximum")


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("labels: [a, b]", "labels: [a, a]", "lists a label twice"),
        ("labels: [a, b]", "labels: [yes, 1]", "an entry of `dataset.labels` must be text, not a number"),
        ("labels: [a, b]", "labels: [a]", "needs `labels` in `dataset`"),
        ("label: l,", "label: t,", "names one column as both `text` and `label`"),
        ("text: t,", "text: 't; x',", "`dataset.text` must be 1 to 63 letters, digits and underscores"),
        ("steps: 8,", "steps: 8, epochs: 1,", "needs either `steps` or `epochs`, and not both"),
        ("steps: 8,", "", "needs either `steps` or `epochs`, and not both"),
        ("steps: 8,", "steps: 8, packing: true,", "of task text-classification may not give `packing` in `training`"),
        ("steps: 8,", "steps: 8.5,", "`training.steps` must be a whole number, not a number"),
        ("learning_rate: 0.001", "learning_rate: .inf", "`training.learning_rate` must be a number, not text"),
        ("sites: [x, y, z]", "sites: [x, y, x]", "names a site twice"),
        ("sites: [x, y, z]", "sites: [x]", "asks 1 sites yet needs `minimum_sites: 2`"),
        ("sha256: 0", "sha256: X", "`base_model.sha256` must be a SHA-256"),
        (
            "targets: [query]",
            "targets: ['.*']",
            "an entry of `method.lora.targets` must be the last parts",
        ),
        ("task: text-classification", "task: os.system", "`task` should be 'text-classification'"),
        ("job: j\n", "job: j\nselect_by: { metric: loss, mode: maximum }\n", "picks the worst round"),
        ("job: j\n", "job: j\nselect_by: { metric: dice }\n", "can choose a round by `accuracy`, `macro_f1`, `loss`"),
        ("job: j\n", "job: j\nnetwork: true\n", "unknown key `network`"),
    ],
)
def test_what_cannot_be_meant_is_refused(old: str, new: str, wrong: str) -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        read(old, new)
    assert wrong in str(caught.value)


def test_a_rate_for_a_head_that_there_is_none_is_refused() -> None:
    text = TEXT.replace("text-classification", "causal-language-modelling").replace(
        "steps", "head_learning_rate: 1, steps"
    )
    columns = text.replace("text: t, label: l, labels: [a, b]", "prompt: a, completion: b")
    with pytest.raises(InvalidDocumentsError, match="has no head, and may not give `head_learning_rate`"):
        parse(columns.encode(), Job, name="j.yaml")


def test_reference_jobs_are_named_like_their_files() -> None:
    files = sorted((ROOT / "jobs").rglob("*.yaml"))
    assert [load(file, Job).value.job for file in files] == [file.stem for file in files]
    assert len(files) == 11
