# SPDX-License-Identifier: Apache-2.0
"""What the policies are asked about a view, and what the audit log says of it."""

from __future__ import annotations

from cloister.audit import Fact
from cloister.files import canonical_json, sha256_of
from cloister.flare.audit_log import sentence
from cloister.policies import ViewFacts
from cloister.records import TRAINING, VALIDATION, ViewManifest

_RECORDED_CLASSES, _RECORDED_CHARACTERS = 50, 100  # as many as fit into a line of the audit log


def view_facts(manifest: ViewManifest) -> ViewFacts:
    """A view as policies are asked about it."""
    classes, kept = (
        {label: counts[side] for label, counts in manifest.classes.items()} for side in (TRAINING, VALIDATION)
    )
    people = None if manifest.people is None else manifest.people[TRAINING]
    named = {column: sum(found.values()) for column, found in manifest.identifying.items()}
    return ViewFacts(manifest.training, classes, manifest.validation, kept, people, named)


def audit_facts(name: str, manifest: ViewManifest) -> dict[str, Fact]:
    """What the audit log says of a view: counts, by class those of the first classes, and the digest of them all."""
    facts: dict[str, Fact] = {"dataset": name, "digest": manifest.digest, "rejected": manifest.rejected}
    facts |= {"training": manifest.training, "validation": manifest.validation, "filtered": manifest.filtered}
    first = list(manifest.classes.items())[:_RECORDED_CLASSES]
    facts |= {"labels": tuple(sentence(label)[:_RECORDED_CHARACTERS] for label, _ in first)}
    facts |= {"classes": tuple(counts[TRAINING] for _, counts in first)}
    if manifest.people is not None:
        facts["people"] = manifest.people[TRAINING]
    if manifest.identifying:
        facts["identifying"] = sum(sum(found.values()) for found in manifest.identifying.values())
    return facts | {"classes_digest": sha256_of(canonical_json(manifest.classes))}
