# SPDX-License-Identifier: Apache-2.0
"""Jobs that are not what somebody signed, not signed by whom they name, or signed at another time; and jobs sent again.

What is changed "on the way" is changed by a server that has been taken over, so there the site alone must refuse.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from cloister.certificates import PrivateKey
from cloister.certificates.identity import identities, startup_folder
from cloister.certificates.pem import read_certificate
from cloister.envelope import seal, unseal
from cloister.files import canonical_json, sha256_of
from cloister.flare.job_folder import MANIFEST, SERVER_APP, SITE_APP
from cloister.flare.state import State
from cloister.governance.job_manifest import KIND
from cloister.provisioning.authority import AUTHORITY_FOLDER, Authority
from cloister.repository import load_repository
from tests.federation_folder import PERSON, change_document
from tests.flare.signed_jobs import provisioned, publish_roster
from tests.redteam.attempts import Tries
from tests.redteam.scene import CANARY, Files, Job, Scene

TRIES = Tries()

EVE, IVAN = "eve@bank.example", "ivan@research.example"
DOCUMENT = f"{SITE_APP}/config/job.yaml"
HOUR = timedelta(hours=1)


def with_files(job: Job, **changed: bytes | None) -> Job:
    """``job`` with files of its site's app changed after everything was signed; None takes one out."""
    files = dict(job.files)
    for name, text in changed.items():
        path = f"{SITE_APP}/config/{name}"
        if text is None:
            del files[path]
        else:
            files[path] = text
    return Job(files)


def signed_anew(scene: Scene, files: Files, person: str = PERSON) -> Job:
    """NVFlare's signatures renewed with the person's key; its manifest is still the old one."""
    bare = {path: text for path, text in files.items() if not path.rpartition("/")[2].startswith(".__nvfl")}
    return Job(scene.signed(bare, person))


@TRIES("unsigned-job")
def _(scene: Scene) -> list[str]:
    bare = {path: text for path, text in scene.job().files.items() if ".__nvfl" not in path}
    return [scene.deploy(Job(bare))]


@TRIES("unsigned-manifest")
def _(scene: Scene) -> list[str]:
    files = {path: b"{}" if path.endswith(MANIFEST) else text for path, text in scene.job().files.items()}
    return scene.both(signed_anew(scene, files))


@TRIES("replayed-job")
def _(scene: Scene) -> list[str]:
    job = scene.job()
    assert (scene.submit(job), scene.deploy(job)) == ("", ""), "the job is one that may run, once"
    return scene.both(job)


@TRIES("replay-under-the-first-identifier")
def _(scene: Scene) -> list[str]:
    """A further job under the identifier of one that was admitted, whose folder and record it would take over."""
    identifier = "11111111-2222-4333-8444-555555555555"
    assert scene.deploy(scene.job(), identifier=identifier) == ""
    return [scene.deploy(scene.job(training={"seed": 8}), identifier=identifier)]


@TRIES("replay-after-lost-memory")
def _(scene: Scene) -> list[str]:
    """The file in which the site remembers what was used is emptied."""
    job = scene.job()
    assert scene.deploy(job) == ""
    (scene.workspace / "replay.sqlite").write_bytes(b"")
    return [scene.deploy(job)]


@TRIES("replay-with-the-clock-set-back")
def _(scene: Scene) -> list[str]:
    """The manifest's time is made to come again; that it was used stays known."""
    job = scene.job(now=datetime.now(UTC) - 2 * HOUR, lifetime=3 * HOUR)
    assert (scene.submit(job), scene.deploy(job)) == ("", "")
    scene.clock(-timedelta(minutes=4))
    return scene.both(job)


@TRIES("manifest-from-the-future")
def _(scene: Scene) -> list[str]:
    return scene.both(scene.job(now=datetime.now(UTC) + HOUR))


@TRIES("manifest-from-the-past")
def _(scene: Scene) -> list[str]:
    return scene.both(scene.job(now=datetime.now(UTC) - 3 * HOUR, lifetime=HOUR))


@TRIES("manifest-for-ever")
def _(scene: Scene) -> list[str]:
    """Nobody is kept from signing one that counts for years by their own program."""
    job = scene.job()
    value = json.loads(unseal(KIND, job.files[f"{SITE_APP}/{MANIFEST}"]).payload)
    payload = canonical_json(value | {"expires": value["not_before"] + 10 * 366 * 86400})
    startup = State(scene.root).person(PERSON) / "startup"
    key, certificate = PrivateKey.load(startup / "client.key"), read_certificate(startup / "client.crt")
    forged = seal(KIND, payload, key, certificate)
    files = {path: forged if path.endswith(MANIFEST) else text for path, text in job.files.items()}
    return scene.both(signed_anew(scene, files))


