# SPDX-License-Identifier: Apache-2.0
"""Jobs that ask for more than a job may: code, classes, components, places, sizes. All of them signed and in order."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from typing import Any

from cloister.flare.app_check import MAXIMUM_APP_BYTES
from tests.federation_folder import JOB
from tests.flare.signed_jobs import raw_zip, zip_of
from tests.redteam.attempts import Tries
from tests.redteam.scene import CANARY, Files, Scene, changed_json

TRIES = Tries()

SITE_CONFIG, SERVER_CONFIG = "site_app/config/config_fed_client.json", "server_app/config/config_fed_server.json"
DOCUMENTS = ("site_app/config/job.yaml", "server_app/config/job.yaml")
SITE_DOCUMENT = DOCUMENTS[0]


def hostile_code(scene: Scene) -> bytes:
    return f"open({str(scene.marker)!r}, 'a').write({CANARY!r})\nclass Evil:\n    pass\n".encode()


def add(**files: bytes) -> Any:
    return lambda job: job.update({name.replace("__", "/").replace("_py", ".py"): text for name, text in files.items()})


def in_documents(extra: bytes) -> Any:
    def apply(files: Files) -> None:
        for name in DOCUMENTS:
            files[name] += extra

    return apply


def replaced(old: bytes, new: bytes) -> Any:
    def apply(files: Files) -> None:
        for name in DOCUMENTS:
            assert old in files[name]
            files[name] = files[name].replace(old, new)

    return apply


@TRIES("class-with-arguments")
def _(scene: Scene) -> list[str]:
    command = {"path": "subprocess.Popen", "args": {"args": ["touch", str(scene.marker), CANARY]}}
    change = changed_json(SITE_CONFIG, lambda value: value["executors"][0].update(executor=command))
    at_server = changed_json(SERVER_CONFIG, lambda value: value["workflows"][0].update(command))
    server = scene.job(at_server)
    return [*scene.both(scene.job(change)), scene.submit(server), scene.server_app(server)]


@TRIES("client-api-command")
def _(scene: Scene) -> list[str]:
    executor = {
        "path": "nvflare.app_common.executors.client_api_executor.ClientAPIExecutor",
        "args": {"execution_mode": "external_process", "command": f"touch {scene.marker} {CANARY}"},
    }
    return scene.both(
        scene.job(changed_json(SITE_CONFIG, lambda value: value["executors"][0].update(executor=executor)))
    )


@TRIES("swarm-job")
def _(scene: Scene) -> list[str]:
    """In a swarm, updates leave as auxiliary messages, which NVFlare's result filters never see."""
    client = {"tasks": ["swarm_*"], "executor": {"path": "nvflare.app_common.ccwf.SwarmClientController", "args": {}}}
    server = {"id": "swarm", "path": "nvflare.app_common.ccwf.SwarmServerController", "args": {"num_rounds": 1}}

    def change(files: Files) -> None:
        changed_json(SITE_CONFIG, lambda value: value.update(executors=[client], note=CANARY))(files)
        changed_json(SERVER_CONFIG, lambda value: value.update(workflows=[server], note=CANARY))(files)

    job = scene.job(change)
    return [*scene.both(job), scene.server_app(job)]


@TRIES("filter-after-ours")
def _(scene: Scene) -> list[str]:
    later = {"tasks": ["train"], "filters": [{"path": "evil.Smuggler", "args": {"note": CANARY}}]}
    return [
        answer
        for key in ("task_result_filters", "task_data_filters")
        for answer in scene.both(scene.job(changed_json(SITE_CONFIG, lambda value, key=key: value[key].append(later))))
    ]


@TRIES("analytics-component")
def _(scene: Scene) -> list[str]:
    widget = {
        "id": "events",
        "path": "nvflare.app_common.widgets.convert_to_fed_event.ConvertToFedEvent",
        "args": {"events_to_convert": ["analytix_log_stats"], "fed_event_prefix": CANARY},
    }
    return scene.both(scene.job(changed_json(SITE_CONFIG, lambda value: value["components"].append(widget))))


