# SPDX-License-Identifier: Apache-2.0
"""`cloister authority publish`: sign the roster as the document says it now."""

from __future__ import annotations

from pathlib import Path

from cloister.cli.authority_here import AuthorityHere
from cloister.cli.options import FolderOption, JsonOption, output


def publish(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Sign the roster anew, as the document is."""
    del as_json
    here, out = AuthorityHere.at(folder), output()
    version = here.publish(out)
    out.result({"roster": version, "fingerprint": here.authority.fingerprint})
