# SPDX-License-Identifier: Apache-2.0
"""`cloister policy sign`, `verify` and `revoke`, and what the commands around them say of unsigned policies."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from cloister.certificates.pem import read_certificate
from cloister.cli.console import Output
from cloister.cli.officers import sign_unsigned
from cloister.cli.options import federation_of, repository
from cloister.flare.state import State
from tests.cli.commands import cloister
from tests.federation_folder import JOB, OFFICER, PERSON, change_document
from tests.flare.signed_jobs import provisioned
from tests.signed_policies import sign_policies

ALL = ["alpha", "baseline", "beta", "gamma"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Provisioned, and nothing signed yet."""
    folder = provisioned(tmp_path)
    for path in (folder / "policies").glob("*.sig"):
        path.unlink()
    return folder


def lapses(root: Path) -> date:
    """The day on which the officer's certificate runs out."""
    return read_certificate(State(root).person(OFFICER) / "startup" / "client.crt").not_valid_after_utc.date()


def signed(root: Path) -> list[str]:
    return sorted(path.name.removesuffix(".yaml.sig") for path in (root / "policies").glob("*.sig"))


def entry(name: str, version: int, untested: str = "") -> dict[str, object]:
    """What the JSON value says of a policy that was signed."""
    return {"policy": name, "version": version, "by": OFFICER, "untested": untested}


def test_sign_signs_all_that_the_keys_here_may(root: Path) -> None:
    done = cloister("policy", "sign", "-C", root, "--json")
    assert done.value == {"signed": [entry(name, 1) for name in ALL], "refused": []}
    assert signed(root) == ALL
    assert cloister("policy", "sign", "-C", root, "--json").value["signed"] == [], "they are signed as they stand"
    verdicts = cloister("policy", "verify", "-C", root, "--json").value
    assert [(each["policy"], each["by"], each["problem"]) for each in verdicts] == [
        (name, OFFICER, None) for name in ALL
    ]


def test_sign_signs_what_is_named_and_nothing_else(root: Path) -> None:
    assert cloister("policy", "sign", "beta", "-C", root).status == 0
    assert signed(root) == ["beta"]


def test_a_changed_policy_is_signed_under_a_higher_version_alone(root: Path) -> None:
    cloister("policy", "sign", "-C", root)
    change_document(root, "policies/beta.yaml", {"owner": "somebody else"})
    for names in ([], ["beta"]):
        done = cloister("policy", "sign", *names, "-C", root)
        assert done.status == 3
        assert "policies/beta.yaml:" in done.err
        assert "raise the version with every change" in done.err
    change_document(root, "policies/beta.yaml", {"version": 2})
    assert cloister("policy", "sign", "-C", root, "--json").value["signed"] == [entry("beta", 2)]


def test_who_may_not_sign_cannot(root: Path) -> None:
    done = cloister("policy", "sign", "alpha", "--as", PERSON, "-C", root)
    assert (done.status, signed(root)) == (3, [])
    assert f"`{PERSON}` may not sign the policy of `alpha`" in done.err


def test_without_an_officers_key_nothing_is_signed(root: Path) -> None:
    shutil.rmtree(State(root).person(OFFICER))
    assert cloister("policy", "sign", "-C", root).status == 2
    done = cloister("policy", "sign", "alpha", "-C", root)
    assert (done.status, signed(root)) == (2, [])
    assert f"no key of {OFFICER} lies on this machine" in done.err


def test_invalid_documents_are_not_signed(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"purpose": ["x"]})
    assert cloister("policy", "sign", "alpha", "-C", root).status == 4
    assert signed(root) == []


def test_verify_ends_with_three_and_says_why(root: Path) -> None:
    done = cloister("policy", "verify", "-C", root)
    assert done.status == 3
    assert "`policies/alpha.yaml` is not signed" in done.err
    assert "gamma: `policies/gamma.yaml` is not signed" in done.out


def test_verify_knows_what_the_site_remembers(root: Path) -> None:
    cloister("policy", "sign", "-C", root)
    memory = {"alpha": {"version": 9, "sha256": "0" * 64}}
    (State(root).site("alpha") / "policy-versions.json").write_text(json.dumps(memory))
    assert "version 1 was put back after version 9" in cloister("policy", "verify", "alpha", "-C", root).err
    assert cloister("policy", "verify", "baseline", "-C", root).status == 0


