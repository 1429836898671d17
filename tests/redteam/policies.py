# SPDX-License-Identifier: Apache-2.0
"""A site's policy and configuration, taken away, replaced, aged or signed by the wrong person while the site runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import yaml

from cloister.governance.policy_signature import ENDING
from cloister.governance.revocation import FOLDER
from tests.federation_folder import PERSON, change_document
from tests.flare.signed_jobs import publish_roster
from tests.redteam.attempts import Tries
from tests.redteam.scene import CANARY, Scene
from tests.signed_policies import revoke_policy, sign_policies

TRIES = Tries()

ALPHA, BASELINE = "policies/alpha.yaml", "policies/baseline.yaml"
WIDER = {"purposes": ["care-improvement", "marketing"], "may_leave": {"maximum_bytes_per_round": 10**9}}


def version(scene: Scene, number: int, **changes: object) -> None:
    """Write another version of the site's policy, signed by its officer."""
    change_document(scene.root, ALPHA, {"version": number, **changes})
    sign_policies(scene.root, "alpha")


def tried(scene: Scene, *names: str, act: Callable[[Path], object]) -> list[str]:
    """``act`` on each file in turn, a job after it, and the file as it was again."""
    answers = []
    for name in names:
        path = scene.root / name
        before = path.read_bytes()
        job = scene.job()
        act(path)
        answers.append(scene.deploy(job))
        path.write_bytes(before)
    assert scene.deploy(scene.job()) == "", "as it was, the site takes jobs"
    return answers


@TRIES("deleted-policy")
def _(scene: Scene) -> list[str]:
    return tried(scene, ALPHA, BASELINE, act=Path.unlink)


@TRIES("emptied-policy")
def _(scene: Scene) -> list[str]:
    return [
        answer
        for text in (b"", b"{}", b"\n", b"policy: [", f"# {CANARY}\n".encode())
        for answer in tried(scene, ALPHA, BASELINE, act=lambda path, text=text: path.write_bytes(text))
    ]


@TRIES("unsigned-policy")
def _(scene: Scene) -> list[str]:
    return tried(scene, ALPHA + ENDING, BASELINE + ENDING, act=Path.unlink)


@TRIES("emptied-signature")
def _(scene: Scene) -> list[str]:
    return [
        answer
        for text in (b"", b"{}")
        for answer in tried(
            scene, ALPHA + ENDING, BASELINE + ENDING, act=lambda path, text=text: path.write_bytes(text)
        )
    ]


@TRIES("tampered-policy")
def _(scene: Scene) -> list[str]:
    """One more purpose, a larger update, or a single space, under the old signature."""
    return [
        *tried(scene, ALPHA, act=lambda path: change_document(scene.root, ALPHA, WIDER)),
        *tried(scene, ALPHA, BASELINE, act=lambda path: path.write_bytes(path.read_bytes() + b" ")),
    ]


@TRIES("another-policys-signature")
def _(scene: Scene) -> list[str]:
    """The signature of another site's policy, genuine and by the same officer."""
    other = (scene.root / f"policies/beta.yaml{ENDING}").read_bytes()
    return tried(scene, ALPHA + ENDING, act=lambda path: path.write_bytes(other))


@TRIES("another-sites-policy")
def _(scene: Scene) -> list[str]:
    """Another site's policy with its signature in the place of this one's."""
    (scene.root / ALPHA).write_bytes((scene.root / "policies/beta.yaml").read_bytes())
    (scene.root / (ALPHA + ENDING)).write_bytes((scene.root / f"policies/beta.yaml{ENDING}").read_bytes())
    return [scene.deploy(scene.job())]


@TRIES("rolled-back-policy")
def _(scene: Scene) -> list[str]:
    """An older, wider version, which its officer did sign once."""
    version(scene, 2, **WIDER)
    older = {name: (scene.root / name).read_bytes() for name in (ALPHA, ALPHA + ENDING)}
    version(scene, 3)
    assert scene.deploy(scene.job()) == ""
    for name, text in older.items():
        (scene.root / name).write_bytes(text)
    answers = [scene.deploy(scene.job())]
    memory = scene.workspace / "policy-versions.json"
    for damage in (b"", b"[]", b"not json"):
        memory.write_bytes(damage)
        answers.append(scene.deploy(scene.job()))
    return answers


@TRIES("same-version-other-content")
def _(scene: Scene) -> list[str]:
    """Signed anew by the officer, and not raised: two texts would bear one number in every log."""
    version(scene, 2)
    assert scene.deploy(scene.job()) == ""
    version(scene, 2, **WIDER)
    return [scene.deploy(scene.job())]


@TRIES("expired-policy")
def _(scene: Scene) -> list[str]:
    version(scene, 2, valid_until="2026-01-02")
    return [scene.deploy(scene.job())]


