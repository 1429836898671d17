# SPDX-License-Identifier: Apache-2.0
"""What appending to the audit log costs, beside what the disk itself takes to write and fsync as many bytes.

Run it: .venv/bin/python benchmarks/audit_append.py [--entries 500] [--folder .]

Both write into one folder, turn by turn, so that whatever else the disk does falls on both. The disk's own time is one
write(2) and one fsync(2) of a line of the same length into an open file. An append is everything: lock, reading the
file's end, checking it, hashing, writing, fsync. A signature is what a checkpoint costs on top, once in a hundred.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from cloister.audit import Fact, Kind, Log, Notary, lines, verify
from cloister.envelope import sign_with

FACTS: dict[str, Fact] = {
    "reply": "update",
    "digest": "ab" * 32,
    "bytes": 310_412,
    "records": 540,
    "norm": 0.7314,
    "metrics": ("accuracy", "loss", "macro_f1", "train_loss"),
}
JOB = "0b5e1d6e-9f43-4a5e-8f5c-2f3f8a4d9c11"


class Key:
    """RSA-3072, as a site's."""

    def __init__(self) -> None:
        self.private = rsa.generate_private_key(65537, 3072)

    def sign(self, message: bytes) -> bytes:
        return sign_with(self.private, message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=500)
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk that is to be measured")
    options = parser.parse_args()
    key = Key()
    certificate = _certificate(key)
    with tempfile.TemporaryDirectory(prefix="audit-append-", dir=options.folder) as name:
        log = Log(Path(name) / "audit", "alpha", lambda: Notary(key, certificate))
        length = len(log.append(Kind.RELEASE, FACTS, job=JOB, number=1).line())
        disk, appends = [], []
        with (Path(name) / "plain").open("ab", buffering=0) as plain:
            for number in range(options.entries):
                begun = time.perf_counter()
                os.write(plain.fileno(), b"x" * length)
                os.fsync(plain.fileno())
                disk.append(time.perf_counter() - begun)
                begun = time.perf_counter()
                log.append(Kind.RELEASE, FACTS, job=JOB, number=number + 2)
                appends.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        log.checkpoint()
        checkpoint = time.perf_counter() - begun
        begun = time.perf_counter()
        report = verify(lines(log.path), certificate)
        verified = time.perf_counter() - begun
        assert report.broken is None
    print(f"{options.entries} entries of {length} bytes, milliseconds")
    print(f"{'':24}{'median':>10}{'95 %':>10}")
    for what, values in (("the disk's own fsync", disk), ("append", appends)):
        print(f"{what:24}{statistics.median(values) * 1e3:10.3f}{_high(values) * 1e3:10.3f}")
    over = [one - other for one, other in zip(appends, disk, strict=True)]
    print(f"{'append over the disk':24}{statistics.median(over) * 1e3:10.3f}{_high(over) * 1e3:10.3f}")
    print(f"one checkpoint {checkpoint * 1e3:.1f} ms; verifying {report.entries} entries {verified * 1e3:.0f} ms")
    if statistics.median(over) > 2e-3:
        sys.exit("an append takes more than 2 ms over the disk's own fsync")


def _high(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def _certificate(key: Key) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alpha")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.private.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    )
    return builder.sign(key.private, hashes.SHA256())


if __name__ == "__main__":
    main()
