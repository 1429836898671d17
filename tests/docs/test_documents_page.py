# SPDX-License-Identifier: Apache-2.0
"""docs/documents.md: every key with its default, in the order of the models, and examples that are valid."""

from __future__ import annotations

import re
import typing
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cloister.documents import Model, parse
from cloister.errors import InvalidDocumentsError
from cloister.jobs import Job
from cloister.policies import Policy
from cloister.policies.cases import Cases
from cloister.roster import Federation
from cloister.silos import Silo
from tests.docs.pages import PAGES, Block, blocks, sections, text_of

PAGE = text_of("docs/documents.md")
MODELS: dict[str, type[Model]] = {"Federation": Federation, "Silo": Silo, "Job": Job}
KINDS: dict[str, type[Model]] = {"federation": Federation, "silo": Silo, "job": Job, "policy": Policy, "cases": Cases}
MARK = re.compile(r"<!-- document: (\w+) -->")
EXAMPLES = [
    pytest.param(block, id=f"{page.name}-{MARK.match(block.before)[1]}")  # type: ignore[index]
    for page in PAGES
    for block in blocks(page.read_text(encoding="utf-8"))
    if block.language == "yaml" and MARK.match(block.before)
]


def default_of(field: FieldInfo) -> str:
    """A key's default as the page writes it."""
    if field.is_required():
        return "required"
    if field.default_factory is not None and field.default_factory_takes_validated_data:
        return "follows"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "optional"
    if value is None or value in ((), {}):
        return "none"
    return f"`{value}`"


def keys(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Every key of ``model`` as the page writes it, with its default."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        name = field.alias or name  # noqa: PLW2901 - as documents write it
        found.setdefault(prefix + name, default_of(field))
        entry = ".<name>" if "dict[" in str(field.annotation) else ""
        for inner in models_in(field.annotation):
            for key, default in keys(inner, f"{prefix}{name}{entry}.").items():
                found.setdefault(key, default)
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for argument in typing.get_args(annotation) for inner in models_in(argument)]


@pytest.mark.parametrize("title", MODELS)
def test_every_key_has_its_line_with_its_default(title: str) -> None:
    rows = re.findall(
        r"^\| `([a-z0-9_.<>]+)` \| (.+?) \| .+ \|$", sections(PAGE, 2)[title].split("\n### ")[0], re.MULTILINE
    )
    assert [key for key, _ in rows] == list(keys(MODELS[title]))
    assert dict(rows) == keys(MODELS[title])


@pytest.mark.parametrize("title", MODELS)
def test_every_document_has_a_whole_example(title: str) -> None:
    marks = [MARK.match(block.before) for block in blocks(sections(PAGE, 2)[title]) if block.language == "yaml"]
    assert [mark and mark[1] for mark in marks] == [title.lower()]


@pytest.mark.parametrize("block", EXAMPLES)
def test_whole_examples_are_valid(block: Block) -> None:
    mark = MARK.match(block.before)
    assert mark
    parse(block.text.encode(), KINDS[mark[1]], name="example")


def test_an_example_with_a_mistake_would_be_found() -> None:
    (example,) = [block.text for block in blocks(sections(PAGE, 2)["Job"])]
    with pytest.raises(InvalidDocumentsError):
        parse(example.replace("rounds:", "round:").encode(), Job, name="example")
