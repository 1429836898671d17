# SPDX-License-Identifier: Apache-2.0
"""Where a federation keeps its state: one private folder, `.cloister/`, beside the four folders of documents."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import FederationError, ProvisioningError
from cloister.files import private_folder, write_json

FOLDER = ".cloister"


@dataclass(frozen=True)
class State:
    """Paths inside the state folder; every folder is 0700.

    Attributes:
        root: the federation's folder.
    """

    root: Path

    @property
    def folder(self) -> Path:
        """The state folder itself."""
        return self.root / FOLDER

    @property
    def server(self) -> Path:
        """The server's kit and NVFlare workspace."""
        return self.folder / "server"

    def site(self, name: str) -> Path:
        """A site's kit and NVFlare workspace."""
        return self.folder / "sites" / name

    def person(self, name: str) -> Path:
        """A person's kit."""
        return self.folder / "people" / name

    def log(self, name: str) -> Path:
        """What the process ``name`` printed."""
        return self.folder / "logs" / f"{name}.log"

    def result(self, job_id: str) -> Path:
        """Where a fetched result lies."""
        return self.folder / "results" / job_id

    @property
    def processes(self) -> Path:
        """Which processes were started."""
        return self.folder / "processes.json"

    @property
    def port(self) -> Path:
        """Which port was chosen."""
        return self.folder / "port.json"

    def remembered_port(self) -> int | None:
        """The port that was chosen last, if any."""
        try:
            return int(json.loads(self.port.read_text(encoding="utf-8"))["port"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def make(self) -> None:
        """Make the folders that everything else is written into."""
        for folder in (self.folder, self.folder / "logs", self.folder / "results"):
            private_folder(folder)


@dataclass(frozen=True)
class SiteSettings:
    """What a site's processes must know about their own machine; lies in the kit as `local/cloister.json`.

    Attributes:
        site: the site's name.
        root: the folder with the site's own documents, absolute.
        workspace: the site's NVFlare workspace, absolute.
        state: the folder that no trainer may see, absolute.
    """

    site: str
    root: Path
    workspace: Path
    state: Path

    FILE = "cloister.json"

    @classmethod
    def at(cls, workspace: Path) -> SiteSettings:
        """The settings that follow from where ``workspace`` lies, which is what a site's processes are started with."""
        root = workspace.parents[2]
        return cls(workspace.name, root, workspace, State(root).folder)

    def to_json(self) -> dict[str, str]:
        """What the file in the kit holds."""
        return {"site": self.site, "root": str(self.root), "workspace": str(self.workspace), "state": str(self.state)}

    def write(self, local: Path) -> None:
        """Write the settings into the kit's `local` folder."""
        write_json(local / self.FILE, self.to_json())

    @classmethod
    def read(cls, workspace: Path) -> SiteSettings:
        """Read the settings of the kit at ``workspace``.

        Raises:
            FederationError: where they are missing or not what `to_json` says.
            ProvisioningError: where they name other folders than the one that they lie in: of all that may be changed
                beside a running site, this file decides where its policies are looked for.
        """
        path = workspace / "local" / cls.FILE
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            found = cls(value["site"], Path(value["root"]), Path(value["workspace"]), Path(value["state"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            hint = "stop the federation and start it again: `cloister up` writes it"
            raise FederationError(f"the site's settings `{path}` cannot be read", hint=hint) from error
        if found != cls.at(workspace):
            hint = "run `cloister up` again"
            raise ProvisioningError(f"the site's settings `{path}` name another folder than they lie in", hint=hint)
        return found
