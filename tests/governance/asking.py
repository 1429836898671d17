# SPDX-License-Identifier: Apache-2.0
"""Asks, as the site `alpha` does, what is in force there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloister.certificates import Anchors
from cloister.documents import load
from cloister.errors import DeniedError
from cloister.flare.state import State
from cloister.governance.in_force import InForce, policy_in_force
from cloister.governance.policy_versions import PolicyVersions
from cloister.roster import ROSTER, Federation
from cloister.trust import trust_in_force
from tests.federation_folder import change_document
from tests.signed_policies import sign_policies


def authority_of(root: Path) -> Anchors:
    return trust_in_force(State(root).site("alpha")).anchors


def roster_of(root: Path) -> Federation:
    return load(root / ROSTER, Federation).value


def ask(root: Path, now: datetime | None = None, *, take_up: bool = True) -> InForce:
    versions = PolicyVersions(State(root).site("alpha"))
    when = now or datetime.now(UTC)
    return policy_in_force(root, "alpha", roster_of(root), authority_of(root), versions, when, take_up=take_up)


def refusal(root: Path, now: datetime | None = None, *, take_up: bool = True) -> str:
    with pytest.raises(DeniedError) as caught:
        ask(root, now, take_up=take_up)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def signed_anew(root: Path, name: str, **changes: object) -> None:
    change_document(root, f"policies/{name}.yaml", changes)
    sign_policies(root, name)
