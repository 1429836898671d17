# SPDX-License-Identifier: Apache-2.0
"""Imports a job's own trainer. Only the trainer's process does this, and that process runs in the sandbox.

The folder comes first where Python looks for modules, as it would for a program in it, so that `trainer.py` imports
the files beside it by their names.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from cloister.errors import TrainerError
from cloister.training.interface import Trainer

ENTRY, CLASS = "trainer.py", "Trainer"
METHODS = ("load_adapter", "adapter", "evaluate", "train")


def trainer_class(folder: Path) -> type[Trainer]:
    """The class `Trainer` that `trainer.py` in ``folder`` defines.

    Raises:
        TrainerError: where it defines none, or the class lacks a method. Whatever else the import raises is raised.
    """
    sys.path.insert(0, str(folder))
    specification = importlib.util.spec_from_file_location("trainer", folder / ENTRY)
    if specification is None or specification.loader is None:
        raise TrainerError(f"`{ENTRY}` cannot be imported")
    module = importlib.util.module_from_spec(specification)
    sys.modules["trainer"] = module
    specification.loader.exec_module(module)
    found = getattr(module, CLASS, None)
    if not isinstance(found, type):
        raise TrainerError(f"`{ENTRY}` defines no class `{CLASS}`")
    if lacking := [name for name in METHODS if not callable(getattr(found, name, None))]:
        raise TrainerError(f"`{CLASS}` in `{ENTRY}` has no method `{lacking[0]}`")
    return found
