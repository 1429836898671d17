# SPDX-License-Identifier: Apache-2.0
"""One participant as this machine knows it: entry, workspace, key, certificate, roots and roster in force."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloister.certificates import Anchors, Identity, identities
from cloister.errors import CloisterError
from cloister.provisioning.kit import Kit, read_kit
from cloister.provisioning.renewal import is_requested
from cloister.provisioning.replacement import was_interrupted
from cloister.roster import Federation
from cloister.trust import Trust, roster_file, trust_in_force


@dataclass(frozen=True)
class Own:
    """What was read of one participant.

    Attributes:
        identity: its entry in the signed roster, else in the document, else what its certificate says.
        listed: whether the document provisioning/federation.yaml has it.
        workspace: its folder inside the state folder.
        kit: its key, certificate and roots.
        trust: the roster in force; None where it cannot be used.
        no_trust: why it cannot; None where it can.
        has_roster: whether there is a signed roster at all.
        interrupted: whether a renewal was being put in place when something stopped it.
        has_asked: whether a request for the next certificate waits for an answer.
    """

    identity: Identity
    listed: bool
    workspace: Path
    kit: Kit
    trust: Trust | None
    no_trust: CloisterError | None
    has_roster: bool
    interrupted: bool = False
    has_asked: bool = False

    @property
    def anchors(self) -> Anchors:
        """The authorities that count: the roster's, or those beside the key where there is none."""
        return self.trust.anchors if self.trust else Anchors(self.kit.roots)

    def federation(self, document: Federation) -> Federation:
        """The roster that counts: the signed one, or ``document`` where there is none."""
        return self.trust.federation if self.trust else document


def read_own(identity: Identity, workspace: Path, *, listed: bool) -> Own:
    """Read what lies in ``workspace``; what cannot be read is part of the answer."""
    kit = read_kit(workspace / "startup", identity)
    trust, no_trust = None, None
    try:
        trust = trust_in_force(workspace)
    except CloisterError as error:
        no_trust = error
    signed = identities(trust.federation) if trust else ()
    identity = next((each for each in signed if (each.kind, each.name) == (identity.kind, identity.name)), identity)
    has_roster, interrupted = roster_file(workspace).exists(), was_interrupted(workspace)
    return Own(identity, listed, workspace, kit, trust, no_trust, has_roster, interrupted, is_requested(workspace))
