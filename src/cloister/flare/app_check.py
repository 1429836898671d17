# SPDX-License-Identifier: Apache-2.0
"""NVFlare's app validators: the unpacked app must be exactly what Cloister writes, at the server and at every site.

NVFlare runs a validator when it deploys an app and takes an exception for a refusal; ours gives its refusals as text,
because that text reaches the submitter.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from nvflare.apis.app_validation import AppValidator

from cloister.errors import CloisterError, DeniedError
from cloister.flare.job_folder import SERVER_APP, SITE_APP, App, read_app
from cloister.governance.job_manifest import verify_manifest
from cloister.trust import trust_in_force

MAXIMUM_APP_BYTES = 2 << 20

_log = logging.getLogger(__name__)


def files_in(folder: Path) -> dict[str, bytes]:
    """Content of every file under ``folder`` by its path inside it.

    Raises:
        DeniedError: where something is not a plain file or a folder with files, or all together are too large.
    """
    files: dict[str, bytes] = {}
    total = 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DeniedError("the job carries something that is not a plain file")
        if path.is_dir():
            if not any(path.iterdir()):  # nobody would see it among the files, and NVFlare judges by `custom`
                raise DeniedError(f"the job carries an empty folder `{path.name[:200]}`")
            continue
        total += path.stat().st_size
        if total > MAXIMUM_APP_BYTES:
            raise DeniedError(f"the job is larger than {MAXIMUM_APP_BYTES} bytes")
        files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files


class _AppCheck(AppValidator):
    app: str

    def validate(self, app_folder: str) -> tuple[str, dict[str, bool]]:
        """Say what is wrong with the app, or nothing."""
        folder = Path(app_folder)
        try:
            self.check(folder, read_app(self.app, files_in(folder)))
        except CloisterError as error:
            return str(error), {}
        except Exception:  # noqa: BLE001 - a gate: whatever goes wrong inside denies
            _log.exception("the app check failed")
            return "the check of the job failed; see the log", {}
        return "", {}

    def check(self, folder: Path, app: App) -> None:
        """See what else there is to see.

        Raises:
            CloisterError: where the app is not to be deployed.
        """


class ServerAppCheck(_AppCheck):
    """The server's check.

    NVFlare asks as a job's turn comes, which may be days after it was sent: whoever signed it may have been revoked,
    and its time may be over.
    """

    app = SERVER_APP

    def check(self, folder: Path, app: App) -> None:
        """See that the job's manifest still counts."""
        trust = trust_in_force(folder.parents[1])  # NVFlare deploys into the workspace, as JOB/app_server
        verify_manifest(app.manifest, trust.federation, trust.anchors, datetime.now(UTC))


class SiteAppCheck(_AppCheck):
    """A site's check; `cloister.flare.admission` has decided on the same bytes before."""

    app = SITE_APP
