# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from cloister.demo import fix_splits
from cloister.records import split_key


def test_the_demonstrations_sites_split_alike_on_every_machine(tmp_path: Path) -> None:
    for machine in ("one", "two"):
        fix_splits({site: tmp_path / machine / site for site in ("alpha", "beta")})
    alpha, beta, again = (split_key(tmp_path / place) for place in ("one/alpha", "one/beta", "two/alpha"))
    assert alpha == again != beta
    assert (tmp_path / "one" / "alpha" / "split.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_there_stays(tmp_path: Path) -> None:
    key = split_key(tmp_path)
    fix_splits({"alpha": tmp_path})
    assert split_key(tmp_path) == key
