# SPDX-License-Identifier: Apache-2.0
"""Presidio's patterns of identifiers with a form of their own, with its checks of what they find.

Taken are its regular expressions, scores, context words and checks (digits that sum up, numbers never issued), not its
loop over them: that one logs and goes on where a pattern took too long, so that what it would have found stands in the
view. Source: Microsoft Presidio, https://github.com/microsoft/presidio, MIT.

No model is loaded and nothing is fetched.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import regex

from cloister.records.free_text.identifying_patterns import Judge, Rule


@contextmanager
def _without(*modules: str) -> Iterator[None]:
    """Let ``modules`` seem not to be installed, unless they are loaded already.

    Presidio imports whatever it could use, torch and transformers among them: five seconds and 430 MB for what its
    patterns never touch, in a process that must not hold them.
    """
    hidden: dict[str, Any] = {name: None for name in modules if name not in sys.modules}
    sys.modules.update(hidden)  # None stands for a module that cannot be imported
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _without("torch", "transformers", "stanza", "gliner", "cupy", "tensorflow", "mxnet"):
    from presidio_analyzer import PatternRecognizer
    from presidio_analyzer import predefined_recognizers as presidio

# It logs pieces of texts, at every level up to errors.
logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL + 1)


def presidio_rules() -> tuple[Rule, ...]:
    """A rule for every pattern of the recognisers that are used."""
    return tuple(rule for recogniser in _recognisers() for rule in _rules_of(recogniser))


def _recognisers() -> tuple[PatternRecognizer, ...]:
    return (
        presidio.CreditCardRecognizer(),
        presidio.CryptoRecognizer(),
        presidio.DateRecognizer(),
        # As people type it, too: checked against the country's form and its check digits all the same.
        presidio.IbanRecognizer(regex_flags=regex.DOTALL | regex.MULTILINE | regex.IGNORECASE),
        presidio.IpRecognizer(),
        presidio.MacAddressRecognizer(),
        presidio.UuidRecognizer(),
        presidio.UsSsnRecognizer(),
        presidio.UsItinRecognizer(),
        presidio.UsMbiRecognizer(),
        presidio.UsNpiRecognizer(),
        presidio.MedicalLicenseRecognizer(),
        presidio.NhsRecognizer(),
        presidio.UkNinoRecognizer(),
        presidio.UkDrivingLicenceRecognizer(),
        presidio.UkPostcodeRecognizer(),
        presidio.CaSinRecognizer(),
        presidio.CaPostalCodeRecognizer(),
    )


_WITHOUT_DIGITS = {"IP_ADDRESS": frozenset(":."), "MAC_ADDRESS": frozenset(":-."), "UUID": frozenset("-")}
"""Entities that can be written without any digit, with characters of which they have one all the same."""


def _rules_of(recogniser: PatternRecognizer) -> Iterator[Rule]:
    entity = recogniser.supported_entities[0]
    for pattern in recogniser.patterns:
        yield Rule(
            entity=entity,
            pattern=regex.compile(pattern.regex, recogniser.global_regex_flags),
            judge=_judge(recogniser, pattern.score),
            needs=_WITHOUT_DIGITS.get(entity, frozenset("0")),
            context=frozenset(word.lower().strip() for word in recogniser.context or ()),
            shorter=entity == "IBAN_CODE",
        )


def _judge(recogniser: PatternRecognizer, score: float) -> Judge:
    """Presidio's own way from a pattern's score to a piece's, in `PatternRecognizer.analyze`."""

    def judge(piece: str) -> float:
        valid = recogniser.validate_result(piece)
        if (valid is not None and not valid) or recogniser.invalidate_result(piece):
            return 0.0
        return 1.0 if valid else score

    return judge