@TRIES("policy-of-tomorrow")
def _(scene: Scene) -> list[str]:
    version(scene, 2, valid_from="2099-01-01")
    return [scene.deploy(scene.job())]


@TRIES("revoked-policy")
def _(scene: Scene) -> list[str]:
    path = revoke_policy(scene.root, "alpha")
    content = path.read_bytes()
    answers = [scene.deploy(scene.job())]
    for damaged in (b"", content[:-10]):  # damage does not bring the policy back
        path.write_bytes(damaged)
        answers.append(scene.deploy(scene.job()))
    renamed = scene.root / FOLDER / "alpha-v7.json"
    path.rename(renamed)
    renamed.write_bytes(content)
    return [*answers, scene.deploy(scene.job())]


@TRIES("policy-of-a-newer-language")
def _(scene: Scene) -> list[str]:
    """It may hold a restriction that this version of Cloister would not see."""
    tree = yaml.safe_load((scene.root / ALPHA).read_text())
    text = yaml.safe_dump({**tree, "language": 2, "version": 2, "denies": [CANARY]}, sort_keys=False)
    (scene.root / ALPHA).write_text(text)
    return [scene.deploy(scene.job())]


@TRIES("policy-signed-by-another-sites-officer")
def _(scene: Scene) -> list[str]:
    """An officer of this federation, whom the roster lists for another site alone."""
    _officers(scene, alpha=["someone@alpha.example"])
    return [scene.deploy(scene.job())]


@TRIES("policy-signed-by-a-data-scientist")
def _(scene: Scene) -> list[str]:
    """Ada widens the policy and signs it herself; and then has herself listed as an officer."""
    change_document(scene.root, ALPHA, {"version": 2, **WIDER})
    sign_policies(scene.root, "alpha", by=PERSON)
    answers = [scene.deploy(scene.job())]
    _officers(scene, alpha=[PERSON])
    return [*answers, scene.deploy(scene.job())]


@TRIES("nobody-may-sign")
def _(scene: Scene) -> list[str]:
    """The roster lists no officer: that must not mean that anybody will do."""
    _officers(scene, alpha=[])
    return [scene.deploy(scene.job())]


@TRIES("deleted-authorization-file")
def _(scene: Scene) -> list[str]:
    """NVFlare allows everything to everybody where it is missing."""
    return _configuration(scene, "local/authorization.json")


@TRIES("deleted-privacy-file")
def _(scene: Scene) -> list[str]:
    """NVFlare filters nothing where it is missing, and reads it anew for each job."""
    return _configuration(scene, "local/privacy.json")


@TRIES("deleted-resources-file")
def _(scene: Scene) -> list[str]:
    """It holds the list of classes that a job may name."""
    return [*_configuration(scene, "local/resources.json"), *_configuration(scene, "local/cloister.json")]


@TRIES("two-handlers-of-one-name")
def _(scene: Scene) -> list[str]:
    """NVFlare drops one of two handlers whose classes bear one name, and takes components from such files."""
    component = {"components": [{"id": "x", "path": "evil.EgressFilter", "args": {"note": CANARY}}]}
    places = [
        "local/evil__p_resources.json",
        "local/evil__j_resources.json",
        "local/evil__resources.json",
        "startup/evil__j_resources.json",
        "local/custom/cloister/flare/egress_filter.py",
        "local/privacy.json.default",
    ]
    answers = []
    for place in places:
        path = scene.workspace / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(component))
        answers.append(scene.deploy(scene.job()))
        path.unlink()
        for folder in path.parents:
            if folder.name in ("local", "startup"):
                break
            folder.rmdir()
    assert scene.deploy(scene.job()) == ""
    return answers


def _configuration(scene: Scene, name: str) -> list[str]:
    shown = str((scene.workspace / name).relative_to(scene.root))
    harmless_looking = {"format_version": "1.0", "permissions": {"data-scientist": "any"}, "note": CANARY}
    return [
        *tried(scene, shown, act=Path.unlink),
        *tried(scene, shown, act=lambda path: path.write_bytes(b"")),
        *tried(scene, shown, act=lambda path: path.write_text("{}")),
        *tried(scene, shown, act=lambda path: path.write_text(json.dumps(harmless_looking))),
    ]


def _officers(scene: Scene, alpha: list[str]) -> None:
    name = "provisioning/federation.yaml"
    tree = yaml.safe_load((scene.root / name).read_text())
    for site in tree["sites"]:
        if site["name"] == "alpha":
            site["officers"] = alpha
    for officer in alpha:
        if officer not in {person["name"] for person in tree["people"]}:
            person = {"name": officer, "organisation": "alpha-hospital", "role": "compliance-officer"}
            tree["people"].append(person)
    (scene.root / name).write_text(yaml.safe_dump(tree, sort_keys=False))
    publish_roster(scene.root)
