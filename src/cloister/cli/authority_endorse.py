# SPDX-License-Identifier: Apache-2.0
"""`cloister authority endorse`: an approver's signature to a first request, where the document asks for several."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloister.cli.enrolment import read_request, spoken
from cloister.cli.officers import key_of
from cloister.cli.options import FolderOption, JsonOption, federation_here, output
from cloister.errors import DeniedError, UsageError
from cloister.files import write_atomically
from cloister.provisioning.approval import approve, key_fingerprint
from cloister.provisioning.granting import entry_of


def endorse(
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="The file that a participant has sent.")],
    person: Annotated[str, typer.Option("--as", metavar="PERSON", help="Who you are; one of `authority.approvers`.")],
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", metavar="SHA256", help="Of the request's key, as its sender read it to you.")
    ],
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Approve a first request with your own key.

    Writes a file beside it, which travels along.
    """
    del as_json
    local = federation_here(folder)
    if person not in local.federation.authority.approvers:
        raise UsageError(f"`{person}` is not among the approvers", hint="see `authority.approvers` in the roster")
    csr, _ = read_request(request)
    identity, key = entry_of(local.federation, csr), key_fingerprint(csr)
    if "".join(fingerprint.lower().replace(":", "").split()) != key:
        hint = "somebody else may have made this request"
        message = f"the key in `{request}` has another fingerprint than the one that was read to you:\n{spoken(key)}"
        raise DeniedError(message, hint=hint)
    content = approve(csr, *key_of(local, person), datetime.now(UTC))
    path = request.with_name(f"{request.name}.{person}.approval")
    write_atomically(path, content, mode=0o644)
    output().say(f"approved the request of `{identity.name}`: send {path} along with it")
    output().result({"name": identity.name, "approval": str(path), "approver": person})