def test_verify_says_of_a_site_what_is_wrong_with_the_baseline(root: Path) -> None:
    cloister("policy", "sign", "alpha", "-C", root)
    done = cloister("policy", "verify", "alpha", "-C", root)
    said = (
        "a site takes jobs only under the baseline as well, which does not hold: `policies/baseline.yaml` is not signed"
    )
    assert (done.status, said in done.out) == (0, True)
    (value,) = cloister("policy", "verify", "alpha", "-C", root, "--json").value
    assert "`policies/baseline.yaml` is not signed" in value["baseline"]
    cloister("policy", "sign", "baseline", "-C", root)
    assert "baseline" not in cloister("policy", "verify", "alpha", "-C", root).out


def test_revoke_is_told_by_verify_and_status(root: Path) -> None:
    cloister("policy", "sign", "-C", root)
    done = cloister("policy", "revoke", "alpha", "--reason", "a complaint", "-C", root, "--json")
    file = "policies/revoked/alpha-v1.json"
    assert done.value == {"policy": "alpha", "version": 1, "by": OFFICER, "reason": "a complaint", "file": file}
    assert (root / file).is_file()
    why = f"was revoked by `{OFFICER}`: a complaint"
    assert why in cloister("policy", "verify", "alpha", "-C", root).err
    rows = {row["name"]: row for row in cloister("status", "-C", root, "--json").value["processes"]}
    assert rows["alpha"]["policy"] == {"version": 1, "signed_by": None, "until": None}
    assert why in " ".join(rows["alpha"]["problems"])
    assert rows["beta"]["policy"] == {"version": 1, "signed_by": OFFICER, "until": lapses(root).isoformat()}


def test_an_earlier_version_is_revoked_without_its_file(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"version": 3})
    cloister("policy", "sign", "-C", root)
    assert cloister("policy", "revoke", "alpha", "--version", "2", "--reason", "x", "-C", root).status == 0
    assert cloister("policy", "verify", "alpha", "-C", root).status == 0
    assert cloister("policy", "revoke", "alpha", "--version", "4", "--reason", "x", "-C", root).status == 2


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 201])
def test_a_reason_is_one_line(root: Path, reason: str) -> None:
    assert cloister("policy", "revoke", "alpha", "--reason", reason, "-C", root).status == 2
    assert not (root / "policies" / "revoked").exists()


def test_who_may_not_revoke_cannot(root: Path) -> None:
    done = cloister("policy", "revoke", "alpha", "--reason", "x", "--as", PERSON, "-C", root)
    assert done.status == 3
    assert not (root / "policies" / "revoked").exists()


def test_a_revocation_that_no_site_could_read_is_not_written(root: Path, tmp_path: Path) -> None:
    """Such as one by an officer whose certificate is another authority's: it would stop every version."""
    other = State(provisioned(tmp_path / "other", "theirs")).person(OFFICER) / "startup"
    for name in ("client.key", "client.crt"):
        shutil.copy(other / name, State(root).person(OFFICER) / "startup" / name)
    done = cloister("policy", "revoke", "alpha", "--reason", "x", "-C", root)
    assert done.status == 3
    assert "whom this federation's authority did not certify" in done.err
    assert not (root / "policies" / "revoked").exists()


@pytest.mark.parametrize("revoked", [True, False])
def test_without_names_what_was_revoked_or_has_ended_is_not_signed_again(root: Path, revoked: bool) -> None:
    cloister("policy", "sign", "-C", root)
    if revoked:
        cloister("policy", "revoke", "alpha", "--reason", "x", "-C", root)
    else:
        change_document(root, "policies/alpha.yaml", {"valid_until": "2026-01-02", "version": 2})
    before = (root / "policies" / "alpha.yaml.sig").read_bytes()
    done = cloister("policy", "sign", "-C", root)
    why = f"version 1 of the policy of `alpha` was revoked by `{OFFICER}`" if revoked else "it ended on 2026-01-02"
    assert f"policies/alpha.yaml is not signed: {why}" in done.out
    assert (root / "policies" / "alpha.yaml.sig").read_bytes() == before


def test_without_names_what_begins_later_is_signed_once(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"valid_from": "2099-01-01"})
    done = cloister("policy", "sign", "--untested", "-C", root)
    assert "it counts from 2099-01-01, and until then the site takes no jobs" in done.out
    assert signed(root) == ALL
    assert cloister("policy", "sign", "--untested", "-C", root, "--json").value == {"signed": [], "refused": []}
    told = cloister("policy", "verify", "alpha", "-C", root).err
    assert "the policy counts from 2099-01-01" in told
    assert "wait until then" in told
    assert "renew" not in told


