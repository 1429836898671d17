# SPDX-License-Identifier: Apache-2.0
"""What is written over, and what is not."""

from __future__ import annotations

from pathlib import Path

from cloister.flare.spares import forget_spares, set_aside, spare_in


def weights(folder: Path, number: int) -> Path:
    path = folder / f"adapter-{number:04d}.safetensors"
    path.write_bytes(b"%d" % number)
    return path


def test_a_folder_without_any_has_none(tmp_path: Path) -> None:
    weights(tmp_path, 1)
    assert spare_in(tmp_path) is None


def test_the_oldest_is_given_first_and_two_are_kept(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        set_aside(weights(tmp_path, number))
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"2", b"3"]
    spare = spare_in(tmp_path)
    assert spare is not None
    assert spare.read_bytes() == b"2"


def test_what_has_another_name_is_left_until_it_has_none(tmp_path: Path) -> None:
    best = tmp_path / "best.safetensors"
    best.hardlink_to(weights(tmp_path, 1))
    for number in (1, 2):
        set_aside(tmp_path / f"adapter-{number:04d}.safetensors" if number == 1 else weights(tmp_path, number))
    spare = spare_in(tmp_path)
    assert spare is not None
    assert spare.read_bytes() == b"2"
    best.unlink()
    spare = spare_in(tmp_path)
    assert spare is not None
    assert spare.read_bytes() == b"1"


def test_they_are_forgotten_and_nothing_else_is(tmp_path: Path) -> None:
    set_aside(weights(tmp_path, 1))
    left = weights(tmp_path, 2)
    forget_spares(tmp_path)
    assert list(tmp_path.iterdir()) == [left]
