# SPDX-License-Identifier: Apache-2.0
"""What the server writes down of one job: state after each round, and at the end a result or why there is none."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cloister.files import json_text, private_folder, sync_file, write_atomically, write_json
from cloister.flare.result import RESULT_FILE
from cloister.flare.spares import forget_spares, set_aside
from cloister.weights_file import WeightsFile


class RoundFiles:
    """The files of one job.

    Args:
        folder: where they lie; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)
        self._writer = ThreadPoolExecutor(1, "round-state")
        self._begun: Future[None] | None = None

    @property
    def best(self) -> Path:
        """The weights that measured best so far; durable from `keep_best` on."""
        return self.folder / "best.safetensors"

    def begin_state(self, weights: WeightsFile, history: list[dict[str, Any]]) -> None:
        """Begin to write down that ``weights``, which lie in this folder, are the newest.

        A thread does it, since of large weights it takes as long as a good part of a round, and the sites can train
        meanwhile. They are durable before they are named, so a server that dies before that finds the round before.

        Args:
            weights: they stay as they are until `settle` has returned.
            history: what is known of each finished round; it does not change either.
        """
        self.settle()
        older = [path for path in self.folder.glob("adapter-*.safetensors") if path.name != weights.path.name]
        self._begun = self._writer.submit(self._write_state, weights, history, older)

    def settle(self) -> None:
        """Wait for what was begun; older weights may be written over then.

        Raises:
            OSError: where it could not be written.
        """
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.result()

    def keep_best(self) -> None:
        """Make the best weights durable, as the result has to be; while rounds go on nothing would read them back."""
        sync_file(self.best)

    def _write_state(self, weights: WeightsFile, history: list[dict[str, Any]], older: list[Path]) -> None:
        sync_file(weights.path)
        state = {"adapter": weights.path.name, "sha256": weights.digest(), "history": history}
        write_atomically(self.folder / "state.json", json_text(state))
        for path in older:
            set_aside(path)

    def write_result(self, result: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> None:
        """Write the folder with the tensors, whole or not at all, then the result.

        Args:
            result: what is told of the job.
            config: `adapter_config.json`, for low-rank adaptation PEFT's; None for a job that trains nothing.
        """
        self._end()
        if config is not None:
            self._write_adapter(config)
        write_json(self.folder / RESULT_FILE, result)

    def _write_adapter(self, config: Mapping[str, Any]) -> None:
        folder = self.folder / "adapter.new"
        shutil.rmtree(folder, ignore_errors=True)
        private_folder(folder)
        os.link(self.best, folder / "adapter_model.safetensors")
        write_json(folder / "adapter_config.json", config)
        folder.replace(self.folder / "adapter")
        self.best.unlink()

    def write_failure(self, progress: Mapping[str, Any]) -> None:
        """Write why the job failed."""
        with contextlib.suppress(Exception):  # it has failed already, and the disk may be why
            self.settle()
        self._end()
        write_json(self.folder / "failure.json", progress)

    def _end(self) -> None:
        forget_spares(self.folder)
        self._writer.shutdown(wait=False)  # NVFlare reports threads that are left when a process ends
