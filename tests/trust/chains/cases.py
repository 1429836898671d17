# SPDX-License-Identifier: Apache-2.0
"""Which bad certificates are tried where, and how they are laid down."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloister.certificates import PrivateKey, startup_folder
from cloister.certificates.anchors import roots_pem
from cloister.provisioning.kit import KitPaths
from tests.trust.chains import TABLE, Bad, Shown
from tests.trust.chains.world import World

CASES = [pytest.param(bad, kind, id=f"{bad.name}-{kind}") for bad in TABLE for kind in bad.kinds]
HANDSHAKES = [  # a person's certificate is to TLS what a site's is
    pytest.param(bad, kind, id=f"{bad.name}-{kind}")
    for bad in TABLE
    for kind in bad.kinds
    if kind != "person" or bad.kinds == ("person",)
]
KITS = [  # a kit is judged as a connection is, so one of each
    pytest.param(bad, kind, id=f"{bad.name}-{kind}")
    for bad in TABLE
    for kind in [next((each for each in bad.kinds if each == "site"), bad.kinds[0])]
]


def make(bad: Bad, world: World) -> tuple[Shown, World]:
    shown = bad.make(world)
    return shown, shown.world or world


def lay_down(state: Path, world: World, content: bytes) -> KitPaths:
    """A startup folder of ``world.who`` that is right but for its certificate."""
    startup = startup_folder(state, world.who)
    startup.mkdir(parents=True, mode=0o700)
    paths = KitPaths.of(startup, world.who)
    PrivateKey(world.leaf_key).write(paths.key)
    paths.certificate.write_bytes(content)
    paths.root.write_bytes(roots_pem(world.trust.anchors.roots))
    return paths
