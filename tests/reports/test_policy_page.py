# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import html.parser
import json
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from cloister.documents import Document, parse
from cloister.policies import Policy
from cloister.reports.policy_floor import tightened
from cloister.reports.policy_page import policy_page
from cloister.reports.policy_words import passages, silences

WHOLE: dict[str, Any] = {
    "language": 1,
    "policy": "alpha",
    "version": 3,
    "extends": "baseline",
    "owner": "olga",
    "valid_from": "2026-01-01",
    "valid_until": "2027-01-01",
    "hours": {"days": ["monday", "friday"], "from": "08:00", "until": "18:00"},
    "submitters": {"people": ["ada@x.example"], "roles": ["data-scientist"], "organisations": ["institute"]},
    "purposes": ["care", "research"],
    "datasets": {
        "notes": {
            "columns": ["note", "triage"],
            "minimum_records": 101,
            "minimum_per_class": 11,
            "minimum_validation_records": 13,
            "purposes": ["care"],
            "minimum_people": 41,
            "rows": {"ward": ["north"]},
            "filter": "age >= 18",
            "free_text": "mask",
            "approval": {"kind": "ethics", "reference": "EC 7", "until": "2026-12-31"},
        }
    },
    "base_models": [{"name": "minilm", "sha256": "a" * 64, "licence": "mit"}],
    "methods": {
        "lora": {"maximum_rank": 16, "targets": ["query"], "variants": ["dora"]},
        "ia3": {"targets": ["query"]},
        "prompt": {"maximum_tokens": 20},
        "prefix": {"maximum_tokens": 10},
        "bitfit": {},
        "full": {"networks": ["mlp"]},
    },
    "training": {
        "maximum_rounds": 51,
        "maximum_batch_size": 65,
        "maximum_steps_per_round": 501,
        "maximum_epochs_per_round": 6,
        "minimum_records_per_round": 66,
    },
    "code": {"approved": [{"sha256": "b" * 64, "by": "olaf", "until": "2026-11-11"}]},
    "sandbox": "required",
    "may_leave": {
        "tensors": ["adapter"],
        "maximum_bytes_per_round": 4001,
        "maximum_bytes_per_job": 40001,
        "maximum_norm": 2.5,
        "metrics": ["loss"],
        "metric_bounds": {"loss": {"minimum": 0.25, "maximum": 20.5}},
        "statistics": {"minimum_count": 8},
    },
    "aggregation": {"minimum_sites": 3, "secure_aggregation": "required"},
    "privacy": {"unit": "record", "epsilon": 3.5, "delta": 0.001},
    "release": {"minimum_sites": 4, "minimum_records": 301, "approved_by": ["olga@x.example"]},
    "waivers": [{"rule": "training", "reason": "a pilot", "by": "omar", "until": "2026-10-10", "jobs": ["one"]}],
}

METHODS: dict[str, Any] = WHOLE["methods"]
OTHER: dict[str, Any] = {
    "extends": None,  # cannot be otherwise in a site's policy
    "language": None,  # there is one
    "secure_aggregation": None,  # there is one word for it
    "bitfit": None,  # it is granted, or not
    "valid_from": "2025-02-02",
    "valid_until": "2028-02-02",
    "until": "2026-09-09",
    "kind": "consent",
    "sandbox": "unsafe-none",
    "unit": "person",
    "days": ["sunday"],
    "people": ["eve@x.example"],
    "roles": ["it-admin"],
    "tensors": ["head"],
    "targets": ["key"],
    "variants": ["rslora"],
    "filter": "age >= 21",
    "free_text": "refuse",
    "networks": ["unet"],
    "columns": ["other"],
    "sha256": "c" * 64,
    "metrics": ["loss", "accuracy"],
    "approved_by": ["eve@x.example"],
    "from": "07:30",
    "rule": "hours",
    "minimum": 0.75,
    "maximum": 22.5,
    "jobs": ["two"],
    "ward": ["south"],
    "delta": 0.002,
}


def document(tree: dict[str, Any]) -> Document[Policy]:
    return parse(json.dumps(tree).encode(), Policy, name="policies/alpha.yaml")


def words(tree: dict[str, Any]) -> str:
    policy = document(tree).value
    return "\n".join(sentence for passage in passages(policy) for sentence in passage.sentences)


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    elif isinstance(tree, list) and tree and isinstance(tree[0], dict):
        for index, value in enumerate(tree):
            yield from leaves(value, (*path, index))
    else:
        yield path


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name
        for inner in models_in(field.annotation):
            yield from keys(inner)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for argument in typing.get_args(annotation) for inner in models_in(argument)]


def changed(path: tuple[Any, ...]) -> dict[str, Any] | None:
    """The whole policy with another value at ``path``; None where there is no other."""
    tree = copy.deepcopy(WHOLE)
    inner: Any = tree
    for key in path[:-1]:
        inner = inner[key]
    old, key = inner[path[-1]], path[-1]
    if key in OTHER:
        inner[key] = "19:30" if path == ("hours", "until") else OTHER[key]
        return None if OTHER[key] is None else tree
    inner[key] = old + 1 if isinstance(old, int | float) else [*old, "more"] if isinstance(old, list) else f"{old}-x"
    return tree


def test_the_whole_policy_holds_every_key_of_the_model() -> None:
    written = {part for path in leaves(WHOLE) for part in path if isinstance(part, str)}
    assert set(keys(Policy)) <= written


@pytest.mark.parametrize("path", list(leaves(WHOLE)), ids=lambda path: ".".join(map(str, path)))
def test_every_key_has_its_sentence(path: tuple[Any, ...]) -> None:
    tree = changed(path)
    if tree is None:
        assert f"`{WHOLE[path[0]] if len(path) == 1 else 'required'}`" in words(WHOLE)
        return
    assert words(tree) != words(WHOLE)


