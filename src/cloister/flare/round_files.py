# SPDX-License-Identifier: Apache-2.0
"""What the server writes down of one job: state after each round, and at the end a result or why there is none."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloister.files import json_text, private_folder, sha256_of, write_atomically, write_json
from cloister.flare.result import RESULT_FILE


class RoundFiles:
    """The files of one job.

    Args:
        folder: where they lie; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)

    def write_state(self, adapter: bytes, history: list[dict[str, Any]]) -> None:
        """Write adapter, then state: a server that dies between the two still finds the round before.

        Args:
            adapter: the current one as safetensors.
            history: what is known of each finished round.
        """
        name = f"adapter-{len(history):04d}.safetensors"
        write_atomically(self.folder / name, adapter)
        state = {"adapter": name, "sha256": sha256_of(adapter), "history": history}
        write_atomically(self.folder / "state.json", json_text(state))
        for old in self.folder.glob("adapter-*.safetensors"):
            if old.name != name:
                old.unlink()

    def write_result(
        self, result: Mapping[str, Any], adapter: bytes | None = None, config: Mapping[str, Any] | None = None
    ) -> None:
        """Write the folder with the tensors, whole or not at all, then the result.

        Args:
            result: what is told of the job.
            adapter: the chosen tensors as safetensors; None for a job that trains nothing.
            config: `adapter_config.json`, for low-rank adaptation PEFT's.
        """
        if adapter is not None:
            self._write_adapter(adapter, config or {})
        write_json(self.folder / RESULT_FILE, result)

    def _write_adapter(self, adapter: bytes, config: Mapping[str, Any]) -> None:
        folder = self.folder / "adapter.new"
        shutil.rmtree(folder, ignore_errors=True)
        private_folder(folder)
        write_atomically(folder / "adapter_model.safetensors", adapter)
        write_json(folder / "adapter_config.json", config)
        folder.replace(self.folder / "adapter")

    def write_failure(self, progress: Mapping[str, Any]) -> None:
        """Write why the job failed."""
        write_json(self.folder / "failure.json", progress)
