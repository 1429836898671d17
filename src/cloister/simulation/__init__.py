# SPDX-License-Identifier: Apache-2.0
"""A federation without its processes and sockets: the server's rounds and the sites' gates, in this one process."""

from cloister.simulation.cast import Cast, SimulatedSite, cast_of
from cloister.simulation.place import put_result, reserved_place, working_folder
from cloister.simulation.plan import Plan
from cloister.simulation.simulation import Simulation
from cloister.simulation.views import key_of

__all__ = [
    "Cast",
    "Plan",
    "SimulatedSite",
    "Simulation",
    "cast_of",
    "key_of",
    "put_result",
    "reserved_place",
    "working_folder",
]
