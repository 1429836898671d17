# SPDX-License-Identifier: Apache-2.0
"""The governed view as a network for columns needs it; see `cloister.jobs.tabular_inputs` for what that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from cloister.errors import TrainerError
from cloister.jobs import DatasetRef, Task
from cloister.jobs.statistics import FeatureStatistics, NumberSummary
from cloister.jobs.tabular_inputs import CategoryInput, NumberInput, TabularInputs, scaling_of
from cloister.training.order import Indices, in_order
from cloister.training.tabular_networks import Rows
from cloister.training.view_columns import read_table, wrong_row

_FARTHEST = 100.0  # standard deviations; a cell beyond counts as that far, lest float32 overflow


@dataclass(frozen=True)
class TabularRecords:
    """Records with what is to be said of them.

    Attributes:
        rows: what the network is given.
        targets: of a classification the number of the class, int64, shape (n,); of a regression the number,
            standardised by its description, float32, shape (n,); of survival time and event (0 or 1), float64,
            shape (n, 2).
    """

    rows: Rows
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, chosen: Indices, device: torch.device) -> tuple[Rows, torch.Tensor]:
        """Rows and targets of the records at the indices ``chosen``, on ``device``."""
        picked = torch.from_numpy(chosen)
        numbers, missing, slots = (part[picked].to(device) for part in self._parts)
        return Rows(numbers, missing, slots), self.targets[picked].to(device)

    def in_order(self, batch_size: int) -> Iterator[Indices]:
        """Indices of all records in batches."""
        return in_order(len(self), batch_size)

    def shuffled(self, batch_size: int, seed: tuple[int, ...]) -> Iterator[Indices]:
        """Indices in random batches without end: every record once, then all again in another order.

        Where the batch size does not divide the number of records, the last batch of each pass is the smaller one.
        """
        random = np.random.Generator(np.random.PCG64(seed))
        while True:
            order = random.permutation(len(self))
            yield from (order[start : start + batch_size] for start in range(0, len(order), batch_size))

    @property
    def _parts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.rows.numbers, self.rows.missing, self.rows.slots


def read_tabular_records(
    view: str, file: str, *, inputs: TabularInputs, task: Task, dataset: DatasetRef, statistics: FeatureStatistics
) -> TabularRecords:
    """Read one file of the view.

    Args:
        view: its folder.
        file: the Parquet file in it.
        inputs: what the network is given.
        task: on columns; decides what the targets are.
        dataset: which column is what.
        statistics: over all sites.

    Raises:
        RecordsError: where a record lacks what is to be said of it, or has a class that is not the job's; it is not
            quoted.
        TrainerError: where the task is no task on columns.
    """
    aims = _aims(task, dataset)
    table = read_table(view, file, *inputs.columns, *aims)
    for name in aims:
        _check(file, name, table.column(name).is_valid(), "is empty")
    if task is Task.TABULAR_CLASSIFICATION:
        known = pc.is_in(table.column(dataset.label), value_set=pa.array(dataset.labels, pa.string()))
        _check(file, str(dataset.label), known, "holds a class that is not the job's")
    return TabularRecords(_rows(table, inputs), _targets(table, task, dataset, statistics))


def _check(file: str, column: str, right: pa.ChunkedArray, wrong: str) -> None:
    index = pc.index(right, pa.scalar(False)).as_py()
    if index >= 0:
        raise wrong_row(file, index, column, wrong)


def target_scaling(dataset: DatasetRef, statistics: FeatureStatistics) -> tuple[float, float]:
    """Mean and deviation that the number to predict is standardised by: as described over all sites, else 0 and 1."""
    summary = statistics.features.get(dataset.target or "")
    return scaling_of(summary) if isinstance(summary, NumberSummary) else (0.0, 1.0)


def _aims(task: Task, dataset: DatasetRef) -> list[str]:
    by_task = {
        Task.TABULAR_CLASSIFICATION: (dataset.label,),
        Task.TABULAR_REGRESSION: (dataset.target,),
        Task.SURVIVAL: (dataset.time, dataset.event),
    }
    named = [name for name in by_task.get(task, ()) if name is not None]
    if not named:
        raise TrainerError(f"task {task} is none on columns, or does not say what is to be predicted")
    return named


def _rows(table: pa.Table, inputs: TabularInputs) -> Rows:
    values: npt.NDArray[np.float32] = np.zeros((len(table), len(inputs.numbers)), np.float32)
    missing: npt.NDArray[np.bool_] = np.zeros((len(table), len(inputs.numbers)), np.bool_)
    for index, number in enumerate(inputs.numbers):
        values[:, index], missing[:, index] = _numbers(table.column(number.column), number)
    slots: npt.NDArray[np.int64] = np.zeros((len(table), len(inputs.categories)), np.int64)
    offset = 0
    for index, category in enumerate(inputs.categories):
        slots[:, index] = offset + _slots(table.column(category.column), category)
        offset += category.slots
    indicated = missing[:, list(inputs.indicators)].astype(np.float32)
    return Rows(torch.from_numpy(values), torch.from_numpy(indicated), torch.from_numpy(slots))


def _numbers(cells: pa.ChunkedArray, number: NumberInput) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    found = _as_float64(cells)
    missing = ~np.isfinite(found) if number.known else np.ones(len(found), np.bool_)
    scaled = (np.where(missing, number.mean, found) - number.mean) / number.scale
    return np.clip(scaled, -_FARTHEST, _FARTHEST).astype(np.float32), missing


def _as_float64(cells: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Cells as numbers, NaN where there is none."""
    found: npt.NDArray[np.float64] = cells.cast(pa.float64()).to_numpy()
    return found


def _slots(cells: pa.ChunkedArray, category: CategoryInput) -> npt.NDArray[np.int64]:
    texts = cells.cast(pa.string())
    places = pc.index_in(texts, value_set=pa.array(category.values, pa.string()))
    known = pc.if_else(pc.is_null(texts), category.missing, pc.fill_null(places, category.other))
    slots: npt.NDArray[np.int64] = known.cast(pa.int64()).to_numpy()
    return slots


def _targets(table: pa.Table, task: Task, dataset: DatasetRef, statistics: FeatureStatistics) -> torch.Tensor:
    if task is Task.TABULAR_CLASSIFICATION:
        numbers = pc.index_in(table.column(dataset.label), value_set=pa.array(dataset.labels, pa.string()))
        return torch.from_numpy(numbers.cast(pa.int64()).to_numpy().copy())
    if task is Task.TABULAR_REGRESSION:
        mean, scale = target_scaling(dataset, statistics)
        return torch.from_numpy(((_as_float64(table.column(dataset.target)) - mean) / scale).astype(np.float32))
    times, events = _as_float64(table.column(dataset.time)), table.column(dataset.event).to_numpy()
    return torch.from_numpy(np.stack((times, events.astype(np.float64)), axis=1))
