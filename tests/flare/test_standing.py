# SPDX-License-Identifier: Apache-2.0
"""A job that was admitted and has not started: what happens in between counts."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloister.documents import load
from cloister.errors import DeniedError
from cloister.flare import admission
from cloister.flare.admission import admit
from cloister.flare.admitted import Admitted
from cloister.flare.app_archive import files_of
from cloister.flare.job_folder import SITE_APP, App, read_app
from cloister.flare.standing import check_start
from cloister.flare.state import SiteSettings, State
from cloister.roster import ROSTER, Federation
from tests.federation_folder import OFFICER, PERSON, change_document
from tests.flare.signed_jobs import META, SITE, job_id, provisioned, publish_roster, signed_app
from tests.signed_policies import changed_policies

DAY = timedelta(days=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return provisioned(tmp_path)


@pytest.fixture
def let_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[SiteSettings, App, Admitted]:
    """A job as it is after its admission."""
    monkeypatch.setattr(admission, "missing", lambda: None)
    app, workspace = signed_app(), State(root).site(SITE)
    admitted = admit(workspace, job_id(), dict(META), SITE_APP, app)
    return SiteSettings.read(workspace), read_app(SITE_APP, files_of(app)), admitted


def test_at_once_it_starts(let_in: tuple[SiteSettings, App, Admitted]) -> None:
    check_start(*let_in, datetime.now(UTC))


def test_after_its_manifest_has_expired_it_does_not(let_in: tuple[SiteSettings, App, Admitted]) -> None:
    with pytest.raises(DeniedError, match="expired"):
        check_start(*let_in, datetime.now(UTC) + DAY)


def test_under_another_policy_it_does_not(root: Path, let_in: tuple[SiteSettings, App, Admitted]) -> None:
    with (
        changed_policies(root, {"purposes": ["service-improvement"]}, SITE),
        pytest.raises(DeniedError, match="was replaced after the job was admitted"),
    ):
        check_start(*let_in, datetime.now(UTC))


def test_after_its_submitter_left_the_roster_it_does_not(
    root: Path, let_in: tuple[SiteSettings, App, Admitted]
) -> None:
    people = [person.model_dump(mode="json") for person in load(root / ROSTER, Federation).value.people]
    stayed = [person for person in people if person["name"] != PERSON]
    assert OFFICER in [person["name"] for person in stayed]
    change_document(root, ROSTER, {"people": stayed})
    publish_roster(root)
    with pytest.raises(DeniedError, match="not in the roster"):
        check_start(*let_in, datetime.now(UTC))


@pytest.mark.parametrize(
    "missing",
    [
        f"policies/{SITE}.yaml",
        *(f".cloister/sites/{SITE}/{name}" for name in ("startup/rootCA.pem", "trust/roster.json")),
    ],
)
def test_where_it_cannot_be_told_it_does_not(
    root: Path, let_in: tuple[SiteSettings, App, Admitted], missing: str
) -> None:
    shutil.move(root / missing, root / "away")
    with pytest.raises(Exception, match=r"missing|cannot be read"):
        check_start(*let_in, datetime.now(UTC))
