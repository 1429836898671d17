# SPDX-License-Identifier: Apache-2.0
"""docs/policies.md: every rule, every key, and examples that are decided here as they stand there."""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from cloister.documents.yaml_tree import YamlTree
from cloister.policies import RULES, Policy
from tests.policies.world import World

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
RULES_PART = PAGE.split("\n## Every rule\n")[1].split("\n## ")[0]
SECTIONS = dict(re.findall(r"^### ([a-z-]+)\n(.*?)(?=^### |\Z)", RULES_PART, re.MULTILINE | re.DOTALL))
# Rules that deny in this version wherever a policy states what they are about.
UNABLE = {"secure-aggregation", "privacy"}
ROW = re.compile(r"^\| `(.+)` \| (allow|deny|not-applicable)(?:: (.+))? \|$", re.MULTILINE)
EXAMPLES = [(rule, *row) for rule, text in SECTIONS.items() for row in ROW.findall(text)]


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every key of ``model`` as the page writes it: `datasets.<name>.columns`."""
    found = []
    for attribute, field in model.model_fields.items():
        name = field.alias or attribute
        found.append(prefix + name)
        for inner in models_in(field.annotation):
            entry = ".<name>" if "dict[" in str(field.annotation) else ""
            found += keys(inner, f"{prefix}{name}{entry}.")
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for argument in typing.get_args(annotation) for inner in models_in(argument)]


def test_every_rule_has_its_heading_in_the_order_of_the_rules() -> None:
    assert list(SECTIONS) == [rule.id for rule in RULES]


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_every_rule_has_its_file_and_its_test(rule: str) -> None:
    name = rule.replace("-", "_")
    assert (ROOT / "src/cloister/policies/rules" / f"{name}.py").read_text(encoding="utf-8").count(
        f'Rule("{rule}",'
    ) == 1
    assert (ROOT / "tests/policies/rules" / f"test_{name}.py").is_file()


def test_every_file_is_a_registered_rule() -> None:
    files = {path.stem.replace("_", "-") for path in (ROOT / "src/cloister/policies/rules").glob("[a-z]*.py")}
    assert files == {rule.id for rule in RULES}


def test_every_key_has_its_line_and_no_other_key_has() -> None:
    lines = re.findall(r"^\| `([a-z0-9_.<>]+)` \|", PAGE.split("\n## Every rule\n")[0], re.MULTILINE)
    assert lines == keys(Policy)


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_every_rule_shows_one_that_is_allowed_and_one_that_is_denied(rule: str) -> None:
    answers = [answer for name, _, answer, _ in EXAMPLES if name == rule]
    assert set(answers) == {"deny"} if rule in UNABLE else {"allow", "deny"} <= set(answers)


def test_every_page_of_a_waivable_rule_says_so() -> None:
    said = {rule for rule, text in SECTIONS.items() if "Can be waived." in text.replace("\n", " ")}
    assert said == {rule.id for rule in RULES if rule.waivable}
    listed = PAGE.split("\n### Waivers\n")[1].split("###")[0]
    assert said <= set(re.findall(r"`([a-z-]+)`", listed))


def test_every_line_of_an_example_table_is_read() -> None:
    lines = [line for line in RULES_PART.splitlines() if line.startswith("| `")]
    assert len(lines) == len(EXAMPLES)


@pytest.mark.parametrize(("rule", "change", "answer", "message"), EXAMPLES)
def test_examples_are_answered_as_the_page_says(
    world: World, rule: str, change: str, answer: str, message: str
) -> None:
    world.silence_baseline()
    (shown,) = re.findall(r"```yaml\n(.*?)```", SECTIONS[rule], re.DOTALL)
    world.site.update(YamlTree(PAGE).build(shown))  # as a document is read: 07:00 is text
    world.ask(yaml.safe_load(change))
    own = world.outcomes(rule)[:-1]
    assert {outcome.effect.value for outcome in own} == {answer}
    if message:
        pattern = ".+".join(re.escape(part) for part in message.split("…"))
        assert [outcome.message for outcome in own if re.fullmatch(pattern, outcome.message)]


def test_the_whole_example_of_a_refusal_is_the_real_one(world: World) -> None:
    (shown,) = re.findall(r"```text\n +(.*?)\n", PAGE)
    world.silence_baseline()
    world.site["purposes"] = ["care-improvement"]
    world.site["datasets"]["clinical-notes"].pop("purposes")
    world.job["purpose"] = "marketing"
    sentence = world.refusal("purpose").sentence()
    assert re.sub(r"\(.*\)$", "", sentence) == re.sub(r"\(.*\)$", "", shown)
