# SPDX-License-Identifier: Apache-2.0
"""What a service is made of: the roster, and of a site its silo document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloister.deploy.reading import read_service
from cloister.deploy.service import Database, is_this_machine
from cloister.errors import InvalidDocumentsError, ProvisioningError, UsageError
from tests.deploy.folder import HOST, PORT, deployable, services
from tests.federation_folder import base_model, change_document


def _database(**changes: Any) -> dict[str, Any]:
    table = {"kind": "postgresql", "host": "records.example", "database": "ward", "user": "reader", "table": "notes"}
    connector = table | {"path": None, "password": {"file": "secrets/ward"}} | changes
    return {"datasets": {"clinical-notes": {"connector": connector}}}


def test_a_server_is_the_rosters(tmp_path: Path) -> None:
    server, _ = services(tmp_path)
    assert (server.kind, server.name, server.host, server.port) == ("server", "coordinator", HOST, PORT)
    assert server.workspace == ".cloister/server"
    assert set(server.documents) == {"provisioning/federation.yaml"}
    assert server.memory_mib == 8 * 1024


def test_a_site_is_what_its_silo_document_says(tmp_path: Path) -> None:
    _, site = services(tmp_path)
    assert (site.kind, site.name, site.organisation) == ("site", "alpha", "alpha-hospital")
    assert site.reads == tuple(sorted([str(base_model()), "records/alpha.csv"]))
    assert site.memory_mib == (4 + 4) * 1024  # the trainer's capacity, and NVFlare's processes beside it
    assert site.tasks == 512 + 2 * 64
    assert set(site.documents) == {
        "provisioning/federation.yaml",
        "silos/alpha.yaml",
        "policies/alpha.yaml",
        "policies/baseline.yaml",
    }


def test_signatures_and_revocations_belong_to_a_site(tmp_path: Path) -> None:
    deployable(tmp_path)
    (tmp_path / "policies/alpha.yaml.sig").write_text("{}")
    (tmp_path / "policies/revoked").mkdir()
    (tmp_path / "policies/revoked/alpha-v1.json").write_text("{}")
    (tmp_path / "policies/baseline.yaml.sig").write_text("{}")
    documents = set(read_service(tmp_path, "alpha").documents)
    signed = {"policies/alpha.yaml.sig", "policies/baseline.yaml.sig", "policies/revoked/alpha-v1.json"}
    assert signed <= documents


def test_a_site_needs_no_other_sites_documents(tmp_path: Path) -> None:
    deployable(tmp_path)
    for name in ("silos/beta.yaml", "policies/beta.yaml", "silos/gamma.yaml", "policies/gamma.yaml"):
        (tmp_path / name).unlink()
    assert read_service(tmp_path, "alpha").name == "alpha"
    with pytest.raises(InvalidDocumentsError):
        read_service(tmp_path, "beta")


def test_memory_can_be_said_otherwise(tmp_path: Path) -> None:
    deployable(tmp_path)
    assert read_service(tmp_path, "alpha", 32).memory_mib == 32 * 1024
    assert read_service(tmp_path, "coordinator", 2).memory_mib == 2 * 1024


def test_a_database_is_dialled_with_a_password_from_a_file(tmp_path: Path) -> None:
    deployable(tmp_path, silo=_database())
    site = read_service(tmp_path, "alpha")
    assert site.databases == (Database("records.example", 5432),)
    assert site.passwords == ("secrets/ward",)
    assert site.reads == (str(base_model()),)


def test_a_databases_socket_is_read(tmp_path: Path) -> None:
    deployable(tmp_path, silo=_database(host="/run/postgresql", tls="unsafe-none", password=None))
    assert "/run/postgresql" in read_service(tmp_path, "alpha").reads


def test_a_password_in_the_environment_never_reaches_a_job(tmp_path: Path) -> None:
    deployable(tmp_path, silo=_database(password={"environment": "WARD"}))
    with pytest.raises(ProvisioningError, match="in the environment"):
        read_service(tmp_path, "alpha")


def test_a_service_needs_a_port_that_stays(tmp_path: Path) -> None:
    deployable(tmp_path, server={"port": "auto"})
    for name in ("coordinator", "alpha"):
        with pytest.raises(ProvisioningError, match="`auto`"):
            read_service(tmp_path, name)


@pytest.mark.parametrize("name", ["nobody", "ada@research.example", "../alpha", ""])
def test_only_a_server_or_a_site_is_a_service(tmp_path: Path, name: str) -> None:
    deployable(tmp_path)
    with pytest.raises(UsageError, match="neither the server nor a site"):
        read_service(tmp_path, name)


def test_an_invalid_document_is_said(tmp_path: Path) -> None:
    deployable(tmp_path)
    change_document(tmp_path, "silos/alpha.yaml", {"capacity": {"memory_gib": -1}})
    with pytest.raises(InvalidDocumentsError, match=r"silos/alpha\.yaml"):
        read_service(tmp_path, "alpha")


@pytest.mark.parametrize(
    ("host", "same"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("a.localhost", True),
        ("coordinator.example", False),
        ("192.0.2.7", False),
    ],
)
def test_which_hosts_mean_whatever_machine_asks(host: str, same: bool) -> None:
    assert is_this_machine(host) is same
