# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cloister.aggregation.optimiser_state import FileState, State
from cloister.errors import JobError
from cloister.vectors import Vector
from tests.aggregation.memory_state import MemoryState


@pytest.fixture(params=["memory", "files"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> State:
    return MemoryState() if request.param == "memory" else FileState(tmp_path / "state")


def vector(*values: float) -> Vector:
    return np.array(values, np.float32)


def test_nothing_is_there_at_first(state: State) -> None:
    assert state.get("momentum", 0, 3) is None


def test_what_a_round_put_is_there_from_its_end_on(state: State) -> None:
    state.put("momentum", 0, vector(1, 2, 3))
    state.put("momentum", 1, vector(4))
    state.put("second", 0, vector(5, 6, 7))
    assert state.get("momentum", 0, 3) is None
    state.commit()
    for name, block, values in (("momentum", 0, [1, 2, 3]), ("momentum", 1, [4]), ("second", 0, [5, 6, 7])):
        found = state.get(name, block, len(values))
        assert found is not None
        assert found.tolist() == values
        assert found.dtype == np.float32


def test_a_round_replaces_the_one_before_at_its_end_alone(state: State) -> None:
    for round_ in (1.0, 2.0, 3.0):
        state.put("momentum", 0, vector(round_))
        before = state.get("momentum", 0, 1)
        assert before is None if round_ == 1 else before is not None and before.tolist() == [round_ - 1]
        state.commit()


def test_what_is_kept_is_a_copy(state: State) -> None:
    values = vector(1, 2)
    state.put("momentum", 0, values)
    values[:] = 9
    state.commit()
    found = state.get("momentum", 0, 2)
    assert found is not None
    assert found.tolist() == [1, 2]


def test_another_size_and_a_missing_block_are_refused(state: State) -> None:
    state.put("momentum", 0, vector(1, 2))
    state.commit()
    with pytest.raises(JobError, match="`momentum` of block 0 is 2 values instead of 3"):
        state.get("momentum", 0, 3)
    with pytest.raises(JobError, match="`momentum` of block 1 is missing"):
        state.get("momentum", 1, 2)
    with pytest.raises(JobError, match="`second` of block 0 is missing"):
        state.get("second", 0, 2)


def test_a_round_that_puts_nothing_leaves_nothing(state: State) -> None:
    state.put("momentum", 0, vector(1))
    state.commit()
    state.commit()
    with pytest.raises(JobError, match="missing"):
        state.get("momentum", 0, 1)


def put_half(state: FileState) -> None:
    state.put("momentum", 0, vector(8, 8))


def put_all(state: FileState) -> None:
    state.put("momentum", 0, vector(8, 8))
    state.put("momentum", 1, vector(8))


@pytest.mark.parametrize("die", [put_half, put_all])
def test_a_server_that_died_within_a_round_finds_the_one_before(
    tmp_path: Path, die: Callable[[FileState], None]
) -> None:
    first = FileState(tmp_path / "state")
    first.put("momentum", 0, vector(1, 2))
    first.put("momentum", 1, vector(3))
    first.commit()
    die(first)
    again = FileState(tmp_path / "state")
    found = [again.get("momentum", 0, 2), again.get("momentum", 1, 1)]
    assert [each.tolist() for each in found if each is not None] == [[1, 2], [3]]
    again.put("momentum", 0, vector(5, 6))  # and what the dead one had begun is not in the next round
    again.commit()
    with pytest.raises(JobError, match="block 1 is missing"):
        again.get("momentum", 1, 1)


def test_a_server_that_died_between_replacing_and_removing_finds_the_new_round(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    state = FileState(folder)
    for value in (1.0, 2.0):
        state.put("momentum", 0, vector(value))
        state.commit()
        if value == 1:
            (before,) = (path for path in folder.iterdir() if path.is_dir())
    before.mkdir()  # as if it were not removed yet
    found = FileState(folder).get("momentum", 0, 1)
    assert found is not None
    assert found.tolist() == [2]
    assert not before.exists()


def test_a_rounds_files_are_private_and_the_last_rounds_are_removed(tmp_path: Path) -> None:
    state = FileState(tmp_path / "state")
    for _ in range(3):
        state.put("momentum", 0, vector(1))
        state.commit()
    folders = [path for path in (tmp_path / "state").iterdir() if path.is_dir()]
    assert len(folders) == 1
    assert folders[0].stat().st_mode & 0o077 == 0
