# SPDX-License-Identifier: Apache-2.0
"""Everything that makes, moves or replaces private keys, through the command line: from nothing to a revoked site.

Usage: python -m tests.key_story FOLDER, with a passphrase or without
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.cli.commands import cloister
from tests.federation_folder import SITES, make_federation, records_of
from tests.provisioning.world import PERSON, SERVER, SITE, federation

_DEPLOYED = {
    "systemd": ("--at", "/srv/cloister", "--program", "/opt/cloister/bin/cloister"),
    "compose": ("--at", "/srv/cloister"),
    "helm": (),
}
_SERVED = {"server": {"host": "fl.research.example", "port": 8002}}  # a place that a service can rely on
PARTICIPANTS = {"server": SERVER, "site": SITE, "person": PERSON}


def documents_in(folder: Path) -> Path:
    """A folder with the roster alone."""
    (folder / "provisioning").mkdir(parents=True)
    # JSON is YAML.
    content = federation().model_dump_json(exclude_defaults=True)
    (folder / "provisioning" / "federation.yaml").write_text(content, encoding="utf-8")
    return folder


def do(*arguments: str | Path, at: Path) -> dict[str, object]:
    """Run one command in a folder; it must succeed."""
    done = cloister(*arguments, "--folder", at, "--json")
    assert done.status == 0, f"{arguments} ended with {done.status}\n{done.out}\n{done.err}"
    return dict(json.loads(done.out))


def tell(root: Path) -> None:
    """All of it, on four machines that are folders of ``root``, and on one that has everybody's keys."""
    authority = documents_in(root / "authority")
    fingerprint = str(do("authority", "init", at=authority)["fingerprint"])
    for kind, name in PARTICIPANTS.items():
        machine = root / kind
        machine.mkdir()
        do(kind, "init", name, at=machine)
        request = root / f"{kind}.request"
        key = str(do(kind, "request", name, "--out", request, at=machine)["key_sha256"])
        do("authority", "approve", request, "--fingerprint", key, "--out", root, at=authority)
        do(kind, "join", root / f"{name}.kit", "--fingerprint", fingerprint, at=machine)
    renewal = root / "site.renewal"
    do("renew", SITE, "--new-key", "--out", renewal, at=root / "site")
    do("authority", "approve", renewal, "--out", root, at=authority)
    do("site", "join", root / f"{SITE}.kit", "--fingerprint", fingerprint, at=root / "site")
    do("authority", "revoke", SITE, "--reason", "the site has left", at=authority)
    do("authority", "rotate", at=authority)
    one = make_federation(root / "one-machine", sites={name: records_of(name) for name in SITES[:2]}, roster=_SERVED)
    do("provision", at=one)
    for kind, options in _DEPLOYED.items():
        do("deploy", kind, SITES[0], "--passphrase", "--out", root / "deployed" / kind, *options, at=one)
    do("export", "--to", root / "exported", at=one)


if __name__ == "__main__":
    os.umask(0)  # as careless as can be
    tell(Path(sys.argv[1]))
