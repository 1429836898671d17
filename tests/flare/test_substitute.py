# SPDX-License-Identifier: Apache-2.0
"""What is replaced of NVFlare must be there: with a release that has it no more, no process begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloister.errors import FederationError
from cloister.flare.complaints import Complaints
from cloister.flare.running_trust import trust_as_server, trust_as_site
from cloister.flare.substitute import substitute
from cloister.flare.trust_watch import TrustWatch
from tests.flare.wire import CHANGED, undone_after


def inherited(owner: Any, name: str) -> bool:
    """Whether ``owner`` would have it without having it itself: then ours counts there all the same."""
    return isinstance(owner, type) and any(name in vars(base) for base in owner.__mro__[1:])


OWN = [(owner, name) for owner, name in CHANGED if not inherited(owner, name)]


@pytest.mark.parametrize(("owner", "name"), OWN, ids=[f"{owner.__name__}.{name}" for owner, name in OWN])
def test_a_part_that_nvflare_has_no_more_ends_the_start(
    owner: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone_after(monkeypatch)
    monkeypatch.delattr(owner, name)
    watch, silent = TrustWatch(tmp_path), Complaints.__new__(Complaints)  # nothing is said before anything begins
    with pytest.raises((FederationError, AttributeError)):
        trust_as_server(watch, silent)
        trust_as_site(watch, "alpha", silent)


def test_it_is_told_in_words() -> None:
    class Owner:
        part = "not something that can be called"

    for name in ("part", "other"):
        with pytest.raises(FederationError, match=rf"has no `Owner.{name}`, which has to be replaced"):
            substitute(Owner, name, len)


def test_what_is_inherited_is_replaced_where_it_is_called() -> None:
    class Base:
        def part(self) -> int:
            return 1

    class Owner(Base):
        pass

    substitute(Owner, "part", lambda _self: 2)
    assert (Owner().part(), Base().part()) == (2, 1)