@TRIES("site-clock-behind")
def _(scene: Scene) -> list[str]:
    """The clocks of server and site stand still in the past, where an expired policy or person would still count."""
    scene.clock(-HOUR)
    return scene.both(scene.job())


@TRIES("changed-purpose")
def _(scene: Scene) -> list[str]:
    """The signer's own key, and a purpose that differs from the one in the manifest."""
    files = dict(scene.job(purpose="care-improvement").files)
    for app in (SITE_APP, SERVER_APP):
        path = f"{app}/config/job.yaml"
        files[path] = files[path].replace(b"purpose: care-improvement", b"purpose: service-improvement")
    on_the_way = Job(files)
    return [scene.deploy(on_the_way), *scene.both(signed_anew(scene, files))]


@TRIES("changed-rounds-on-the-way")
def _(scene: Scene) -> list[str]:
    job = scene.job()
    return [scene.deploy(with_files(job, **{"job.yaml": job.files[DOCUMENT].replace(b"rounds: 2", b"rounds: 20")}))]


@TRIES("swapped-files")
def _(scene: Scene) -> list[str]:
    """NVFlare signs what files hold and not what they are called."""
    job = scene.job()
    configuration, document = "config/config_fed_client.json", "config/job.yaml"
    files = dict(job.files)
    one, other = f"{SITE_APP}/{configuration}", f"{SITE_APP}/{document}"
    files[one], files[other] = files[other], files[one]
    return [scene.deploy(Job(files)), *scene.both(signed_anew(scene, files))]


@TRIES("deleted-file")
def _(scene: Scene) -> list[str]:
    """NVFlare's verification passes where a signed file is gone."""
    job = scene.job()
    names = ("job.yaml", "config_fed_client.json", "manifest.json")
    return [scene.deploy(with_files(job, **{name: None})) for name in names]


@TRIES("spliced-part")
def _(scene: Scene) -> list[str]:
    """The document, with everything that NVFlare signed of it, out of an older job of the same person."""
    older, newer = scene.job(training={"seed": 8}), scene.job()
    spliced = {
        path: older.files[path] if path.startswith(SITE_APP) and not path.endswith(MANIFEST) else text
        for path, text in newer.files.items()
    }
    return [*scene.both(signed_anew(scene, spliced)), scene.deploy(Job(spliced))]


@TRIES("another-jobs-manifest")
def _(scene: Scene) -> list[str]:
    other = scene.job(training={"seed": 8}).files[f"{SITE_APP}/{MANIFEST}"]
    files = {path: other if path.endswith(MANIFEST) else text for path, text in scene.job().files.items()}
    return scene.both(signed_anew(scene, files))


@TRIES("two-documents")
def _(scene: Scene) -> list[str]:
    """Sites would judge one document and the server do the other; one person signs for both."""
    files = dict(scene.job().files)
    for_server = f"{SERVER_APP}/config/job.yaml"
    files[for_server] = files[for_server].replace(b"minimum_sites: 2", b"minimum_sites: 1")
    stated = unseal(KIND, files[f"{SITE_APP}/{MANIFEST}"]).value()
    stated["files"][for_server] = sha256_of(files[for_server])
    startup = State(scene.root).person(PERSON) / "startup"
    key, certificate = PrivateKey.load(startup / "client.key"), read_certificate(startup / "client.crt")
    sealed = seal(KIND, canonical_json(stated), key, certificate)
    files |= {f"{SERVER_APP}/{MANIFEST}": sealed, f"{SITE_APP}/{MANIFEST}": sealed}
    return scene.both(signed_anew(scene, files))


@TRIES("anothers-job-as-ones-own")
def _(scene: Scene) -> list[str]:
    """NVFlare gives the result to whoever sent the job."""
    return scene.both(Job(scene.job().files, EVE))


@TRIES("two-manifests")
def _(scene: Scene) -> list[str]:
    """The server is shown one manifest and the site another; both are signed."""
    files = dict(scene.job().files)
    files[f"{SERVER_APP}/{MANIFEST}"] = scene.job().files[f"{SERVER_APP}/{MANIFEST}"]
    return [scene.submit(signed_anew(scene, files))]


