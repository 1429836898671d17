# SPDX-License-Identifier: Apache-2.0
"""Which files are visible inside, and where.

1. Nothing of the host is visible but what is listed here: the system's programs and libraries, the Python runtime, the
   `cloister` package, the view, the base model's known files, and the job's own training code where it brings any. All
   of it is read-only.
2. Paths are compared after symbolic links are resolved.
3. A protected path that lies inside something listed is covered by an empty folder or an empty file; so is the view's
   manifest.
4. Something listed that lies inside a protected path is shown alone; its surroundings are not.
5. A protected path that cannot be covered, because it does not exist yet or is itself to be shown, is refused.

Mounts are made in the order of their depth, so that a deeper one decides.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import cloister
from cloister.errors import SandboxError
from cloister.sandbox.enclosure import Enclosure

VIEW = Path("/view")
BASE_MODEL = Path("/base-model")
CODE = Path("/code")

BASE_MODEL_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "config.json",
    "configs/inference.json",
    "configs/metadata.json",
    "configs/train.json",
    "merges.txt",
    "model.safetensors",
    "models/model.safetensors",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""Data alone: no code that a loader could run (`*.py`), nothing that is unpickled (`*.bin`, `*.pt`).

Those in folders are a MONAI bundle's (https://docs.monai.io/en/stable/mb_specification.html). A chat template is run by
transformers in Jinja's sandbox, and `tokenizer_config.json` could always hold the same one. `generation_config.json` is
about writing texts, which no trainer does.
"""

_MANIFEST = "manifest.json"
"""Of a view: counts of rows that are not in it, which are the site's to know."""

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/alternatives", "/etc/ld.so.cache")


class Kind(StrEnum):
    """What is done at a place."""

    SHOW = "show"
    LINK = "link"
    COVER_FOLDER = "cover-folder"
    COVER_FILE = "cover-file"


@dataclass(frozen=True)
class Mount:
    """One thing that is visible, or covered.

    Attributes:
        kind: what is done.
        source: the host's path, resolved; for a link its target as written; empty for a cover.
        place: where, inside.
    """

    kind: Kind
    source: str
    place: Path

    def arguments(self) -> list[str]:
        """As bubblewrap reads it."""
        match self.kind:
            case Kind.SHOW:
                return ["--ro-bind", self.source, str(self.place)]
            case Kind.LINK:
                return ["--symlink", self.source, str(self.place)]
            case Kind.COVER_FOLDER:
                return ["--perms", "0555", "--size", "65536", "--tmpfs", str(self.place)]
            case Kind.COVER_FILE:
                return ["--ro-bind", "/dev/null", str(self.place)]


def mounts(enclosure: Enclosure) -> list[Mount]:
    """Everything of the host that is visible in ``enclosure``, in the order in which it is to be mounted.

    Raises:
        SandboxError: where a rule of this module cannot be kept.
    """
    protected = tuple(path.resolve() for path in enclosure.protected)
    shown = [*_system(), *_shown(runtime()), *_view(enclosure), *_base_model(enclosure, protected), *_code(enclosure)]
    covers = [cover for path in protected for mount in shown for cover in _cover(path, mount)]
    return sorted({*shown, *covers}, key=lambda mount: (len(mount.place.parts), str(mount.place), mount.kind))


@functools.cache
def runtime() -> tuple[Path, ...]:
    """Folders that this Python and this package need, as they are addressed."""
    prefixes = (sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix)
    package = Path(cloister.__file__).parent
    return tuple(dict.fromkeys([*(Path(prefix) for prefix in prefixes), package]))


def _system() -> list[Mount]:
    found = []
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            found.append(Mount(Kind.LINK, str(path.readlink()), path))
        elif path.exists():
            found.append(Mount(Kind.SHOW, name, path))
    return found


def _shown(paths: tuple[Path, ...]) -> list[Mount]:
    found = [Mount(Kind.SHOW, str(path.resolve()), path.resolve()) for path in paths]
    if any(mount.place == Path("/") for mount in found):
        raise SandboxError("the Python runtime spans the whole file system", hint="install Cloister in a virtual env")
    places = [mount.place for mount in found] + [Path("/usr")]
    for path in paths:
        # Interpreter and packages also refer to themselves by the unresolved path. Where that lies inside something
        # shown, the symbolic link is visible itself.
        if not any(path.is_relative_to(place) for place in places):
            found.append(Mount(Kind.SHOW, str(path.resolve()), path))
    return found


def _view(enclosure: Enclosure) -> list[Mount]:
    if enclosure.view is None:
        return []
    if not enclosure.view.is_dir():
        raise SandboxError(f"the view `{enclosure.view}` is no folder")
    shown = [Mount(Kind.SHOW, str(enclosure.view.resolve()), VIEW)]
    if (enclosure.view / _MANIFEST).is_file():
        shown.append(Mount(Kind.COVER_FILE, "", VIEW / _MANIFEST))
    return shown


def _code(enclosure: Enclosure) -> list[Mount]:
    if enclosure.code is None:
        return []
    if not enclosure.code.is_dir():
        raise SandboxError(f"the training code `{enclosure.code}` is no folder")
    return [Mount(Kind.SHOW, str(enclosure.code.resolve()), CODE)]


def _base_model(enclosure: Enclosure, protected: tuple[Path, ...]) -> list[Mount]:
    if enclosure.base_model is None:
        return []
    folder = enclosure.base_model.resolve()
    found = []
    for name in BASE_MODEL_FILES:
        if not (folder / name).is_file():
            continue
        source = (folder / name).resolve()  # a hub's cache holds links to its blobs
        if any(source.is_relative_to(path) and not folder.is_relative_to(path) for path in protected):
            raise SandboxError(f"`{folder / name}` is a link into a protected folder")
        found.append(Mount(Kind.SHOW, str(source), BASE_MODEL / name))
    if not found:
        raise SandboxError(f"`{enclosure.base_model}` holds no base model")
    return found


def _cover(protected: Path, mount: Mount) -> list[Mount]:
    source = Path(mount.source)
    if mount.kind is not Kind.SHOW or not protected.is_relative_to(source):
        return []
    if protected == source:
        raise SandboxError(f"`{protected}` is protected, yet the trainer needs it")
    if not protected.exists():
        hint = "make the folder before the trainer starts, or move it elsewhere"
        raise SandboxError(f"protected `{protected}` lies inside `{source}` and does not exist yet", hint=hint)
    kind = Kind.COVER_FOLDER if protected.is_dir() else Kind.COVER_FILE
    return [Mount(kind, "", mount.place / protected.relative_to(source))]
