# SPDX-License-Identifier: Apache-2.0
"""Every way in which a policy is not in force, with the keys of a provisioned federation; see also test_revocation."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from cloister.certificates import PrivateKey
from cloister.certificates.pem import read_certificate
from cloister.documents import Document, load
from cloister.errors import DeniedError, InvalidDocumentsError
from cloister.file_lock import locked
from cloister.flare.state import State
from cloister.governance import in_force
from cloister.governance.policy_signature import check_may_follow, sign_policy, signature_file
from cloister.governance.policy_versions import FILE
from cloister.policies import Policy
from tests.federation_folder import OFFICER, PERSON, change_document
from tests.flare.signed_jobs import provisioned
from tests.governance.asking import ask, authority_of, refusal, roster_of, signed_anew
from tests.signed_policies import sign_policies

NAMES = pytest.mark.parametrize("name", ["alpha", "baseline"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return provisioned(tmp_path)


def test_what_is_signed_is_in_force(root: Path) -> None:
    found = ask(root)
    assert (found.signed.by, found.baseline_signed.by) == (OFFICER, OFFICER)


@NAMES
def test_a_missing_policy(root: Path, name: str) -> None:
    (root / f"policies/{name}.yaml").unlink()
    assert f"policies/{name}.yaml: is missing" in refusal(root)


@NAMES
@pytest.mark.parametrize("text", ["", "policy: [", "policy: alpha\n"])
def test_an_emptied_or_damaged_policy(root: Path, name: str, text: str) -> None:
    (root / f"policies/{name}.yaml").write_text(text)
    assert "site `alpha` has no policy in force: policies/" in refusal(root)


@NAMES
def test_a_newer_language(root: Path, name: str) -> None:
    change_document(root, f"policies/{name}.yaml", {"language": 2})
    assert "is written in policy language 2" in refusal(root)


@NAMES
def test_an_unsigned_policy(root: Path, name: str) -> None:
    (root / f"policies/{name}.yaml.sig").unlink()
    said = refusal(root)
    assert f"`policies/{name}.yaml` is not signed" in said
    assert f"{OFFICER} signs it: cloister policy sign {name}" in said


@NAMES
def test_a_policy_that_nobody_may_sign(root: Path, name: str) -> None:
    roster = {"baseline_officers": []} if name == "baseline" else {"sites": [_alpha_without_officers()]}
    change_document(root, "provisioning/federation.yaml", roster)
    assert f"signed by `{OFFICER}`, who may not sign it" in refusal(root)
    (root / f"policies/{name}.yaml.sig").unlink()
    assert "the roster names nobody who may" in refusal(root)


def _alpha_without_officers() -> dict[str, str]:
    return {"name": "alpha", "organisation": "alpha-hospital"}


@NAMES
@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"\xff", b"[" * 100_000])
def test_a_signature_that_is_none(root: Path, name: str, content: bytes) -> None:
    (root / f"policies/{name}.yaml.sig").write_bytes(content)
    assert f"`policies/{name}.yaml` is not validly signed" in refusal(root)


@NAMES
def test_a_policy_changed_after_it_was_signed(root: Path, name: str) -> None:
    path = root / f"policies/{name}.yaml"
    path.write_bytes(path.read_bytes() + b"# one comment more\n")
    assert f"was changed after `{OFFICER}` signed version 1 of it" in refusal(root)


def test_a_signature_of_another_policy(root: Path) -> None:
    shutil.copy(root / "policies/beta.yaml.sig", root / "policies/alpha.yaml.sig")
    assert "is the signature of the policy of `beta`" in refusal(root)


@NAMES
def test_a_signature_by_somebody_who_may_not(root: Path, name: str) -> None:
    sign_policies(root, name, by=PERSON)
    assert f"`policies/{name}.yaml` is signed by `{PERSON}`, who may not sign it" in refusal(root)


def test_a_signature_by_another_federations_officer(root: Path, tmp_path: Path) -> None:
    sign_policies(root, "alpha", keys=provisioned(tmp_path / "other", "theirs"))
    assert "whom this federation's authority did not certify" in refusal(root)


def test_an_officer_who_is_no_longer_in_the_roster(root: Path) -> None:
    people = [{"name": PERSON, "organisation": "institute", "role": "data-scientist"}]
    change_document(root, "provisioning/federation.yaml", {"people": people, "baseline_officers": []})
    assert "somebody who is not in the roster" in refusal(root)


def test_a_signature_whose_certificate_has_run_out(root: Path) -> None:
    assert "a certificate that is not valid now" in refusal(root, datetime.now(UTC) + timedelta(days=200))


@NAMES
def test_a_policy_that_has_ended_or_not_begun(root: Path, name: str) -> None:
    signed_anew(root, name, valid_until="2026-01-02")
    assert (
        f"`validity`: the policy ended on 2026-01-02 and today is {datetime.now(UTC).date()} (policies/{name}.yaml:"
        in refusal(root)
    )
    signed_anew(root, name, valid_until="2099-12-31", valid_from="2099-01-01")
    assert (
        f"`validity`: the policy counts from 2099-01-01 and today is {datetime.now(UTC).date()} (policies/{name}.yaml:"
        in refusal(root)
    )


@NAMES
def test_a_version_that_was_put_back(root: Path, name: str) -> None:
    older = {path: path.read_bytes() for path in (root / "policies").glob(f"{name}.yaml*")}
    signed_anew(root, name, version=2)
    ask(root)
    for path, content in older.items():
        path.write_bytes(content)
    assert "version 1 was put back after version 2 was in force" in refusal(root)


@NAMES
def test_a_version_with_other_content(root: Path, name: str) -> None:
    ask(root)
    signed_anew(root, name, owner="somebody else")
    said = refusal(root)
    assert "version 1 was in force with other content" in said
    assert "raise the version with every change" in said
    signed_anew(root, name, version=2)
    assert ask(root)


def test_looking_does_not_take_up(root: Path) -> None:
    signed_anew(root, "alpha", version=7)
    ask(root, take_up=False)
    assert not (State(root).site("alpha") / FILE).exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"alpha": 1}', b'{"alpha": {"version": "1", "sha256": "x"}}'])
def test_a_memory_that_cannot_be_read(root: Path, content: bytes) -> None:
    path = State(root).site("alpha") / FILE
    path.write_bytes(content)
    assert "memory of policy versions" in refusal(root)
    assert path.read_bytes() == content, "it is never begun anew"


def test_the_memory_is_the_owners_alone(root: Path) -> None:
    ask(root)
    path = State(root).site("alpha") / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_bytes()).keys() == {"alpha", "baseline"}


def test_a_missing_silo_document_is_no_matter_of_the_policy(root: Path) -> None:
    (root / "silos/alpha.yaml").unlink()
    with pytest.raises(InvalidDocumentsError):
        ask(root)


@pytest.mark.parametrize("step", ["check_policy_signature", "check_not_revoked", "check_dates", "load_site"])
def test_a_step_that_throws_lets_nothing_through(root: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def stumble(*arguments: object) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(in_force, step, stumble)
    with pytest.raises(RuntimeError):  # admission, the only caller at a site, makes a refusal of it
        ask(root)


def test_who_signs_is_told_to_raise_the_version(root: Path) -> None:
    policy = policy_of(root)
    signature = signature_file(root, policy).read_bytes()
    follow(root, policy, signature)
    change_document(root, "policies/alpha.yaml", {"owner": "somebody else"})
    changed = policy_of(root)
    with pytest.raises(DeniedError, match="version 1 was signed with other content"):
        follow(root, changed, signature)
    change_document(root, "policies/alpha.yaml", {"version": 2})
    follow(root, policy_of(root), signature)
    follow(root, changed, b"no envelope")


def policy_of(root: Path) -> Document[Policy]:
    return load(root / "policies/alpha.yaml", Policy, name="policies/alpha.yaml")


def follow(root: Path, policy: Document[Policy], signature: bytes) -> None:
    check_may_follow(policy, signature, roster_of(root), authority_of(root))


def test_a_lapsed_officers_signature_still_forbids_and_a_strangers_never_does(root: Path, tmp_path: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"version": 999})
    higher = policy_of(root)
    change_document(root, "policies/alpha.yaml", {"version": 1})
    begun = datetime.now(UTC)

    def signed_by(person: str, keys: Path, when: datetime = begun) -> bytes:
        startup = State(keys).person(person) / "startup"
        key, certificate = PrivateKey.load(startup / "client.key"), read_certificate(startup / "client.crt")
        return sign_policy("alpha", higher.text, 999, key, certificate, when)

    with pytest.raises(DeniedError, match="version 1 is below 999, which was signed"):
        follow(root, policy_of(root), signed_by(OFFICER, root))
    follow(root, policy_of(root), signed_by(PERSON, root))  # certified, and no officer
    follow(root, policy_of(root), signed_by(OFFICER, provisioned(tmp_path / "other", "theirs")))
    follow(root, policy_of(root), signed_by(OFFICER, root, begun + timedelta(days=400)))  # when nobody could sign


def test_it_ends_with_the_first_of_dates_and_certificates(root: Path) -> None:
    found = ask(root)
    certificate = read_certificate(State(root).person(OFFICER) / "startup" / "client.crt")
    assert found.signed.lapses == found.baseline_signed.lapses == certificate.not_valid_after_utc.date()
    assert found.until == found.signed.lapses < date(2099, 12, 31)
    sooner = datetime.now(UTC).date() + timedelta(days=9)
    signed_anew(root, "baseline", valid_until=sooner.isoformat(), version=2)
    assert ask(root).until == sooner


def test_a_memory_that_another_holds_denies_in_the_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloister.governance.policy_versions.locked", partial(locked, seconds=0.05))
    with locked(State(root).site("alpha") / f"{FILE}.lock"):
        assert "memory of policy versions" in refusal(root)
    assert ask(root)
