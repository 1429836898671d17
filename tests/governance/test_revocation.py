# SPDX-License-Identifier: Apache-2.0
"""What takes a policy's version back, what takes all of them back, and that a site does not forget."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloister.certificates import PrivateKey
from cloister.certificates.pem import read_certificate
from cloister.documents import Document, load
from cloister.errors import DeniedError, SignatureError
from cloister.files import sha256_of
from cloister.flare.state import State
from cloister.governance.policy_versions import FILE, PolicyVersions
from cloister.governance.revocation import (
    Revocation,
    check_not_revoked,
    is_reason,
    read_revocation,
    revocation_file,
    sign_revocation,
)
from cloister.policies import Policy
from tests.federation_folder import OFFICER, PERSON, change_document
from tests.flare.signed_jobs import provisioned
from tests.governance.asking import ask, authority_of, refusal, signed_anew
from tests.signed_policies import revoke_policy

NAMES = pytest.mark.parametrize("name", ["alpha", "baseline"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return provisioned(tmp_path)


def lay(root: Path, file: str, content: str = "stop") -> Path:
    folder = root / "policies/revoked"
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(content)
    return folder / file


def signed(root: Path, name: str = "alpha", version: int = 1, reason: str = "x", days: int = 0) -> bytes:
    """A revocation by the officer, who says that it is ``days`` from now."""
    startup = State(root).person(OFFICER) / "startup"
    key, certificate = PrivateKey.load(startup / "client.key"), read_certificate(startup / "client.crt")
    when = datetime.now(UTC) + timedelta(days=days)
    return sign_revocation(Revocation(name, version, None, reason), key, certificate, when)


@NAMES
def test_a_revoked_policy(root: Path, name: str) -> None:
    revoke_policy(root, name, reason="a complaint")
    assert f"version 1 of the policy of `{name}` was revoked by `{OFFICER}`: a complaint" in refusal(root)
    signed_anew(root, name, version=2)
    assert ask(root), "a higher version is another one"


def test_a_revocation_of_another_policy_counts_not_here(root: Path) -> None:
    revoke_policy(root, "beta")
    assert ask(root)


@pytest.mark.parametrize(
    "file",
    ["alpha-v1.json", "alpha-v9.json", "alpha-v0.json", "alpha", "alpha-v1.json.bak", "alpha.old", "alpha-v1 (2).json"],
)
def test_what_cannot_be_verified_takes_every_version_back(root: Path, file: str) -> None:
    lay(root, file)
    assert f"counts as revoked: `policies/revoked/{file}` cannot be verified" in refusal(root)
    signed_anew(root, "alpha", version=5)
    assert "counts as revoked" in refusal(root)
    (root / "policies/revoked" / file).unlink()
    assert ask(root), "what was none is not remembered"


@pytest.mark.parametrize("file", ["alpha-x", "alpha-x-v1.json", "alpha-x.json.bak", "alphabet", "xalpha", ".alpha-v1"])
def test_what_lies_under_another_name_takes_nothing_back(root: Path, file: str) -> None:
    lay(root, file)
    assert ask(root)


@pytest.mark.parametrize("by", [PERSON, "ivan@research.example"])
def test_a_revocation_by_anybody_certified_takes_back_its_version_alone(root: Path, by: str) -> None:
    revoke_policy(root, "alpha", by=by)
    assert f"version 1 of the policy of `alpha` was revoked by `{by}`" in refusal(root)
    signed_anew(root, "alpha", version=2)
    assert ask(root)


def test_an_officer_who_leaves_the_roster_takes_no_later_version_along(root: Path) -> None:
    revoke_policy(root, "alpha", by="eve@bank.example")
    signed_anew(root, "alpha", version=2)
    people = [
        {"name": PERSON, "organisation": "institute", "role": "data-scientist"},
        {"name": OFFICER, "organisation": "institute", "role": "compliance-officer"},
    ]
    change_document(root, "provisioning/federation.yaml", {"people": people})
    assert ask(root)


@pytest.mark.parametrize("days", [-4000, 4000])
def test_a_revocation_does_not_lapse_and_grows_not_with_its_certificate(root: Path, days: int) -> None:
    path = revocation_file(root, "alpha", 1)
    path.parent.mkdir()
    path.write_bytes(signed(root, days=days))
    assert "version 1 of the policy of `alpha` was revoked" in refusal(root)
    signed_anew(root, "alpha", version=2)
    assert ask(root)


def test_another_federations_revocation_cannot_be_verified(root: Path, tmp_path: Path) -> None:
    revoke_policy(root, "alpha", keys=provisioned(tmp_path / "other", "theirs"))
    signed_anew(root, "alpha", version=2)
    assert "whom this federation's authority did not certify" in refusal(root)


def test_a_file_under_another_versions_name_takes_every_version_back(root: Path) -> None:
    path = revoke_policy(root, "alpha")
    path.rename(path.with_name("alpha-v4.json"))
    signed_anew(root, "alpha", version=2)
    assert "not of the policy and version in the file's name" in refusal(root)


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 201])
def test_a_reason_that_is_none_is_no_revocation(root: Path, reason: str) -> None:
    assert not is_reason(reason)
    with pytest.raises(SignatureError, match="does not say what a revocation says"):
        read_revocation(signed(root, reason=reason), "alpha-v1.json", authority_of(root))


def test_what_is_read_of_a_revocation(root: Path) -> None:
    found = read_revocation(signed(root, version=7, reason="a complaint"), "alpha-v7.json", authority_of(root))
    assert (found.version, found.by, found.reason) == (7, OFFICER, "a complaint")


def test_a_file_in_the_place_of_the_folder_counts(root: Path) -> None:
    (root / "policies/revoked").write_text("")
    assert "every policy counts as revoked" in refusal(root)


# --- what a site remembers


def policy_of(root: Path) -> Document[Policy]:
    return load(root / "policies/alpha.yaml", Policy, name="policies/alpha.yaml")


def at_admission(root: Path) -> None:
    ask(root)


def at_a_gate(root: Path) -> None:
    check_not_revoked(root, policy_of(root), authority_of(root), PolicyVersions(State(root).site("alpha")))


@pytest.mark.parametrize("seen", [at_admission, at_a_gate])
@pytest.mark.parametrize("asked", [at_admission, at_a_gate])
def test_a_removed_revocation_brings_nothing_back(
    root: Path, seen: Callable[[Path], None], asked: Callable[[Path], None]
) -> None:
    path = revoke_policy(root, "alpha")
    with pytest.raises(DeniedError, match="was revoked by"):
        seen(root)
    path.unlink()
    with pytest.raises(DeniedError, match="version 1 of the policy of `alpha` was revoked, and the site remembers it"):
        asked(root)
    signed_anew(root, "alpha", version=2)
    assert ask(root)
    memory = json.loads((State(root).site("alpha") / FILE).read_bytes())
    assert memory["alpha"] == {"version": 2, "sha256": sha256_of(policy_of(root).text), "revoked": [1]}


def test_a_revocation_beside_junk_is_remembered_too(root: Path) -> None:
    path, junk = revoke_policy(root, "alpha"), lay(root, "alpha")
    assert "was revoked by" in refusal(root)
    path.unlink()
    junk.unlink()
    assert "the site remembers it" in refusal(root)


def test_who_only_looks_remembers_nothing_and_is_told_what_the_site_does(root: Path) -> None:
    path = revoke_policy(root, "alpha")
    assert "was revoked by" in refusal(root, take_up=False)
    path.unlink()
    assert ask(root, take_up=False)
    assert not (State(root).site("alpha") / FILE).exists()
    revoke_policy(root, "alpha")
    refusal(root)
    path.unlink()
    assert "the site remembers it" in refusal(root, take_up=False)


def test_a_memory_from_before_revocations_were_remembered_is_read(root: Path) -> None:
    entry = {"version": 1, "sha256": sha256_of(policy_of(root).text)}
    (State(root).site("alpha") / FILE).write_text(json.dumps({"alpha": entry}))
    assert ask(root)


@pytest.mark.parametrize("revoked", [1, ["1"], [True], None])
def test_a_memory_of_revocations_that_cannot_be_read(root: Path, revoked: object) -> None:
    entry = {"version": 1, "sha256": sha256_of(policy_of(root).text), "revoked": revoked}
    (State(root).site("alpha") / FILE).write_text(json.dumps({"alpha": entry}))
    assert "memory of policy versions" in refusal(root)
    with pytest.raises(DeniedError, match="memory of policy versions"):
        at_a_gate(root)


@pytest.mark.parametrize("name", ["policies/alpha.yaml.sig", "policies/revoked/alpha-v7.json", "policies/alpha.yaml"])
def test_a_named_pipe_in_a_files_place_holds_nobody_up(root: Path, name: str) -> None:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert "alpha" in refusal(root)
