# SPDX-License-Identifier: Apache-2.0
"""What a signed roster costs as a federation grows: to sign, to take up, to read, and to judge a certificate by it.

Usage: .venv/bin/python benchmarks/roster.py [--repeat 5]

Each size is a whole federation with a certificate for everybody; all share a few keys, since nobody compares them. What
matters is how the costs grow, and that one judgement, which stands before each new connection, stays below a signature
of RSA, of which a TLS handshake needs two: it is measured beside it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from cloister.certificates import PrivateKey, identities, lifetime, pem
from cloister.provisioning import Authority
from cloister.provisioning.publication import publish
from cloister.roster import Federation
from cloister.trust import judge, take_up, trust_in_force
from cloister.trust.in_force import take_up_first

SIZES = ((3, 5), (20, 50), (200, 1000))


def federation_of(sites: int, people: int) -> Federation:
    """A roster of this many."""
    document: dict[str, Any] = {
        "federation": "large",
        "server": {"name": "coordinator", "organisation": "institute", "host": "localhost"},
        "sites": [{"name": f"hospital-{number}", "organisation": f"organisation-{number}"} for number in range(sites)],
        "people": [
            {"name": f"person-{number}@research.example", "organisation": "institute", "role": "data-scientist"}
            for number in range(people)
        ],
    }
    return Federation.model_validate_json(json.dumps(document))


def timed(work: Callable[[], object], repeat: int) -> float:
    """Median seconds of ``work``."""
    found = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def signature_seconds(repeat: int) -> float:
    """One RSA-3072 signature: the least that one side of a handshake costs."""
    key = rsa.generate_private_key(65537, 3072)
    padded = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return timed(lambda: key.sign(b"handshake", padded, hashes.SHA256()), max(repeat, 20))


def measure(sites: int, people: int, keys: list[PrivateKey], repeat: int, folder: Path) -> tuple[str, ...]:
    """One line of the table."""
    federation, now = federation_of(sites, people), datetime.now(UTC)
    authority = Authority.create(folder / "authority", federation, now)
    pool = itertools.cycle(keys)
    shown = b""
    for identity in identities(federation):
        shown = authority.sign(next(pool).request(identity), identity, lifetime(federation, identity), now)
    content = publish(authority, federation, now)
    workspace = folder / "workspace"
    take_up_first(workspace, content, authority.stating)
    trust, certificate = trust_in_force(workspace), pem.parse_certificate(shown, "certificate")
    moments = itertools.count(1)
    signing = timed(lambda: publish(authority, federation, now + timedelta(seconds=next(moments))), repeat)
    newer = iter([publish(authority, federation, now + timedelta(seconds=next(moments))) for _ in range(repeat)])
    taking = timed(lambda: take_up(workspace, next(newer)), repeat)
    reading = timed(lambda: trust_in_force(workspace), repeat)
    judging = timed(lambda: judge(certificate, trust, now), max(repeat, 100))
    return (
        str(1 + sites + people),
        f"{len(content) / 1024:.0f} KiB",
        f"{signing * 1000:.0f} ms",
        f"{taking * 1000:.1f} ms",
        f"{reading * 1000:.1f} ms",
        f"{judging * 1e6:.0f} us",
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    keys = [PrivateKey.generate() for _ in range(4)]
    print("| participants | roster | sign | take up | read | judge one certificate |")
    print("|---|---|---|---|---|---|")
    for sites, people in SIZES:
        with tempfile.TemporaryDirectory() as name:
            print("| " + " | ".join(measure(sites, people, keys, repeat, Path(name))) + " |", flush=True)
    print(f"one RSA-3072 signature, of which a handshake needs two: {signature_seconds(repeat) * 1e6:.0f} us")


if __name__ == "__main__":
    main()
