# SPDX-License-Identifier: Apache-2.0
"""The configuration that NVFlare reads at start: built as values, written as JSON, read back.

Keys and certificates are made by `cloister.provisioning`; this module writes what stands beside them. Every start
writes it anew, so what somebody edited in a kit does not last, and a file that NVFlare would read but Cloister does not
write is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloister.errors import DeniedError, ProvisioningError
from cloister.files import json_text, private_folder, write_json
from cloister.flare.job_folder import CONTROLLER, EXECUTOR
from cloister.flare.opened_key import path_in_kit
from cloister.flare.state import SiteSettings, State
from cloister.roster import MOST_SITES, Federation, Role

Files = Mapping[str, Any]
"""Content of each file of a kit by its path inside it, such as `local/resources.json`."""

_SCHEME = "grpc"
_KEYS = frozenset(
    {"startup/rootCA.pem", "startup/server.key", "startup/server.crt", "startup/client.key", "startup/client.crt"}
)

# NVFlare asks "may this role do this?"; a right that is not listed is not given. The names are those of commands, as
# NVFlare's categories hold more: `view` also shows and resets errors and statistics. `app_command` is how a job's
# progress is asked for: the only such command that a job of ours answers.
_FOLLOW = {"list_jobs": "any", "get_job_meta": "any", "check_status": "any", "app_command": "any"}
_AT_THE_SERVER: dict[str, Any] = {
    "format_version": "1.0",
    "permissions": {
        Role.DATA_SCIENTIST.value: {
            **_FOLLOW,
            "submit_job": "any",
            "abort_job": "n:submitter",  # of `manage_job` no more: deleting a job would take its trace from the server
            "download_job": "n:submitter",
        },
        Role.COMPLIANCE_OFFICER.value: _FOLLOW,
        Role.IT_ADMIN.value: _FOLLOW,
    },
}
_AT_A_SITE: dict[str, Any] = {
    "format_version": "1.0",
    "permissions": {Role.DATA_SCIENTIST.value: {"submit_job": "any", "manage_job": "n:submitter"}},
}


def server_files(federation: Federation, workspace: Path, port: int) -> Files:
    """Configuration of the coordinating server, whose key lies in ``workspace``."""
    target = f"{federation.server.host}:{port}"
    server = {
        "name": federation.federation,
        "service": {"target": target, "scheme": _SCHEME},
        "admin_server": federation.server.host,
        "admin_port": port,
        "ssl_private_key": path_in_kit(workspace / "startup" / "server.key"),
        "ssl_cert": "server.crt",
        "ssl_root_cert": "rootCA.pem",
        "connection_security": "mtls",
        "check_engine_frequency": 0.2,
    }
    storage = "nvflare.app_common.storages.filesystem_storage.FilesystemStorage"
    resources = {
        "format_version": 2,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": [CONTROLLER],
        "servers": [
            {
                "admin_storage": "transfer",
                # The roster says who; it grows while the server runs, and this does not.
                "max_num_clients": MOST_SITES,
                "heart_beat_timeout": 20,
                "admin_timeout": 20.0,
            }
        ],
        "snapshot_persistor": {
            "path": "nvflare.app_common.state_persistors.storage_state_persistor.StorageStatePersistor",
            "args": {
                "uri_root": "/",
                "storage": {"path": storage, "args": {"root_dir": str(workspace / "snapshots"), "uri_root": "/"}},
            },
        },
        "app_validator": {"path": "cloister.flare.app_check.ServerAppCheck", "args": {}},
        "components": [
            {
                "id": "job_scheduler",
                "path": "nvflare.app_common.job_schedulers.job_scheduler.DefaultJobScheduler",
                "args": {"max_jobs": 1},
            },
            {
                "id": "job_manager",
                "path": "nvflare.apis.impl.job_def_manager.SimpleJobDefManager",
                "args": {"uri_root": str(workspace / "jobs"), "job_store_id": "job_store"},
            },
            {"id": "job_store", "path": storage},
            {"id": "process_launcher", "path": "cloister.flare.launcher.ServerLauncher", "args": {}},
            {"id": "lost_jobs", "path": "cloister.flare.lost_jobs.LostJobs", "args": {}},
            {"id": "upkeep", "path": "cloister.flare.upkeep.ServerUpkeep", "args": {}},
        ],
    }
    return {
        "startup/fed_server.json": {"format_version": 2, "require_signed_jobs": True, "servers": [server]},
        "local/resources.json": resources,
        "local/authorization.json": _AT_THE_SERVER,
        "local/log_config.json": _LOGGING,
    }


def site_files(federation: Federation, site: str, port: int, workspace: Path | None = None) -> Files:
    """Configuration of a site, whose key lies in ``workspace``; one that is not encrypted where none is given."""
    server = {
        "name": federation.federation,
        "service": {"target": f"{federation.server.host}:{port}", "scheme": _SCHEME},
        "identity": federation.server.name,
    }
    client = {
        "ssl_private_key": "client.key" if workspace is None else path_in_kit(workspace / "startup" / "client.key"),
        "ssl_cert": "client.crt",
        "ssl_root_cert": "rootCA.pem",
        "fqsn": site,
        "is_leaf": True,
        "connection_security": "mtls",
    }
    resources = {
        "format_version": 2,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": [EXECUTOR],
        "allow_log_streaming": False,
        "client": {"retry_timeout": 30, "compression": "Gzip"},
        "app_validator": {"path": "cloister.flare.app_check.SiteAppCheck", "args": {}},
        "components": [
            {
                "id": "resource_manager",
                "path": "nvflare.app_common.resource_managers.gpu_resource_manager.GPUResourceManager",
                "args": {"num_of_gpus": 0, "mem_per_gpu_in_GiB": 0, "expiration_period": 300},
            },
            {
                "id": "resource_consumer",
                "path": "nvflare.app_common.resource_consumers.gpu_resource_consumer.GPUResourceConsumer",
                "args": {},
            },
            {"id": "process_launcher", "path": "cloister.flare.launcher.SiteLauncher", "args": {}},
            {"id": "app_deployer", "path": "cloister.flare.admission.Admission", "args": {}},
            {"id": "upkeep", "path": "cloister.flare.upkeep.SiteUpkeep", "args": {}},
        ],
    }
    privacy = {
        "scopes": [
            {
                "name": "cloister",
                "properties": {},
                "task_data_filters": [],
                "task_result_filters": [{"path": "cloister.flare.egress_filter.EgressFilter", "args": {}}],
            }
        ],
        "default_scope": "cloister",
        "components": [],
    }
    fed_client = {"format_version": 2, "require_signed_jobs": True, "servers": [server], "client": client}
    return {
        "startup/fed_client.json": fed_client,
        "local/resources.json": resources,
        "local/authorization.json": _AT_A_SITE,
        "local/privacy.json": privacy,
        "local/log_config.json": _LOGGING,
    }


def person_files(federation: Federation, person: str, workspace: Path, port: int) -> Files:
    """Configuration with which a person speaks to the server."""
    admin = {
        "project_name": federation.federation,
        "username": person,
        "server_identity": federation.server.name,
        "scheme": _SCHEME,
        "host": federation.server.host,
        "port": port,
        "connection_security": "mtls",
        "uid_source": "user_input",
        "with_file_transfer": True,
        "upload_dir": str(workspace / "transfer"),
        "download_dir": str(workspace / "transfer"),
        "client_key": path_in_kit(workspace / "startup" / "client.key"),
        "client_cert": "client.crt",
        "ca_cert": "rootCA.pem",
    }
    settings = {
        "idle_timeout": 900.0,
        "login_timeout": 10.0,
        "with_debug": False,
        "authenticate_msg_timeout": 2.0,
        "prompt": "> ",
    }
    return {
        "startup/fed_admin.json": {"format_version": 1, "admin": admin},
        "local/resources.json": {"format_version": 1, "admin": settings},
    }


def write_kit(workspace: Path, files: Files, settings: SiteSettings | None = None) -> None:
    """Write a kit's configuration and read it back.

    Raises:
        ProvisioningError: where the kit holds a file that NVFlare would read and Cloister did not write.
    """
    for folder in ("startup", "local", "transfer"):
        private_folder(workspace / folder)
    for name, content in files.items():
        write_json(workspace / name, content)
    if settings:
        settings.write(workspace / "local")
    check_kit_files(workspace, files, settings)


def check_kit_files(workspace: Path, files: Files, settings: SiteSettings | None = None) -> None:
    """See that the kit holds exactly ``files``, and a site's ``settings``, beside keys and certificates.

    Raises:
        ProvisioningError: where it does not.
    """
    files = _with_settings(files, settings)
    for folder in ("startup", "local"):  # NVFlare takes components from any `*__resources.json` in both
        _check_names(workspace, folder, {*files, *_KEYS})
    _check_contents(workspace, files)


def check_kit_in_use(settings: SiteSettings, federation: Federation) -> None:
    """See that a site's kit is still what Cloister wrote; asked before every job, and by every job's process.

    NVFlare allows everything to everybody without `authorization.json`, and filters nothing without `privacy.json`.

    Args:
        settings: the site's.
        federation: the roster.

    Raises:
        DeniedError: where a file is missing, another, or one too many.
    """
    configured = federation.server.port
    port = configured if isinstance(configured, int) else State(settings.root).remembered_port()
    try:
        if port is None:
            raise ProvisioningError("the federation's port is not known", hint="run `cloister up` again")
        files = site_files(federation, settings.site, port, settings.workspace)
        check_kit_files(settings.workspace, files, settings)
    except ProvisioningError as error:
        raise DeniedError(f"the site's configuration is not in order: {error.message}", hint=error.hint) from error


def _with_settings(files: Files, settings: SiteSettings | None) -> Files:
    return files if settings is None else {**files, f"local/{SiteSettings.FILE}": settings.to_json()}


def _check_names(workspace: Path, folder: str, known: set[str]) -> None:
    for path in sorted((workspace / folder).rglob("*")):
        name = str(path.relative_to(workspace))
        if name not in known or path.is_symlink():
            hint = "remove it; configuration comes from the documents only"
            raise ProvisioningError(f"`{path}` is not part of a kit that Cloister writes", hint=hint)


def _check_contents(workspace: Path, files: Files) -> None:
    for name, content in files.items():
        try:
            # Byte for byte: of a key that stands twice, NVFlare's parser might read the other one.
            same = (workspace / name).read_bytes() == json_text(content)
        except OSError:
            same = False
        if not same:
            raise ProvisioningError(
                f"`{workspace / name}` does not hold what was written", hint="run `cloister up` again"
            )


_FORMAT = "%(asctime)s %(levelname)s %(name)s %(fl_ctx)s %(message)s"

# A log file per process, of at most 10 x 20 MB; nothing on the console but errors, which `up` would have to keep.
_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "nvflare.fuel.utils.log_utils.BaseFormatter", "fmt": _FORMAT}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "level": "ERROR",
            "formatter": "line",
            "stream": "ext://sys.stdout",
        },
        "file": {
            "class": "logging.handlers.RotatingFileHandler",
            "level": "INFO",
            "formatter": "line",
            "filename": "log.txt",
            "mode": "a",
            "maxBytes": 20971520,
            "backupCount": 10,
        },
    },
    "loggers": {"root": {"level": "INFO", "handlers": ["console", "file"]}},
}
