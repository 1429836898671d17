# SPDX-License-Identifier: Apache-2.0
"""What is said where a word stands and a mapping belongs."""

from __future__ import annotations

import pytest

from cloister.documents import parse
from cloister.errors import InvalidDocumentsError
from cloister.jobs import Job

TEXT = f"""\
job: j
purpose: p
task: text-classification
base_model: {{ name: m, sha256: {"0" * 64}, licence: apache-2.0 }}
dataset: {{ name: d, text: t, label: l, labels: [a, b] }}
method: {{ lora: {{ rank: 8, alpha: 16, targets: [query] }} }}
training: {{ steps: 8, batch_size: 4, learning_rate: 0.001 }}
federation: {{ rounds: 2 }}
"""
LORA = "{ lora: { rank: 8, alpha: 16, targets: [query] } }"


@pytest.mark.parametrize(
    ("more", "key", "hint"),
    [
        ("compression: int4", "compression", "write `compression: {up: int4}`"),
        ("aggregation: { rule: multi_krum }", "aggregation.rule", "write `rule: {multi_krum: {bad_sites: 1}}`"),
        ("aggregation: { rule: median }", "aggregation.rule", "write `rule: {median: {}}`"),
        ("aggregation: { server: adam }", "aggregation.server", "write `server: {adam: {}}`"),
        ("aggregation: refactored", "aggregation", "write `aggregation: {factors: refactored}`"),
        ("aggregation: { rule: whatever }", "aggregation.rule", ""),
        ("compression: [int4]", "compression", ""),
        ("compression:", "compression", ""),
    ],
)
def test_a_word_that_one_of_its_keys_or_values_has_is_told_as_the_mapping(more: str, key: str, hint: str) -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        parse(f"{TEXT}{more}\n".encode(), Job, name="j.yaml")
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"`{key}` must be a mapping of keys to values, not ")
    assert problem.hint == hint


def test_what_has_no_least_value_is_left_open() -> None:
    with pytest.raises(InvalidDocumentsError) as caught:
        parse(TEXT.replace(LORA, "lora").encode(), Job, name="j.yaml")
    (problem,) = caught.value.problems
    assert problem.hint == "write `method: {lora: {rank: 1, alpha: 1, targets: …}}`"
