# SPDX-License-Identifier: Apache-2.0
"""Certificates that are nobody's, each with the words of its refusal: what is wrong is the only thing that is wrong."""

from __future__ import annotations

from tests.trust.chains.bad import Bad, Shown
from tests.trust.chains.of_files import FILES
from tests.trust.chains.of_forms import DATES, EXTENSIONS
from tests.trust.chains.of_names import NAMES
from tests.trust.chains.of_signers import KEYS, REVOKED, SIGNERS
from tests.trust.chains.of_uses import ALTERNATIVES, USES

TABLE = (*DATES, *NAMES, *USES, *ALTERNATIVES, *EXTENSIONS, *KEYS, *SIGNERS, *REVOKED, *FILES)

__all__ = ["TABLE", "Bad", "Shown"]
