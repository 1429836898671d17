# SPDX-License-Identifier: Apache-2.0
"""What Cloister adds to the admission of a job at a site, beside what NVFlare does for the same job anyway.

Run it: .venv/bin/python benchmarks/admission.py [--jobs 30]

Real keys, certificates and signatures; the same signed jobs for both. NVFlare: unpack the job and verify the signatures
of its folder, as its deployer does. Cloister: `admit` with everything on (archive, NVFlare's signatures once more,
manifest, replay cache with fsync, roster, documents, signed policy). The disk's own fsync stands beside it.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nvflare.lighter.utils import verify_folder_signature_and_get_signers
from tests.flare import signed_jobs

from cloister.flare import admission
from cloister.flare.job_folder import SITE_APP
from cloister.flare.state import State


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=30)
    jobs = parser.parse_args().jobs
    logging.disable(logging.CRITICAL)
    # Whether bubblewrap works here is measured nowhere.
    admission.missing = lambda: None  # type: ignore[attr-defined, assignment]
    with tempfile.TemporaryDirectory(prefix="admission-") as name:
        root = signed_jobs.provisioned(Path(name))
        place = State(root).site(signed_jobs.SITE)
        apps = [
            signed_jobs.zip_of(
                signed_jobs.files_of_folder(
                    signed_jobs.sign(signed_jobs.site_app(root, signed_jobs.job_of(root)), root)
                )
            )
            for _ in range(jobs + 1)
        ]
        _admit(place, apps.pop())  # the first one loads modules
        plain = [_milliseconds(partial(_nvflare, place, Path(name), app)) for app in apps]
        ours = [_milliseconds(partial(_admit, place, app)) for app in apps]
        synced = [_milliseconds(lambda: _fsync(place / "probe")) for _ in range(jobs)]
    print(f"{'':44}{'median':>10}{'maximum':>10}   milliseconds, {jobs} jobs")
    rows = {
        "NVFlare: verify signatures and unpack": plain,
        "Cloister: admit, everything on": ours,
        "one fsync of this disk": synced,
    }
    for who, values in rows.items():
        print(f"{who:44}{statistics.median(values):10.1f}{max(values):10.1f}")


def _signed(root: Path) -> bytes:
    """One more submission of the federation's job."""
    app = signed_jobs.site_app(root, signed_jobs.job_of(root))
    return signed_jobs.zip_of(signed_jobs.files_of_folder(signed_jobs.sign(app, root)))


def _admit(place: Path, app: bytes) -> None:
    admission.admit(place, signed_jobs.job_id(), dict(signed_jobs.META), SITE_APP, app)


def _nvflare(place: Path, scratch: Path, app: bytes) -> None:
    folder = Path(tempfile.mkdtemp(dir=scratch))
    with zipfile.ZipFile(io.BytesIO(app)) as archive:
        archive.extractall(folder)
    verified, _ = verify_folder_signature_and_get_signers(str(folder), str(place / "startup" / "rootCA.pem"))
    assert verified


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, b"x" * 4096)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _milliseconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1000


if __name__ == "__main__":
    main()
