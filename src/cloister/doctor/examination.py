# SPDX-License-Identifier: Apache-2.0
"""The whole examination: first the machine, then everybody on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from cloister.certificates import Identity
from cloister.doctor.codes import Level, Topic
from cloister.doctor.finding import Finding, Section
from cloister.doctor.here import Here, read
from cloister.doctor.machine import Machine
from cloister.doctor.own import Own
from cloister.doctor.participant import participant_probes
from cloister.doctor.probe import Probe, findings_of

THIS_MACHINE = "this machine"

Busy = Callable[[str], AbstractContextManager[None]]
"""Shows what is being looked at, as long as that takes."""


@dataclass(frozen=True)
class Patient:
    """Somebody to look at.

    Attributes:
        identity: who.
        own: what lies here of them; None where that cannot even be looked at.
        trouble: why it cannot.
    """

    identity: Identity
    own: Own | None
    trouble: tuple[Finding, ...] = ()


def examine(here: Here, wanted: tuple[Identity, ...], busy: Busy) -> Iterator[Section]:
    """Look at the machine and at everybody in ``wanted``, one after another.

    Args:
        here: the machine and the moment.
        wanted: whom to look at.
        busy: shows what goes on.
    """
    patients = [_read(here, each) for each in wanted]
    machine = Machine(here, tuple(each.own for each in patients if each.own is not None))
    found = _findings(machine.probes(wanted), busy)
    yield Section(THIS_MACHINE, "machine", found)
    # Whoever cannot be dialled cannot be spoken to; one finding says so, and not one for each participant.
    reachable = all(each.level is Level.OK for each in found if each.code.startswith(Topic.PORT.code(0)[:3]))
    for patient in patients:
        told = patient.trouble
        if patient.own is not None:
            told = _findings(participant_probes(here, patient.own, machine.target() if reachable else None), busy)
        yield Section(patient.identity.name, patient.identity.kind, told)
        if patient.identity.kind == "person":  # a session takes seconds, and asks the same of the same server
            here = replace(here, ask_server=None)


def _read(here: Here, identity: Identity) -> Patient:
    seen: list[Own] = []

    def look() -> tuple[Finding, ...]:
        seen.append(read(here, identity))
        return ()  # what was read is looked at by probes of its own

    told = findings_of(Probe(Topic.KIT, f"the workspace of `{identity.name}`", look))
    return Patient(identity, seen[0]) if seen else Patient(identity, None, told)


def _findings(probes: Iterator[Probe], busy: Busy) -> tuple[Finding, ...]:
    found: list[Finding] = []
    for probe in probes:
        with busy(probe.title):
            found += findings_of(probe)
    return tuple(found)