def test_what_was_revoked_or_has_ended_is_not_signed_though_it_is_named(root: Path) -> None:
    cloister("policy", "revoke", "alpha", "--reason", "a complaint", "-C", root)
    change_document(root, "policies/beta.yaml", {"valid_until": "2026-01-02"})
    for name, why in (
        ("alpha", f"version 1 of the policy of `alpha` was revoked by `{OFFICER}`: a complaint (raise `version`"),
        ("beta", "the policy ended on 2026-01-02"),
    ):
        done = cloister("policy", "sign", name, "--untested", "-C", root)
        assert (done.status, why in done.err, signed(root)) == (3, True, []), done.err
    change_document(root, "policies/alpha.yaml", {"version": 2})
    assert cloister("policy", "sign", "alpha", "-C", root).status == 0


def test_a_version_is_revoked_once(root: Path) -> None:
    cloister("policy", "revoke", "alpha", "--reason", "the first", "-C", root)
    file = root / "policies" / "revoked" / "alpha-v1.json"
    before = file.read_bytes()
    done = cloister("policy", "revoke", "alpha", "--reason", "the second", "-C", root)
    assert (done.status, file.read_bytes() == before) == (3, True)
    assert f"is already revoked by `{OFFICER}`: the first" in done.err
    file.write_text("nothing that can be verified", encoding="utf-8")
    assert cloister("policy", "revoke", "alpha", "--reason", "the third", "-C", root).status == 0


@pytest.mark.parametrize("what", ["folder", "certificate"])
def test_a_folder_under_an_officers_name_is_not_taken_for_the_officer(root: Path, what: str) -> None:
    theirs, mine = State(root).person(OFFICER) / "startup", State(root).person(PERSON) / "startup"
    for name in ("client.key", "client.crt") if what == "folder" else ("client.key",):
        shutil.copy(mine / name, theirs / name)
    commands = [("sign", "alpha"), ("revoke", "alpha", "--reason", "x")]
    for command in commands:
        done = cloister("policy", *command, "-C", root)
        assert (done.status, signed(root)) == (3, []), done.err
        assert what == "certificate" or f"is of `{PERSON}` and not of `{OFFICER}`" in done.err
        assert not (root / "policies" / "revoked").exists()


def test_a_policy_that_no_case_tries_is_signed_only_if_somebody_says_so(root: Path) -> None:
    (root / "policies" / "cases" / "purpose.yaml").unlink()
    done = cloister("policy", "sign", "alpha", "-C", root)
    assert (done.status, signed(root)) == (4, [])
    assert "no case that holds makes the rule `purpose` of `alpha` deny" in done.err
    done = cloister("policy", "sign", "alpha", "--untested", "-C", root)
    assert (done.status, signed(root)) == (0, ["alpha"])
    assert "UNTESTED: 1 problem in the documents" in done.out


def test_a_policy_whose_case_fails_is_signed_only_if_somebody_says_so(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"methods": {"lora": {"maximum_rank": 64}}})
    done = cloister("policy", "sign", "alpha", "-C", root)
    assert (done.status, signed(root)) == (1, [])
    assert "policies/alpha.yaml: 1 case does not hold: `denied` (policies/cases/method.yaml:" in done.err
    assert "see cloister policy test alpha" in done.err
    (told,) = cloister("policy", "sign", "alpha", "--untested", "-C", root, "--json").value["signed"]
    assert "1 case does not hold" in told["untested"]


def test_without_names_the_others_are_signed_and_the_refused_told_at_the_end(root: Path) -> None:
    cloister("policy", "sign", "beta", "-C", root)
    change_document(root, "policies/beta.yaml", {"owner": "somebody else"})
    change_document(root, "policies/alpha.yaml", {"methods": {"lora": {"maximum_rank": 64}}})
    done = cloister("policy", "sign", "-C", root, "--json")
    assert done.status == 3, "the highest status of those refused"
    assert [each["policy"] for each in done.value["signed"]] == ["baseline", "gamma"]
    assert [each["policy"] for each in done.value["refused"]] == ["alpha", "beta"]
    assert "not signed: policies/alpha.yaml: 1 case does not hold" in done.err
    assert "policies/beta.yaml:2: version 1 was signed with other content" in done.err


