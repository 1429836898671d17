# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from cloister.jobs.compression import Compression
from cloister.reports.travelled import ROUND_HEAD, by_round, counted_words, form_words, of_site
from tests.reports.finished_job import finished_job, with_socket


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finished_job(tmp_path_factory.mktemp("job"))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Compression(), "as they are (float32), both ways"),
        (Compression(up="int4", down="int8"), "up as int4, down as int8, with error feedback"),
        (Compression(up="bfloat16", error_feedback=False), "up as bfloat16, down as float32, without error feedback"),
    ],
)
def test_the_form_in_which_values_travelled(said: Compression, words: str) -> None:
    assert form_words({"compression": said.model_dump(mode="json")}) == words


def test_rounds_are_told_with_the_least_and_the_most_of_a_site_and_with_the_sum(result: dict[str, Any]) -> None:
    told = with_socket(result)
    assert by_round(told) == [
        ("1", "2", "1.2 kB to 2.2 kB", "50.0 kB", "3.4 kB", "100.0 kB"),
        ("2", "2", "200 bytes to 1.2 kB", "50.0 kB", "1.4 kB", "100.0 kB"),
        ("whole job", "2", "1.5 kB to 3.5 kB", "101.0 kB", "5.0 kB", "202.0 kB"),
    ]
    assert {len(row) for row in by_round(told)} == {len(ROUND_HEAD)}
    assert of_site(told["sites"]["alpha"]) == ("1.5 kB", "101.0 kB")
    assert "at the server's socket" in counted_words(told)


def test_a_site_that_gave_no_update_is_in_the_sums_alone(result: dict[str, Any]) -> None:
    told = with_socket(result)
    told["history"][1]["socket"]["gamma"] = {"received": 10, "sent": 10_000}
    told["sites"]["gamma"]["socket"] = {"received": 10, "sent": 10_000}
    assert by_round(told)[1:] == [
        ("2", "2", "200 bytes to 1.2 kB", "50.0 kB", "1.4 kB", "110.0 kB"),
        ("whole job", "2", "1.5 kB to 3.5 kB", "101.0 kB", "5.0 kB", "212.0 kB"),
    ]


def test_without_a_socket_updates_are_told_and_no_rounds(result: dict[str, Any]) -> None:
    assert by_round(result) == []
    up = result["sites"]["alpha"]["bytes"]
    assert up > 0
    assert of_site(result["sites"]["alpha"]) == (f"{up} bytes", "-")
    assert of_site(result["sites"]["gamma"]) == ("-", "-")
    assert "Nothing counted bytes" in counted_words(result)


def test_what_is_no_number_counts_as_nothing(result: dict[str, Any]) -> None:
    changed = with_socket(result)
    changed["history"][0]["socket"] = {"alpha": {"received": "many", "sent": None}, "beta": "none"}
    assert by_round(changed)[0] == ("1", "2", "0 bytes", "0 bytes", "0 bytes", "0 bytes")


def test_a_result_that_knows_nothing_of_it_is_told_all_the_same(result: dict[str, Any]) -> None:
    job = {key: value for key, value in result["job"].items() if key != "compression"}
    assert form_words(job) == "as they are (float32), both ways"
    history = [{key: value for key, value in entry.items() if key != "socket"} for entry in result["history"]]
    assert by_round(result | {"history": history}) == []