@pytest.mark.parametrize(
    "key",
    [
        "submitters",
        "purposes",
        "datasets",
        "base_models",
        "methods",
        "training",
        "may_leave",
        "aggregation",
        "code",
        "sandbox",
    ],
)
def test_a_section_that_is_not_written_is_said_to_deny(key: str) -> None:
    tree = copy.deepcopy(WHOLE)
    del tree[key]
    said = [sentence for sentence in silences(document(tree).value) if f"`{key}`" in sentence]
    assert len(said) == 1
    assert not [sentence for sentence in silences(document(WHOLE).value) if f"`{key}`" in sentence]


def test_a_baseline_leaves_what_it_does_not_write_to_the_sites() -> None:
    tree = {key: WHOLE[key] for key in ("version", "owner", "valid_from", "valid_until")} | {"policy": "baseline"}
    (one, *others) = silences(document(tree).value)
    assert "sets no floor" in one
    assert len(others) == 7


def floor(**changes: Any) -> tuple[str, ...]:
    tree = {key: WHOLE[key] for key in ("version", "owner", "valid_from", "valid_until")}
    return tightened(document(WHOLE).value, document({**tree, "policy": "baseline", **changes}).value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"purposes": ["care"]}, "`purposes`: the baseline does not grant `research`."),
        ({"aggregation": {"minimum_sites": 5}}, "`aggregation.minimum_sites`: `3` here, `5` in the baseline"),
        (
            {"methods": {**METHODS, "lora": {"maximum_rank": 4, "targets": ["query"], "variants": ["dora"]}}},
            "`methods.lora.maximum_rank`: `16` here, `4`",
        ),
        ({"methods": {key: METHODS[key] for key in METHODS if key != "full"}}, "the baseline does not grant `full`"),
        ({"methods": {key: METHODS[key] for key in METHODS if key != "ia3"}}, "the baseline does not grant `ia3`"),
        ({"methods": {**METHODS, "prompt": {"maximum_tokens": 5}}}, "`methods.prompt.maximum_tokens`: `20` here, `5`"),
        (
            {"methods": {**METHODS, "lora": {"maximum_rank": 16, "targets": ["query"]}}},
            "`methods.lora`: the baseline does not grant `variants`.",
        ),
        (
            {"methods": {**METHODS, "lora": {"maximum_rank": 16, "targets": ["query"], "variants": ["rslora"]}}},
            "`methods.lora.variants`: the baseline does not grant `dora`.",
        ),
        (
            {"datasets": {"notes": {"columns": ["note", "triage"], "minimum_records": 101, "free_text": "refuse"}}},
            "`datasets.notes.free_text`: `mask` here, `refuse` in the baseline, and that counts",
        ),
        (
            {"datasets": {"notes": {"columns": ["note", "triage"], "minimum_records": 101, "filter": "age < 90"}}},
            "`datasets.notes.filter`: `age >= 18` here, `age < 90` in the baseline; both must hold",
        ),
        (
            {"may_leave": {"tensors": ["adapter"], "maximum_bytes_per_round": 5000, "metrics": ["loss"]}},
            "`may_leave`: the baseline does not grant `statistics`",
        ),
        ({"code": "forbidden"}, "`code`: the baseline forbids"),
        ({"valid_until": "2026-06-30"}, "ends earlier, on `2026-06-30`"),
        ({"submitters": {"roles": ["it-admin"]}}, "`submitters.roles`: the baseline does not grant `data-scientist`."),
    ],
)
def test_what_a_baseline_tightens_is_said(changes: dict[str, Any], said: str) -> None:
    (sentence,) = floor(**changes)
    assert said in sentence


@pytest.mark.parametrize(
    "changes", [{}, {"purposes": ["care", "research", "more"]}, {"aggregation": {"minimum_sites": 2}}]
)
def test_a_looser_baseline_tightens_nothing(changes: dict[str, Any]) -> None:
    assert floor(**changes) == ()


class Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag != "meta":
            self.open.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onload", "onclick"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_fetches_nothing() -> None:
    policy = document(WHOLE)
    page = Page()
    page.feed(
        policy_page(
            policy,
            document(
                {key: WHOLE[key] for key in ("version", "owner", "valid_from", "valid_until")} | {"policy": "baseline"}
            ),
        )
    )
    assert page.open == []
    assert not page.tags & {"script", "link", "img", "iframe"}
    for passage in passages(policy.value):
        assert passage.title in page.text
        for sentence in passage.sentences:
            assert sentence.replace("`", "") in page.text


def test_what_a_policy_says_is_never_markup() -> None:
    nasty = "<script>alert(1)</script> & \"'"
    tree = {**WHOLE, "owner": nasty, "datasets": {"notes": {**WHOLE["datasets"]["notes"], "rows": {"ward": [nasty]}}}}
    page = policy_page(document(tree), document(tree))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;" in page


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (1234567.0, "1,234,567"),
        (1234567.89, "1,234,567.89"),
        (0.123456789, "0.123456789"),
        (1e-05, "1e-05"),
        (10, "10"),
    ],
)
def test_numbers_are_said_with_every_digit(written: float, said: str) -> None:
    tree = copy.deepcopy(WHOLE)
    tree["may_leave"]["maximum_norm"] = written
    tree["may_leave"]["metric_bounds"]["loss"] = {"maximum": written}
    tree["privacy"].update(epsilon=3.1415926, delta=1.2345678e-06)
    text = words(tree)
    assert f"The Euclidean norm of an update may be `{said}` at most." in text
    assert f"`loss` may leave up to `{said}`." in text
    assert "with epsilon `3.1415926` and delta `1.2345678e-06`" in text
