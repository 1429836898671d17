# SPDX-License-Identifier: Apache-2.0
"""A job with training code of its own in a running federation: refused, read and approved, trained, refused again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.jobs.code import read_code
from tests.federation_folder import JOB, SITES, make_federation
from tests.flare.live import Live

pytestmark = [pytest.mark.flare, pytest.mark.slow]

FOLDER = "code/smooth-loss"

# Whoever imports it and can write where the federation lies, as every trusted process can, leaves a mark there.
TRAINER = """
import pathlib
import sys

import torch

from cloister.training.text_classifier import TextClassifier
from smooth import SMOOTHING

print("imported", file=sys.stderr)
for place in PLACES:
    try:
        pathlib.Path(place, "imported-by-somebody").touch()
    except OSError:
        pass


class Trainer(TextClassifier):
    def loss(self, logits, classes):
        return torch.nn.functional.cross_entropy(logits, classes, label_smoothing=SMOOTHING)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    live = Live(make_federation(tmp_path_factory.mktemp("code"), job={"code": FOLDER}))
    folder = live.root / FOLDER
    folder.mkdir(parents=True)
    places = [str(live.root), *(str(live.local.state.site(site)) for site in SITES)]
    (folder / "trainer.py").write_text(f"PLACES = {places!r}\n{TRAINER}")
    (folder / "smooth.py").write_text("SMOOTHING = 0.1\n")
    live.cli("provision")
    sign(live)
    try:
        live.cli("up")
        yield live
    finally:
        live.cli("down", expect=None)


def sign(live: Live) -> None:
    for policy in ("baseline", *SITES):
        live.cli("policy", "sign", policy, "--untested")


def marks(live: Live) -> list[Path]:
    return list(live.root.rglob("imported-by-somebody"))


def refused(live: Live) -> str:
    """Submits the job, which every site must refuse by the rule `code`; the submitter's words."""
    done = live.cli("job", "watch", live.submit(), expect=3)
    for site in SITES:
        assert f"{site} did not admit the job: denied: `code`" in done.stdout
        assert f"cloister policy approve-code {JOB} --site {site} --until DATE" in done.stdout
    return done.stdout


def test_code_runs_where_it_is_approved_and_only_that_code(running: Live) -> None:
    digest = read_code(running.root / FOLDER).digest
    assert "has no section `code`" in refused(running)

    for site in SITES:
        approved = running.json("policy", "approve-code", JOB, "--site", site, "--until", "2099-01-01", "--yes")
        assert approved["sha256"] == digest
    sign(running)
    job_id = running.submit()
    running.cli("job", "watch", job_id)
    running.cli("job", "fetch", job_id)
    assert sorted(running.sites_of_result(job_id)) == sorted(SITES)
    state = running.local.state
    for site in SITES:
        private = state.site(site) / job_id / "private"
        assert "imported" in (private / "trainer.log").read_text(encoding="utf-8")
        assert not (private / "code").exists()
    assert marks(running) == []
    assert not list((state.folder / "server").rglob("trainer.py"))

    (running.root / FOLDER / "smooth.py").write_text("SMOOTHING = 0.2\n")
    other = read_code(running.root / FOLDER).digest
    assert f"`{other}` is not approved" in refused(running)
