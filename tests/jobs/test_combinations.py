# SPDX-License-Identifier: Apache-2.0
"""Every pair of things that a job can say of method, aggregation and compression: allowed, or refused and why."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import PrivateAttr

from cloister.aggregation import rule_of
from cloister.documents import load
from cloister.errors import InvalidDocumentsError
from cloister.jobs import Job
from cloister.jobs.aggregation import Aggregation, ClientRule, FactorRule, Mixing, Rule, ServerOptimiser
from cloister.jobs.combinations import objections
from cloister.jobs.compression import CodecName, Compression
from cloister.jobs.method import Method
from tests.federation_folder import make_federation


@dataclass(frozen=True)
class Federation:
    rounds: int = 10
    minimum_sites: int = 9


class OtherMethod(Method):
    """A method by another name; what it holds is no matter here."""

    _called: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        return self._called

    @classmethod
    def of(cls, content: dict[str, Any], called: str) -> OtherMethod:
        made = cls.model_validate(content)
        made._called = called
        return made


LORA = {"rank": 8, "alpha": 16, "targets": ("query", "value")}
RULES: dict[str, dict[str, Any]] = {
    "mean": {},
    "median": {},
    "trimmed_mean": {"bad_sites": 2},
    "krum": {"bad_sites": 2},
    "multi_krum": {"bad_sites": 2},
    "geometric_median": {},
}
SERVERS = tuple(ServerOptimiser.model_fields)
CLIENTS = {"fedprox": {"mu": 0.1}, "scaffold": {}, "ditto": {"strength": 0.5}, "calibration": {}}
FACTORS = get_args(FactorRule)
METHODS = ("lora", "ia3", "prompt", "prefix", "bitfit", "full")
CODECS = get_args(CodecName)

# What may be said, by the key that it stands under; of one key only one can be said, so that pairs are of two keys.
SAID: dict[str, tuple[str, ...]] = {
    "method": METHODS,
    "variant": ("rslora", "dora", "minimum_rank", "base_model_precision"),
    "factors": FACTORS,
    "rule": tuple(RULES),
    "maximum_norm": ("1.0",),
    "mixing": ("2",),
    "server": SERVERS,
    "client": tuple(CLIENTS),
    "personal": ("classifier", "lora_B"),
    "up": CODECS,
    "down": CODECS,
    "error_feedback": ("false",),
    "code": ("code/own",),
}
ROBUST = ("median", "trimmed_mean", "krum", "multi_krum", "geometric_median")
ADAPTIVE = ("adam", "yogi", "adagrad")
LOSSY = ("bfloat16", "float16", "int8", "int4")


def refused() -> dict[frozenset[str], str]:
    """The refused pairs, one by one, with words of the reason."""
    table: dict[frozenset[str], str] = {}

    def refuse(key: str, values: tuple[str, ...], other: str, others: tuple[str, ...], why: str) -> None:
        for one, two in itertools.product(values, others):
            table[frozenset({f"{key}: {one}", f"{other}: {two}"})] = why

    refuse("method", ("ia3", "prompt", "prefix", "bitfit", "full"), "factors", FACTORS, "only low-rank adaptation has")
    refuse("variant", ("dora",), "factors", tuple(f for f in FACTORS if f != "fedit"), "is no sum")
    refuse("factors", ("refactored", "flora"), "rule", ROBUST, "nothing to choose among")
    refuse("factors", ("refactored", "flora"), "mixing", ("2",), "nothing to choose among")
    refuse("rule", ("mean",), "mixing", ("2",), "has to follow")
    refuse("factors", ("refactored",), "server", ADAPTIVE, "a step of its own for each value")
    refuse("factors", ("fedsvd",), "server", SERVERS, "basis turns after each round")
    refuse("factors", ("flora",), "server", SERVERS, "no former steps")
    refuse("factors", ("flora",), "client", ("scaffold", "ditto"), "drawn anew")
    refuse(
        "factors", ("refactored", "fedsvd"), "client", ("scaffold", "ditto"), "what a site keeps would be in another"
    )
    refuse("factors", ("rolora",), "client", ("scaffold",), "of another point")
    others = ("ffa-lora", "rolora", "fedsvd", "refactored")
    refuse("factors", others, "personal", ("lora_B",), "needs both factors of a layer")
    refuse("factors", ("flora",), "personal", ("classifier", "lora_B"), "may hold factors")
    refuse("factors", ("flora",), "down", LOSSY, "must be exact")
    refuse("factors", ("flora", "fedsvd"), "up", LOSSY, "a basis that the next round does not have")
    refuse("factors", ("fedsvd",), "down", LOSSY, "a basis that the next round does not have")
    refuse("factors", ("refactored", "flora"), "maximum_norm", ("1.0",), "how long their product is")
    refuse("variant", ("base_model_precision",), "factors", ("flora",), "rounded with them")
    refuse("variant", ("minimum_rank",), "factors", ("fedit", "ffa-lora", "fedsvd", "rolora"), "of several ranks")
    refuse("client", ("scaffold",), "rule", ROBUST, "come in through them")
    refuse("client", ("scaffold",), "maximum_norm", ("1.0",), "come in through them")
    refuse("client", ("scaffold",), "mixing", ("2",), "come in through them")
    refuse("client", ("ditto",), "personal", ("classifier", "lora_B"), "every layer already")
    refuse("code", ("code/own",), "client", tuple(CLIENTS), "does not know how")
    refuse("code", ("code/own",), "factors", ("flora",), "does not know how")
    return table


REFUSED = refused()
PAIRS = [
    (f"{key}: {one}", f"{other}: {two}")
    for (key, values), (other, others) in itertools.combinations(SAID.items(), 2)
    for one, two in itertools.product(values, others)
]


def said(*texts: str, federation: Federation | None = None) -> list[str]:
    """What is objected to a job that says ``texts``, such as `rule: krum`."""
    given = dict(text.split(": ") for text in texts)
    name, variant = given.get("method", "lora"), given.get("variant")
    values: dict[str, Any] = {"rslora": True, "dora": True, "minimum_rank": 4, "base_model_precision": "nf4"}
    changed = {} if variant is None else {variant: values[variant]}
    content: dict[str, Any] = {"lora": {**LORA, **changed}} if name == "lora" else {"full": {}}
    aggregation = Aggregation(
        rule=Rule.model_validate({given.get("rule", "mean"): RULES[given.get("rule", "mean")]}),
        maximum_norm=1.0 if "maximum_norm" in given else None,
        mixing=Mixing(bad_sites=int(given["mixing"])) if "mixing" in given else None,
        server=ServerOptimiser.model_validate({given["server"]: {}}) if "server" in given else None,
        client=ClientRule.model_validate({given["client"]: CLIENTS[given["client"]]}) if "client" in given else None,
        factors=given.get("factors"),  # type: ignore[arg-type]
        personal=(given["personal"],) if "personal" in given else (),
    )
    compression = Compression(
        up=given.get("up", "float32"),  # type: ignore[arg-type]
        down=given.get("down", "float32"),  # type: ignore[arg-type]
        error_feedback=given.get("error_feedback") != "false",
    )
    return objections(
        OtherMethod.of(content, name),
        aggregation,
        compression,
        federation or Federation(),
        own_code="code" in given,
    )


def said_of(pair: Sequence[str]) -> list[str]:
    """As `said`, without what is said of keys that the pair does not name.

    That is of ranks that differ by site wherever nothing is said of factors, and of the mean, which is the rule where
    none is given, of mixed updates.
    """
    found, keys = said(*pair), {text.split(": ")[0] for text in pair}
    found = [reason for reason in found if "factors" in keys or "of several ranks" not in reason]
    return [reason for reason in found if "rule" in keys or "`aggregation.rule.mean`" not in reason]


def test_every_pair_is_decided() -> None:
    assert set(REFUSED) <= {frozenset(pair) for pair in PAIRS}
    for pair in PAIRS:
        found, why = said_of(pair), REFUSED.get(frozenset(pair))
        assert any(why in reason for reason in found) if why else found == [], (pair, found)


@pytest.mark.parametrize("pair", sorted(map(sorted, REFUSED)), ids=" with ".join)
def test_a_reason_is_one_sentence_that_names_both(pair: list[str]) -> None:
    (reason, *more) = said_of(pair)
    assert reason[0].islower() and not reason.endswith(".") and "\n" not in reason
    for text in pair:
        key, value = text.split(": ")
        name = key if key in ("code", "personal", "maximum_norm", "mixing") else value
        # That rounding is made up for is what some cannot be with, whichever codec it is that rounds.
        assert name in reason or (value in LOSSY and "`compression.error_feedback: true`" in reason)
    assert all("compression." in other for other in more)


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (("factors: fedsvd", "down: int8", "error_feedback: false"), "come down as a whole"),
        (("factors: fedsvd", "down: int4", "error_feedback: false"), "come down as a whole"),
        (("factors: flora", "down: bfloat16", "error_feedback: false"), "must be exact"),
        (("client: scaffold", "up: int4", "error_feedback: false"), "would never come back"),
        (("client: scaffold", "down: int8", "error_feedback: false"), "would never come back"),
        (("factors: refactored", "variant: minimum_rank", "rule: krum"), "nothing to choose among"),
        (("factors: flora", "variant: minimum_rank", "server: adam"), "no former steps"),
        (("variant: minimum_rank", "rule: krum"), "of several ranks"),
        (("rule: krum", "mixing: 1"), "they are the same sites"),
        (("rule: trimmed_mean", "mixing: 3"), "they are the same sites"),
    ],
)
def test_what_three_things_come_to(texts: tuple[str, ...], why: str) -> None:
    (reason,) = said(*texts)
    assert why in reason


@pytest.mark.parametrize(
    "texts",
    [
        ("factors: fedsvd", "up: int4", "error_feedback: false"),
        ("factors: fedsvd", "down: bfloat16", "error_feedback: false"),
        ("factors: fedsvd", "rule: median", "maximum_norm: 1.0"),
        ("factors: fedit", "rule: geometric_median", "mixing: 4", "maximum_norm: 1.0", "client: fedprox"),
        ("method: full", "rule: krum", "mixing: 2", "server: adam", "personal: classifier", "up: int4"),
        ("factors: flora", "up: int8", "error_feedback: false"),
        ("factors: flora", "variant: minimum_rank", "client: fedprox"),
        ("factors: refactored", "variant: minimum_rank", "server: nesterov", "up: int4", "down: int4"),
        ("factors: refactored", "variant: rslora", "personal: classifier"),
        ("factors: rolora", "rule: krum", "server: adam", "client: fedprox", "up: int4"),
        ("client: scaffold", "up: int4", "personal: classifier", "factors: ffa-lora"),
        ("method: full", "rule: multi_krum", "server: yogi", "client: ditto", "up: int8", "down: int8"),
        ("variant: dora", "factors: fedit", "client: scaffold", "server: nesterov"),
        ("code: code/own", "factors: rolora", "personal: classifier"),
        ("code: code/own", "factors: refactored", "rule: mean", "server: nesterov", "up: int4", "down: int4"),
    ],
    ids=", ".join,
)
def test_what_goes_together(texts: tuple[str, ...]) -> None:
    assert said(*texts) == []


@pytest.mark.parametrize(
    ("rule", "needed"),
    [("mean", 1), ("median", 3), ("geometric_median", 3), ("trimmed_mean", 5), ("krum", 7), ("multi_krum", 7)],
)
def test_bad_sites_are_borne_among_so_many(rule: str, needed: int) -> None:
    assert said(f"rule: {rule}", federation=Federation(minimum_sites=needed)) == []
    asked = Rule.model_validate({rule: RULES[rule]})
    assert rule_of(Aggregation(rule=asked)).needed(0 if rule == "mean" else max(asked.bad_sites, 1)) == needed
    if needed > 1:
        (reason,) = said(f"rule: {rule}", federation=Federation(minimum_sites=needed - 1))
        assert f"`federation.minimum_sites` of at least {needed} for `aggregation.rule.{rule}`" in reason
        assert reason.endswith(f"gives {needed - 1}")


@pytest.mark.parametrize(
    ("rule", "mixing", "needed", "key"),
    [
        ("median", 1, 3, "rule.median"),
        ("median", 3, 7, "mixing"),
        ("geometric_median", 2, 5, "mixing"),
        ("trimmed_mean", 2, 5, "rule.trimmed_mean"),
        ("krum", 2, 7, "rule.krum"),
    ],
)
def test_bad_sites_are_borne_by_mixing_among_so_many(rule: str, mixing: int, needed: int, key: str) -> None:
    texts = f"rule: {rule}", f"mixing: {mixing}"
    assert said(*texts, federation=Federation(minimum_sites=needed)) == []
    asked = Aggregation(rule=Rule.model_validate({rule: RULES[rule]}), mixing=Mixing(bad_sites=mixing))
    assert rule_of(asked).needed(mixing) == needed
    (reason,) = said(*texts, federation=Federation(minimum_sites=needed - 1))
    assert f"of at least {needed} for `aggregation.{key}`" in reason


@pytest.mark.parametrize("rule", RULES)
def test_of_how_many_updates_something_is_left(rule: str) -> None:
    asked = Rule.model_validate({rule: RULES[rule]})
    plain = {"krum": 1, "multi_krum": 5}.get(rule, 9)
    assert Aggregation(rule=asked).left(9) == asked.left(9) == plain
    assert Aggregation(rule=asked, mixing=Mixing(bad_sites=2)).left(9) == 7
    assert Aggregation(rule=asked, mixing=Mixing(bad_sites=2)).left(1) == 0


def test_one_rank_by_another_name_is_no_several() -> None:
    method = Method.model_validate({"lora": {**LORA, "minimum_rank": 8}})
    assert objections(method, Aggregation(), Compression(), Federation()) == []


def test_factors_in_turns_need_two_rounds() -> None:
    assert said("factors: rolora", federation=Federation(rounds=2)) == []
    (reason,) = said("factors: rolora", federation=Federation(rounds=1))
    assert "`federation.rounds` of at least 2" in reason


def test_rounding_is_made_up_for_only_where_there_is_any() -> None:
    assert said("factors: fedsvd") == []
    assert said("client: scaffold", "error_feedback: false") == []


@pytest.mark.parametrize(
    ("aggregation", "compression", "what"),
    [
        ({"factors": "fedsvd"}, {"up": "int4"}, "(write `error_feedback: false`): what was rounded off"),
        ({"mixing": {"bad_sites": 1}}, {}, "(write a `rule`, such as `median: {}`): what a bad site sends"),
    ],
)
def test_of_what_holds_where_nothing_is_said_it_is_told_that_and_what_to_write(
    aggregation: dict[str, Any], compression: dict[str, Any], what: str
) -> None:
    def objected(**said: dict[str, Any]) -> str:
        method = Method.model_validate({"lora": LORA})
        asked = Aggregation.model_validate({**aggregation, **said.get("aggregation", {})})
        plan = Compression.model_validate({**compression, **said.get("compression", {})})
        (reason,) = objections(method, asked, plan, Federation())
        return reason

    assert f"`, which holds where the job says nothing {what}" in objected()
    written = objected(aggregation={"rule": {"mean": {}}}, compression={"error_feedback": True})
    assert "where the job says nothing" not in written


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["aggregation:", "  server: {adam: {}}", "  factors: flora"], 3),
        (["compression:", "  down: int4", "aggregation:", "  factors: fedsvd"], 4),
        (["aggregation:", "  factors: rolora", "  personal: [layer.lora_A]"], 3),
        (["aggregation:", "  rule: {krum: {bad_sites: 1}}"], None),  # what is too small is `minimum_sites`
    ],
)
def test_the_line_is_that_of_a_key_that_is_named(tmp_path: Path, more: list[str], line: int | None) -> None:
    path = make_federation(tmp_path) / "jobs" / "tiny-triage.yaml"
    text = path.read_text(encoding="utf-8").splitlines()
    expected = len(text) + line if line else 1 + text.index("  minimum_sites: 2")
    path.write_text("\n".join([*text, *more]) + "\n", encoding="utf-8")
    with pytest.raises(InvalidDocumentsError) as caught:
        load(path, Job)
    assert {problem.line for problem in caught.value.problems} == {expected}
