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
        (
            "sites: [x, y, z]",
            "sites: [x]",
            "`minimum_sites: 2`, which holds where the job says nothing, is more than the one site",
        ),
        ("sha256: 0", "sha256: X", "`base_model.sha256` must be a SHA-256"),
        (
            "targets: [query]",
            "targets: ['.*']",
            "an entry of `method.lora.targets` must be the last parts",
        ),
        ("task: text-classification", "task: os.system", "`task` should be 'text-classification'"),
        ("job: j\n", "job: j\nselect_by: { metric: loss, mode: maximum }\n", "picks the worst round"),
        (
            "job: j\n",
            "job: j\nselect_by: { metric: dice }\n",
            "j.yaml:2: `select_by.metric: dice` is none of task text-classification, which can choose a round by "
            "`accuracy`, `macro_f1`, `loss`",
        ),
        ("job: j\n", "job: j\nnetwork: true\n", "unknown key `network`"),
        (
            "job: j\n",
            "job: j\naggregation:\n  client:\n    calibration:\n      shares: { a: 1 }\n",
            "j.yaml:5: `aggregation.client.calibration.shares` lacks `b` of `dataset.labels`",
        ),
        (
            "job: j\n",
            "job: j\naggregation:\n  client:\n    calibration:\n      shares: { a: 1, b: 2, c: 3 }\n",
            "j.yaml:5: `aggregation.client.calibration.shares` has `c`, which `dataset.labels` does not name",
        ),
        (
            "job: j\n",
            "job: j\naggregation: { client: { calibration: { shares: { a: 1e-7, b: 0.11 } } } }\n",
            "has one of `shares` that is more than a million times another",
        ),
        (
            "job: j\n",
            "job: j\naggregation: { client: { calibration: {} }, personal: [classifier] }\n",
            "`aggregation.client.calibration` is for a head that all sites share",
        ),
        (
            "job: j\n",
            "job: j\naggregation: { client: { calibration: { shares: { a: 0, b: 2 } } } }\n",
            "`aggregation.client.calibration.shares.a`",
        ),
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


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        ("causal-language-modelling", "prompt: a, completion: b"),
        ("token-classification", "text: a, entities: b, labels: [x]"),
        ("tabular-regression", "features: [a], target: b"),
        ("survival", "features: [a], time: b, event: c"),
        ("image-segmentation", "image: a, mask: b, labels: [x, y]"),
    ],
)
def test_a_calibrated_loss_of_what_is_of_no_one_class_is_refused(task: str, columns: str) -> None:
    text = TEXT.replace("text-classification", task) + "\naggregation: { client: { calibration: {} } }\n"
    with pytest.raises(
        InvalidDocumentsError, match=r"may not give `aggregation\.client\.calibration`: no record is of"
    ):
        parse(text.replace("text: t, label: l, labels: [a, b]", columns).encode(), Job, name="j.yaml")


def test_reference_jobs_are_named_like_their_files() -> None:
    files = sorted((ROOT / "jobs").rglob("*.yaml"))
    assert [load(file, Job).value.job for file in files] == [file.stem for file in files]
    assert len(files) == 11


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"minimum_sites": 5},
            [("minimum_sites", "`minimum_sites: 5` is more than the 3 sites of `federation.sites`")],
        ),
        (
            {"sites_per_round": 4, "enough_sites": 5},
            [
                ("sites_per_round", "`sites_per_round: 4` is more than the 3 sites of `federation.sites`"),
                ("enough_sites", "`enough_sites: 5` is more than the 3 sites of `federation.sites`"),
                ("enough_sites", "`enough_sites: 5` is more than `sites_per_round: 4`"),
            ],
        ),
        (
            {"minimum_sites": 3, "sites_per_round": 2},
            [("sites_per_round", "`sites_per_round: 2` is less than `minimum_sites: 3`")],
        ),
        (
            {"enough_sites": 1},
            [
                (
                    "enough_sites",
                    "`enough_sites: 1` is less than `minimum_sites: 2`, which holds where the job says nothing",
                )
            ],
        ),
        (
            {"sites": ["x"]},
            [
                (
                    "sites",
                    "`minimum_sites: 2`, which holds where the job says nothing, is more than the one site of "
                    "`federation.sites`",
                )
            ],
        ),
    ],
)
def test_numbers_of_sites_that_do_not_fit_are_told_at_their_own_lines(
    said: dict[str, object], told: list[tuple[str, str]]
) -> None:
    lines = [f"  {key}: {value}" for key, value in ({"rounds": 2, "sites": ["x", "y", "z"]} | said).items()]
    before = TEXT.splitlines()[:-1]
    with pytest.raises(InvalidDocumentsError) as caught:
        parse("\n".join([*before, "federation:", *lines]).encode(), Job, name="j.yaml")
    places = {line.split(":")[0].strip(): len(before) + 2 + number for number, line in enumerate(lines)}
    expected = [(places[key], message) for key, message in told]
    assert sorted((each.line, each.message) for each in caught.value.problems) == sorted(expected)
