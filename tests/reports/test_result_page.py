# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cloister.reports import Comparison, result_page
from tests.reports.finished_job import POLICY, finished_job, hostile, with_socket

COMPARISON = Comparison(400, 0.25, 0.9, {"alpha": (18, 0.5), "beta": (36, 0.625)})
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&"


class Page(HTMLParser):
    """A page as a browser would take it apart."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finished_job(tmp_path_factory.mktemp("job"))


@pytest.fixture(params=[None, COMPARISON], ids=["alone", "compared"])
def comparison(request: pytest.FixtureRequest) -> Comparison | None:
    return request.param


def test_the_page_is_whole_and_loads_nothing(result: dict[str, Any], comparison: Comparison | None) -> None:
    text = result_page(result, comparison)
    page = Page(text)
    assert page.names().isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"})
    for _, attributes in page.tags:
        assert not {name for name in attributes if name in ("src", "href", "srcset", "action") or name.startswith("on")}
    assert not re.search(r"https?:|url\(|@import|//", text)
    assert text.startswith("<!doctype html>")


def test_sites_rounds_and_digests_are_told(result: dict[str, Any]) -> None:
    text = " ".join(Page(result_page(result)).texts)
    for word in ("tiny-triage", "alpha", "beta", "gamma", "`purpose`: not granted", POLICY[:16], "0.875", "54"):
        assert word in text


def test_every_site_and_the_mean_have_a_line(result: dict[str, Any]) -> None:
    page = Page(result_page(result))
    lines = [attributes["points"] or "" for tag, attributes in page.tags if tag == "polyline"]
    assert len(lines) == 6  # of accuracy, by which the round was chosen, and then of loss
    assert {len(line.split()) for line in lines} == {3}  # before, after round 1, after round 2
    heights = [float(point.split(",")[1]) for point in lines[0].split()]
    assert heights == sorted(heights, reverse=True)  # better is higher
    losses = [float(point.split(",")[1]) for point in lines[3].split()]
    assert losses == sorted(losses)  # and here better is lower
    assert page.texts.count("Less is better.") == 1


def test_the_comparison_says_what_was_compared(result: dict[str, Any]) -> None:
    page = Page(result_page(result, COMPARISON))
    text = " ".join(page.texts)
    for word in ("federated", "alpha alone", "beta alone", "before training", "0.900", "0.625", "400"):
        assert word in text
    widths = [float(attributes["width"] or 0) for tag, attributes in page.tags if tag == "rect"]
    assert widths == [432.0, 240.0, 300.0, 120.0]
    assert COMPARISON.best_alone == 0.625


@pytest.mark.parametrize("text", [HOSTILE, "a & b", "<b>", "</svg><svg onload=alert(1)>", "-->", "]]>", "{{x}}"])
def test_words_from_outside_stay_words(result: dict[str, Any], text: str) -> None:
    changed = hostile(result, text)
    compared = Comparison(1, 0.0, 1.0, {text: (1, 0.5)})
    page, honest = Page(result_page(changed, compared)), Page(result_page(result, COMPARISON))
    assert page.names() == honest.names()
    assert {name for _, attributes in page.tags for name in attributes} == {
        name for _, attributes in honest.tags for name in attributes
    }
    assert text in page.texts


def test_a_sandbox_that_was_off_is_said(result: dict[str, Any]) -> None:
    assert "without isolation" not in result_page(result)
    off = result | {"sites": result["sites"] | {"beta": result["sites"]["beta"] | {"sandbox": "unsafe-none"}}}
    assert "Trained without isolation (sandbox: unsafe-none) at beta." in result_page(off)


def test_numbers_that_are_none_do_no_harm(result: dict[str, Any]) -> None:
    changed = hostile(result, "x")
    for site in changed["sites"].values():
        site["restarts"] = site["rounds"] = HOSTILE
        site["sandbox"] = HOSTILE
        site["bytes"], site["socket"] = HOSTILE, {"received": HOSTILE}
    changed["history"][0]["socket"] = {HOSTILE: {"received": HOSTILE, "sent": None}, "alpha": HOSTILE}
    assert "script" not in Page(result_page(changed)).names()


def test_a_job_chosen_by_loss_draws_its_loss(tmp_path: Path) -> None:
    result = finished_job(tmp_path, select_by={"metric": "loss", "mode": "minimum"})
    page = Page(result_page(result))
    assert "loss after each round" in page.texts
    heights = [
        float(point.split(",")[1])
        for tag, attributes in page.tags
        if tag == "polyline"
        for point in (attributes["points"] or "").split()
    ]
    assert min(heights) >= 0


def test_many_sites_keep_their_names_apart(result: dict[str, Any]) -> None:
    changed = dict(result)
    by_site = {f"site-{number}": {"accuracy": 0.5} for number in range(30)}
    changed["after_by_site"] = by_site
    changed["history"] = [entry | {"before_by_site": by_site} for entry in result["history"]]
    chart, _ = result_page(changed).split("loss after each round")
    found = re.findall(r'y="([\d.]+)" style="fill', chart)
    heights = sorted(float(height) for height in found)
    assert len(heights) == 31
    assert all(below - above >= 13 for above, below in itertools.pairwise(heights))


def test_how_it_was_combined_and_what_travelled(result: dict[str, Any]) -> None:
    texts = Page(result_page(result)).texts
    assert "Nothing counted bytes at a socket; those of the sites' encoded updates are told." in texts
    assert "whole job" not in texts
    changed = with_socket(result)
    changed["job"]["compression"] = {"up": "int4", "down": "int8", "error_feedback": False}
    texts = Page(result_page(changed)).texts
    assert " up as int4, down as int8, without error feedback." in texts
    assert " mean, weighted by training records; each low-rank factor by itself (FedIT). " in texts
    first = texts.index("1.2 kB to 2.2 kB")
    assert texts[first - 2 : first + 4] == ["1", "2", "1.2 kB to 2.2 kB", "50.0 kB", "3.4 kB", "100.0 kB"]
    assert "whole job" in texts
    assert texts[texts.index("3.5 kB") + 1] == "101.0 kB"  # in the row of beta


def test_what_became_of_factors_is_told_by_round(result: dict[str, Any]) -> None:
    assert "Factors" not in Page(result_page(result)).texts
    told = {"averaging_error": 0.12, "cut_off": 0.01}
    history = [entry | {"factors": told} for entry in result["history"]]
    texts = Page(result_page(result | {"history": history})).texts
    assert "Factors" in texts
    assert "Round 2: averaging factors would have been off by 12 %, 1 % cut off." in texts
