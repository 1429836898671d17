# SPDX-License-Identifier: Apache-2.0
"""A Compose file (https://compose-spec.io), the image that it builds, and the filter of system calls for a site.

A site's trainer runs in bubblewrap inside the container. For that the container may make user namespaces and mounts in
them, and its /proc is not masked. It has no capability, so none of this reaches what lies outside.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from cloister.deploy.image import ENTRYPOINT_FOLDER, UID, dockerfile, seccomp_profile
from cloister.deploy.service import Service
from cloister.errors import UsageError

PASSPHRASE_FILE = "/run/secrets/cloister-passphrase"  # noqa: S105 - where it is, not what it is

_FOLDERS = {"server": ("provisioning",), "site": ("provisioning", "silos", "policies")}

_SANDBOX = """\
      # bubblewrap makes user namespaces, and mounts in them; Docker's own filter and AppArmor's profile forbid both.
      - seccomp=./seccomp.json
      - apparmor=unconfined
      # It mounts a /proc of its own, which the kernel allows only where the container's is not masked.
      - systempaths=unconfined
"""


def compose_files(service: Service, folder: str, *, version: str, passphrase: bool) -> dict[str, str]:
    """`compose.yaml`, `Dockerfile` and, for a site, `seccomp.json`.

    Args:
        service: what runs.
        folder: absolute path of the federation's folder on the machine.
        version: of Cloister, which goes into the image.
        passphrase: whether the key is encrypted.

    Raises:
        ProvisioningError: where the server's host means something else inside a container.
        UsageError: where ``folder`` is not absolute: Compose would look for it beside its file.
    """
    if not folder.startswith("/") or not folder.isprintable():
        raise UsageError(f"`{folder}` is no absolute path that Compose can name", hint="write it out from `/`")
    service.check_can_be_dialled()
    files = {
        "compose.yaml": _compose(service, PurePosixPath(folder), version, passphrase=passphrase),
        "Dockerfile": dockerfile(version),
    }
    return files if service.is_server else files | {"seccomp.json": seccomp_profile()}


def _compose(service: Service, folder: PurePosixPath, version: str, *, passphrase: bool) -> str:
    secrets = _secrets(service, folder, passphrase=passphrase)
    ports = f'    ports:\n      - "{service.port}:{service.port}"\n' if service.is_server else ""
    environment = f"    environment:\n      CLOISTER_PASSPHRASE_FILE: {PASSPHRASE_FILE}\n" if passphrase else ""
    granted = "".join(f"      - source: {name}\n        target: {_text(at)}\n" for name, _, at in secrets)
    found = "".join(f"  {name}:\n    file: {_text(at)}\n" for name, at, _ in secrets)
    volumes = "".join(_bind(*each) for each in _volumes(service, folder))
    return f"""\
# Made by `cloister deploy compose` from the documents of the federation {service.federation}; do not edit.
# For changes of your own: compose.override.yaml beside this file, which Compose reads as well.
#
#   docker compose up --build --detach
#
# User {UID} must own the workspace and, where there are any, the secrets.

name: {service.unit}

services:
  {_text(service.name)}:
    image: cloister:{version}
    build:
      context: .
    command: [serve, {_text(service.name)}, --folder, {ENTRYPOINT_FOLDER}]
    user: "{UID}:{UID}"
    read_only: true
    cap_drop: [ALL]
    security_opt:
      - no-new-privileges:true
{"" if service.is_server else _SANDBOX}\
{ports}\
{environment}\
    volumes:
{volumes}\
    tmpfs:
      - /tmp:size=1g,mode=1777
      # What a start leaves behind for the next is in the workspace alone; of others' keys nothing is seen.
      - {ENTRYPOINT_FOLDER}/.cloister:size=16m,mode=0700,uid={UID},gid={UID}
{f"    secrets:{chr(10)}{granted}" if granted else ""}\
    healthcheck:
      test: [CMD, python, -P, -m, cloister.flare.connected, {service.kind}, "{service.port}"]
      interval: 30s
      timeout: 10s
      start_period: 2m
      retries: 4
    mem_limit: {service.memory_mib}m
    memswap_limit: {service.memory_mib}m # the same: nothing goes to the swap
    pids_limit: {service.tasks}
    ulimits:
      core: 0
    restart: on-failure
    stop_grace_period: 1m
    logging:
      driver: local
{f"{chr(10)}secrets:{chr(10)}{found}" if found else ""}"""


def _volumes(service: Service, folder: PurePosixPath) -> list[tuple[str, str, bool]]:
    """Source, target, and whether it may be written."""
    inside = PurePosixPath(ENTRYPOINT_FOLDER)
    shown = [(str(folder / name), str(inside / name), False) for name in _FOLDERS[service.kind]]
    shown += [(str(folder / path), str(inside / path), False) for path in service.reads]
    return [*shown, (str(folder / service.workspace), str(inside / service.workspace), True)]


def _secrets(service: Service, folder: PurePosixPath, *, passphrase: bool) -> list[tuple[str, str, str]]:
    """Name, place on the machine, and place inside."""
    found = [("cloister-passphrase", "./secrets/passphrase", PASSPHRASE_FILE)] if passphrase else []
    for number, path in enumerate(service.passwords, 1):
        found.append((f"password-{number}", str(folder / path), str(PurePosixPath(ENTRYPOINT_FOLDER) / path)))
    return found


def _bind(source: str, target: str, writable: bool) -> str:
    read_only = "" if writable else "        read_only: true\n"
    return (
        f"      - type: bind\n        source: {_text(source)}\n        target: {_text(target)}\n{read_only}"
        "        bind:\n          create_host_path: false\n"
    )


def _text(text: str) -> str:
    """A scalar; JSON's are YAML's as well, and `$` begins a variable for Compose."""
    return json.dumps(text, ensure_ascii=False).replace("$", "$$")