@TRIES("arguments-for-our-class")
def _(scene: Scene) -> list[str]:
    arguments = {"sandbox": "unsafe-none", "note": CANARY}
    change = changed_json(SITE_CONFIG, lambda value: value["executors"][0]["executor"].update(args=arguments))
    return scene.both(scene.job(change))


@TRIES("custom-folder")
def _(scene: Scene) -> list[str]:
    def change(files: Files) -> None:
        for app in ("site_app", "server_app"):
            for name in ("evil.py", "sitecustomize.py", "cloister/__init__.py"):
                files[f"{app}/custom/{name}"] = hostile_code(scene)

    job = scene.job(change)
    return [*scene.both(job), scene.server_app(job)]


@TRIES("empty-custom-folder")
def _(scene: Scene) -> list[str]:
    """NVFlare takes a job for one with code of its own, with other rights, where there is such a folder."""
    job = scene.job()
    folder = zipfile.ZipInfo("custom/")
    folder.external_attr = (stat.S_IFDIR | 0o700) << 16
    entries = [(zipfile.ZipInfo(name), text) for name, text in job.app().items()]
    archive = raw_zip([*entries, (folder, b"")])
    return [scene.deploy_zip(archive), scene.deploy_command(archive)]


@TRIES("code-beside-the-document")
def _(scene: Scene) -> list[str]:
    return scene.both(scene.job(lambda files: files.update({"site_app/config/job.py": hostile_code(scene)})))


@TRIES("secret-reference")
def _(scene: Scene) -> list[str]:
    """NVFlare fills such references in from files and variables of the machine that reads them."""
    (scene.folder / "secret").write_text(CANARY)
    reference = f"${{secret:file:{scene.folder}/secret}}"
    in_document = scene.job(in_documents(f"\nnote: {reference}\n".encode()))
    in_config = scene.job(changed_json(SITE_CONFIG, lambda value: value.update(note=reference)))
    in_meta = scene.job(after=changed_json("meta.json", lambda value: value.update(name=reference)))
    return [*scene.both(in_document), *scene.both(in_config), scene.submit(in_meta)]


@TRIES("launcher-in-meta")
def _(scene: Scene) -> list[str]:
    asked = {"launcher_spec": {"default": {"docker": {"image": f"evil/{CANARY}"}}}}
    job = scene.job(after=changed_json("meta.json", lambda value: value.update(asked)))
    return [scene.submit(job), scene.deploy(scene.job(), meta=asked)]


@TRIES("scope-in-meta")
def _(scene: Scene) -> list[str]:
    """Another scope would have other result filters, or none."""
    job = scene.job(after=changed_json("meta.json", lambda value: value.update(scope=CANARY)))
    return [scene.submit(job), scene.deploy(scene.job(), meta={"scope": CANARY})]


@TRIES("study-in-meta")
def _(scene: Scene) -> list[str]:
    job = scene.job(after=changed_json("meta.json", lambda value: value.update(study=CANARY)))
    return [scene.submit(job), scene.deploy(scene.job(), meta={"study": CANARY})]


@TRIES("own-code-flag-in-meta")
def _(scene: Scene) -> list[str]:
    job = scene.job(after=changed_json("meta.json", lambda value: value.update(byoc=True)))
    return [scene.submit(job), scene.deploy(scene.job(), meta={"byoc": True})]


@TRIES("zip-climbs-out")
def _(scene: Scene) -> list[str]:
    places = ["../evil.py", "config/../../local/custom/evil.py", str(scene.marker), "..\\evil.py", "config//job.yaml"]
    answers = []
    for place in places:
        entry = zipfile.ZipInfo(place)
        entry.external_attr = (stat.S_IFREG | 0o600) << 16
        whole = [(zipfile.ZipInfo(name), text) for name, text in scene.job().app().items()]
        archive = raw_zip([*whole, (entry, hostile_code(scene))])
        answers += [scene.deploy_zip(archive), scene.deploy_command(archive)]
        outer = [(zipfile.ZipInfo(f"{JOB}/{name}"), text) for name, text in scene.job().files.items()]
        answers.append(scene.submit_zip(raw_zip([*outer, (entry, hostile_code(scene))])))
    return answers