def test_a_lower_version_than_the_signed_one_is_told_as_that(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"version": 7})
    cloister("policy", "sign", "alpha", "-C", root)
    change_document(root, "policies/alpha.yaml", {"version": 2})
    done = cloister("policy", "sign", "alpha", "-C", root)
    assert (done.status, "version 2 is below 7, which was signed" in done.err) == (3, True)


@pytest.mark.parametrize("names", [(), ("alpha",)])
def test_somebody_who_is_not_in_the_roster_is_told_whom_they_may_mean(root: Path, names: tuple[str, ...]) -> None:
    done = cloister("policy", "sign", *names, "--as", f"x{OFFICER}", "-C", root)
    assert done.status == 2
    assert f"`x{OFFICER}` is not in the roster (did you mean `{OFFICER}`?)" in done.err


def test_a_strangers_signature_of_a_higher_version_does_not_hinder(root: Path) -> None:
    change_document(root, "policies/alpha.yaml", {"version": 999_999})
    sign_policies(root, "alpha", by=PERSON)
    change_document(root, "policies/alpha.yaml", {"version": 1})
    done = cloister("policy", "sign", "alpha", "-C", root, "--json")
    assert done.value["signed"] == [entry("alpha", 1)]


def test_verify_says_when_the_signature_lapses(root: Path) -> None:
    sooner = lapses(root) - timedelta(days=3)
    change_document(root, "policies/beta.yaml", {"valid_until": sooner.isoformat()})
    cloister("policy", "sign", "alpha", "beta", "-C", root)
    found = {each["policy"]: each["until"] for each in cloister("policy", "verify", "-C", root, "--json").value}
    assert found == {
        "alpha": lapses(root).isoformat(),
        "beta": sooner.isoformat(),
        "gamma": None,
        "baseline": None,
    }


def test_check_and_status_warn_of_a_signature_that_lapses_soon(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloister("policy", "sign", "-C", root)
    days = (lapses(root) - datetime.now(UTC).date()).days
    said = f"the signature of `{OFFICER}` lapses on {lapses(root)} with their certificate, in {days} days"

    def told() -> tuple[bool, bool]:
        checked = cloister("policy", "check", "-C", root)
        rows = cloister("status", "-C", root, "--json").value["processes"]
        return f"policies/alpha.yaml.sig: {said}" in checked.out, any(said in each["problems"] for each in rows)

    assert told() == (False, False)
    monkeypatch.setattr("cloister.cli.officers.SOON_DAYS", days)
    assert told() == (True, True)
    for name in ALL:
        change_document(root, f"policies/{name}.yaml", {"valid_until": lapses(root).isoformat(), "version": 2})
    cloister("policy", "sign", "-C", root)
    assert told() == (False, False), "the policy ends then anyway"


def test_run_stops_before_anything_is_started_and_names_all_that_is_unsigned(root: Path) -> None:
    cloister("policy", "sign", "beta", "-C", root)
    done = cloister("run", JOB, "--as", PERSON, "-C", root)
    assert done.status == 3
    assert "`policies/alpha.yaml`, `policies/gamma.yaml`, `policies/baseline.yaml` are not signed" in done.err
    assert "cloister policy sign" in done.err
    assert not federation_of(repository(root)).running()


def test_explain_says_where_a_policy_is_not_in_force_here(root: Path) -> None:
    cloister("policy", "sign", "beta", "baseline", "-C", root)
    done = cloister("job", "explain", JOB, "--as", PERSON, "-C", root)
    said = "alpha: whatever its policy says, it is not in force here: `policies/alpha.yaml` is not signed"
    assert (done.status, said in done.out, "beta: whatever" in done.out) == (0, True, False)
    value = cloister("job", "explain", JOB, "--as", PERSON, "-C", root, "--json").value
    assert (bool(value["alpha"]["not_in_force"]), value["beta"]["not_in_force"]) == (True, None)


def test_the_demonstration_signs_what_is_unsigned_and_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cloister("policy", "sign", "beta", "-C", root)
    before = (root / "policies" / "beta.yaml.sig").read_bytes()
    repo = repository(root)
    sign_unsigned(repo, federation_of(repo), ALL, datetime.now(UTC), Output())
    assert signed(root) == ALL
    assert (root / "policies" / "beta.yaml.sig").read_bytes() == before
    assert "signed 3 policies with their officers' keys" in capsys.readouterr().out
