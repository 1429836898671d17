# SPDX-License-Identifier: Apache-2.0
"""`cloister authority collect`: fetch the requests that wait in the server's mailbox."""

from __future__ import annotations

from pathlib import Path

from cloister.certificates import identities
from cloister.cli.authority_here import AuthorityHere
from cloister.cli.options import FolderOption, JsonOption, PersonOption, federation_here, output
from cloister.flare.session import connect
from cloister.provisioning.authority import AUTHORITY_FOLDER
from cloister.trust.mailbox import FOLDER, put_request


def collect(person: PersonOption, folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Fetch the requests that wait at the server.

    Over the session of an it-admin whose key is here.
    """
    del as_json
    here, local, out = AuthorityHere.at(folder), federation_here(folder), output()
    with connect(local.state.person(person), person) as session:
        sent = session.collect()
    names = {each.name for each in identities(here.federation)}
    requests = {name: content for name, content in sent.items() if name in names}
    if strangers := len(sent) - len(requests):
        out.say(f"left {strangers} requests of names that are not in the roster where they are")
    for name, content in requests.items():
        put_request(here.state.folder / AUTHORITY_FOLDER / FOLDER, name, content)
    out.say(f"fetched {len(requests)} requests; answer them with: cloister authority approve --renewals")
    out.result({"requests": sorted(requests)})