@TRIES("link-in-archive")
def _(scene: Scene) -> list[str]:
    job = scene.job().app()
    document = job.pop("config/job.yaml")
    secret = scene.folder / "secret.yaml"
    secret.write_bytes(document + f"# {CANARY}\n".encode())
    link = zipfile.ZipInfo("config/job.yaml")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = raw_zip([*((zipfile.ZipInfo(name), text) for name, text in job.items()), (link, str(secret).encode())])
    return [scene.deploy_zip(archive), scene.deploy_command(archive)]


@TRIES("two-files-of-one-name")
def _(scene: Scene) -> list[str]:
    """Of two entries, one reader takes the first and another the last."""
    job = scene.job()
    twice = [(zipfile.ZipInfo(name), text) for name, text in job.app().items()]
    archive = raw_zip([*twice, (zipfile.ZipInfo("config/job.yaml"), b"purpose: marketing\n")])
    outer = [(zipfile.ZipInfo(f"{JOB}/{name}"), text) for name, text in job.files.items()]
    whole = raw_zip([*outer, (zipfile.ZipInfo(f"{JOB}/{SITE_DOCUMENT}"), b"purpose: marketing\n")])
    return [scene.deploy_zip(archive), scene.deploy_command(archive), scene.submit_zip(whole)]


@TRIES("oversized-config")
def _(scene: Scene) -> list[str]:
    padded = CANARY.encode() + b" " * (MAXIMUM_APP_BYTES + 1)
    job = scene.job(changed_json(SITE_CONFIG, lambda value: value.update(note=padded.decode())))
    return [*scene.both(job), scene.deploy_command(zip_of(job.app()))]


@TRIES("zip-bomb")
def _(scene: Scene) -> list[str]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr(f"{JOB}/site_app/config/job.yaml", bytes(64 << 20))
    bomb = stream.getvalue()
    return [scene.submit_zip(bomb), scene.deploy_zip(bomb), scene.deploy_command(bomb)]


@TRIES("alias-bomb")
def _(scene: Scene) -> list[str]:
    """Ten lines of aliases, each ten times the one before: ten billion entries when written out."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return scene.both(scene.job(in_documents(("\n" + "\n".join(lines) + f"\n# {CANARY}\n").encode())))


@TRIES("look-alike-names")
def _(scene: Scene) -> list[str]:
    """Cyrillic letters, a full-width letter, a zero-width space and a combining mark in names that a policy grants."""
    swaps = {
        b"care-improvement": "\u0441are-improvement",
        b"clinical-notes": "clini\u0441al-notes",
        b"query": "\uff51uery",
        b"all-minilm-l6-v2": "all-minilm\u200b-l6-v2",
    }
    return [
        answer
        for old, new in swaps.items()
        for answer in scene.both(scene.job(replaced(old, json.dumps(new).encode())))
    ]


@TRIES("look-alike-licence")
def _(scene: Scene) -> list[str]:
    """A licence is free text to the server; the site's policy compares it letter by letter."""
    licence = json.dumps("apa\u0441he-2.0").encode()
    return [scene.deploy(scene.job(replaced(b"apache-2.0", licence)))]


@TRIES("key-twice-in-document")
def _(scene: Scene) -> list[str]:
    """One reader takes the first, another the last."""
    return scene.both(scene.job(in_documents(b"\npurpose: marketing\n")))


@TRIES("other-configuration-format")
def _(scene: Scene) -> list[str]:
    """NVFlare reads HOCON too, which includes files and fetches addresses."""
    hocon = f'include file("{scene.folder}/secret.conf")\n# {CANARY}\n'.encode()
    return scene.both(scene.job(lambda files: files.update({"site_app/config/config_fed_client.conf": hocon})))