@TRIES("another-sites-job")
def _(scene: Scene) -> list[str]:
    """A server passes a job on to a site that its submitter did not ask."""
    asked = {"server_app": ["server"], "site_app": ["beta", "gamma"]}
    job = scene.job(sites=("beta", "gamma"), federation={"sites": ["beta", "gamma"]})
    return [scene.deploy(job), scene.deploy(job, meta={"deploy_map": asked})]


@TRIES("other-meta-than-the-manifest")
def _(scene: Scene) -> list[str]:
    """The server says that fewer sites will do, or that the job has another name."""
    return [scene.deploy(scene.job(), meta={"min_clients": 1}), scene.deploy(scene.job(), meta={"name": CANARY})]


@TRIES("in-anothers-name")
def _(scene: Scene) -> list[str]:
    """Eve, whom no policy lets submit, names Ada in the manifest that she signs."""
    return scene.both(scene.job(person=EVE, claims=PERSON))


@TRIES("anothers-manifest-and-own-signature")
def _(scene: Scene) -> list[str]:
    """Eve sends Ada's manifest, which is genuine, with files that Eve signed for NVFlare."""
    return [scene.deploy(signed_anew(scene, scene.job().files, EVE))]


@TRIES("right-role-in-another-organisation")
def _(scene: Scene) -> list[str]:
    """Eve is a data scientist of another institute; her certificate and signatures are in order."""
    return [scene.deploy(scene.job(person=EVE))]


@TRIES("wrong-role")
def _(scene: Scene) -> list[str]:
    return [scene.deploy(scene.job(person=IVAN))]


@TRIES("left-the-roster")
def _(scene: Scene) -> list[str]:
    job = scene.job(person=EVE)
    change_document(scene.root, "provisioning/federation.yaml", {"people": _people(scene, without=EVE)})
    publish_roster(scene.root)
    return scene.both(job)


@TRIES("changed-organisation-in-the-roster")
def _(scene: Scene) -> list[str]:
    """Ada has changed over to another organisation; her old certificate still says the granted one."""
    job = scene.job()
    people = [
        {**person, "organisation": "other-institute"} if person["name"] == PERSON else person
        for person in _people(scene)
    ]
    change_document(scene.root, "provisioning/federation.yaml", {"people": people})
    publish_roster(scene.root)
    return scene.both(job)


@TRIES("expired-signer")
def _(scene: Scene) -> list[str]:
    """A certificate that the authority issued, and whose time is over."""
    _issue(scene, datetime.now(UTC) - timedelta(minutes=3), timedelta(minutes=1))
    return scene.both(scene.job())


@TRIES("signer-not-yet-valid")
def _(scene: Scene) -> list[str]:
    _issue(scene, datetime.now(UTC) + timedelta(days=2), timedelta(days=1))
    return scene.both(scene.job())


@TRIES("another-federations-signer")
def _(scene: Scene) -> list[str]:
    """The same name, role and organisation, certified by another federation's authority."""
    theirs = Scene(provisioned(scene.folder / "theirs", "theirs"), scene.marker, scene.folder, scene.patch)
    return scene.both(theirs.job())


@TRIES("signed-by-a-machine")
def _(scene: Scene) -> list[str]:
    """The keys of another site and of the server sign the job."""
    answers = []
    person = State(scene.root).person(PERSON) / "startup"
    for kit in ("sites/beta", "server"):
        startup = State(scene.root).folder / kit / "startup"
        for ending in ("key", "crt"):
            (person / f"client.{ending}").unlink()
            (person / f"client.{ending}").write_bytes(next(startup.glob(f"*.{ending}")).read_bytes())
            (person / f"client.{ending}").chmod(0o600)
        answers += scene.both(scene.job())
    return answers


def _people(scene: Scene, without: str = "") -> list[dict[str, str]]:
    people = load_repository(scene.root).federation.value.people
    return [
        {"name": person.name, "organisation": person.organisation, "role": person.role.value}
        for person in people
        if person.name != without
    ]


def _issue(scene: Scene, begin: datetime, lifetime: timedelta) -> None:
    """Give Ada another certificate for her key, by the real authority, as at another time."""
    state = State(scene.root).folder
    federation = load_repository(scene.root).federation.value
    (identity,) = [each for each in identities(federation) if each.name == PERSON]
    startup = startup_folder(state, identity)
    key = PrivateKey.load(startup / "client.key")
    authority = Authority.open(state / AUTHORITY_FOLDER)
    certificate = authority.sign(key.request(identity), identity, lifetime, begin)
    (startup / "client.crt").unlink()
    (startup / "client.crt").write_bytes(certificate)
