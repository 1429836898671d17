# SPDX-License-Identifier: Apache-2.0
"""The isolated process that trains, and the conversation with it.

The trainer is untrusted: it reads records and runs a large stack of numerical code. It therefore gets no network, no
key, no file but the governed view, the base model and the Python runtime, all read-only, and a limited amount of
memory and processes. This package knows nothing of NVFlare and nothing of PyTorch.
"""

from cloister.sandbox.bubblewrap import command, missing
from cloister.sandbox.enclosure import Enclosure, Limits, SandboxMode
from cloister.sandbox.network_layout import network_layout
from cloister.sandbox.trainer import Trainer

__all__ = ["Enclosure", "Limits", "SandboxMode", "Trainer", "command", "missing", "network_layout"]
