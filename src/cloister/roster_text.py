# SPDX-License-Identifier: Apache-2.0
"""The roster as the text of its document, for a machine that has none: what `cloister.roster` reads again."""

from __future__ import annotations

import yaml

from cloister.roster import Federation

_HEADER = """\
# Written by `cloister join` from the roster that the authority signed. The signed one is in force, in trust/roster.json
# of each workspace; this copy is what commands read when they check documents.

"""


def roster_text(federation: Federation) -> bytes:
    """``federation`` as YAML, with a header that says where it came from."""
    value = federation.model_dump(mode="json", exclude_defaults=True)
    return (_HEADER + yaml.safe_dump(value, sort_keys=False, allow_unicode=True)).encode()
