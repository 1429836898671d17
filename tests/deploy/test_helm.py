# SPDX-License-Identifier: Apache-2.0
"""The chart, as Helm reads and renders it, and what it renders to, by Kubernetes' own schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cloister.deploy.helm import helm_files
from cloister.deploy.reading import read_service
from cloister.errors import ProvisioningError
from tests.deploy.folder import HOST, PORT, deployable

helm = pytest.importorskip(
    "helm_python", reason="Helm is not installed (the package helm-python-sdk of the extra `dev`)"
)
schemas = pytest.importorskip(
    "kubernetes_validate", reason="Kubernetes' schemas are not installed (the package kubernetes-validate of `dev`)"
)

KUBERNETES = {"server": ["1.27", "1.33", "1.37"], "site": ["1.33", "1.37"]}
VOLUME = {"persistentVolumeClaim": {"claimName": "records", "readOnly": True}}


def chart(tmp_path: Path, name: str, *, passphrase: bool = False, **pieces: Any) -> Path:
    deployable(tmp_path / "federation", **pieces)
    service = read_service(tmp_path / "federation", name)
    files = helm_files(service, version="0.1.0", image="registry.example/cloister:0.1.0", passphrase=passphrase)
    folder = tmp_path / "chart"
    for each, text in files.items():
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_text(text)
    return folder


def own_values(folder: Path) -> dict[str, Any]:
    """What somebody who installs the chart of a site has to say."""
    values: dict[str, Any] = yaml.safe_load((folder / "values.yaml").read_text())
    records = [record | {"volume": VOLUME} for record in values["records"]]
    return {"records": records, "networkPolicy": {"serverAddresses": ["192.0.2.7/32"]}}


def rendered(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    """What the chart renders to, by kind."""
    with helm.Chart.load(str(folder)) as loaded:
        made = loaded.render(values, name="release", namespace="federation")
    documents = [yaml.safe_load(text) for name, text in made.items() if name.endswith(".yaml") and text.strip()]
    return {document["kind"]: document for document in documents if document}


def valid(made: dict[str, Any], kind: str) -> None:
    for version in KUBERNETES[kind]:
        for document in made.values():
            schemas.validate(document, version, strict=True)


@pytest.mark.parametrize("name", ["coordinator", "alpha"])
@pytest.mark.parametrize("passphrase", [False, True])
def test_helm_finds_nothing_wrong(tmp_path: Path, name: str, passphrase: bool) -> None:
    said = helm.lint(str(chart(tmp_path, name, passphrase=passphrase)))
    assert said["errors"] == []
    assert [message for message in said["messages"] if message["severity"] > 1] == []


def test_a_server_is_what_kubernetes_accepts(tmp_path: Path) -> None:
    made = rendered(chart(tmp_path, "coordinator", passphrase=True), {})
    valid(made, "server")
    assert set(made) == {"ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet"}
    policy = made["NetworkPolicy"]["spec"]
    assert policy["egress"] == []
    assert policy["ingress"] == [{"ports": [{"port": PORT, "protocol": "TCP"}]}]
    pod = made["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "hostUsers" not in pod
    assert made["Service"]["spec"]["ports"][0]["port"] == PORT


def test_a_site_is_what_kubernetes_accepts(tmp_path: Path) -> None:
    folder = chart(tmp_path, "alpha", passphrase=True)
    made = rendered(folder, own_values(folder))
    valid(made, "site")
    pod = made["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == ["serve", "alpha", "--folder", "/srv/cloister"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "procMount": "Unmasked",
    }
    assert pod["hostUsers"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "Localhost", "localhostProfile": "cloister/site.json"}
    assert container["resources"]["limits"]["memory"] == "8192Mi"
    assert made["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 0


def test_a_site_may_dial_the_server_and_names_and_nothing_else(tmp_path: Path) -> None:
    folder = chart(tmp_path, "alpha")
    policy = rendered(folder, own_values(folder))["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    names, server = policy["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert server == {"ports": [{"port": PORT, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "192.0.2.7/32"}}]}


def test_a_name_is_no_address(tmp_path: Path) -> None:
    folder = chart(tmp_path, "alpha")
    with pytest.raises(helm.HelmError, match=f"name the addresses of {HOST}"):
        rendered(folder, own_values(folder) | {"networkPolicy": {"serverAddresses": []}})


def test_an_address_of_the_document_is_taken(tmp_path: Path) -> None:
    folder = chart(tmp_path, "alpha", server={"host": "192.0.2.44"})
    values = own_values(folder)
    del values["networkPolicy"]
    assert "192.0.2.44/32" in str(rendered(folder, values)["NetworkPolicy"])


def test_records_have_to_be_said_where(tmp_path: Path) -> None:
    folder = chart(tmp_path, "alpha")
    with pytest.raises(helm.HelmError, match="records"):
        rendered(folder, {"networkPolicy": {"serverAddresses": ["192.0.2.7/32"]}})


def test_the_documents_are_mounted_as_they_are(tmp_path: Path) -> None:
    folder = chart(tmp_path, "alpha")
    made = rendered(folder, own_values(folder))
    (container,) = made["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    mounted = {each["mountPath"]: each["subPath"] for each in container["volumeMounts"] if each["name"] == "documents"}
    for name in ("provisioning/federation.yaml", "silos/alpha.yaml", "policies/alpha.yaml", "policies/baseline.yaml"):
        key = mounted.pop(f"/srv/cloister/{name}")
        assert made["ConfigMap"]["data"][key] == (tmp_path / "federation" / name).read_text()
    assert mounted == {}


@pytest.mark.parametrize("name", ["policies/alpha.yaml", "silos/alpha.yaml", "provisioning/federation.yaml"])
def test_a_document_that_changes_makes_a_new_pod(tmp_path: Path, name: str) -> None:
    folder = chart(tmp_path, "alpha")

    def digest() -> str:
        annotations = rendered(folder, own_values(folder))["StatefulSet"]["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["cloister/documents"])

    before = digest()
    assert {digest() for _ in range(10)} == {before}
    document = folder / "documents" / name
    document.write_text(document.read_text() + "# changed\n")
    assert digest() != before


def test_secrets_are_named_and_copied_for_their_owner_alone(tmp_path: Path) -> None:
    table = {"kind": "postgresql", "host": "192.0.2.9", "database": "ward", "user": "reader", "table": "notes"}
    connector = table | {"path": None, "password": {"file": "secrets/ward"}}
    silo = {"datasets": {"clinical-notes": {"connector": connector}}}
    folder = chart(tmp_path, "alpha", passphrase=True, silo=silo)
    made = rendered(folder, own_values(folder))
    valid(made, "site")
    pod = made["StatefulSet"]["spec"]["template"]["spec"]
    (first,) = pod["initContainers"]
    assert "--mode=0400" in first["command"]
    mounts = {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}
    assert mounts["/srv/cloister/secrets/ward"]["subPath"] == "password-1"
    assert {"name": "CLOISTER_PASSPHRASE_FILE", "value": "/run/secrets/own/passphrase"} in pod["containers"][0]["env"]
    assert "192.0.2.9/32" in str(made["NetworkPolicy"])
    assert "Secret" not in made


def test_in_maintenance_nothing_runs(tmp_path: Path) -> None:
    made = rendered(chart(tmp_path, "coordinator"), {"maintenance": True})
    valid(made, "server")
    (container,) = made["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["sleep", "infinity"]
    assert "args" not in container


@pytest.mark.parametrize(
    "values",
    [
        {"maintenence": True},
        {"kind": "site"},
        {"server": {"port": 1}},
        {"sandbox": {"enabled": True}},
        {"networkPolicy": {"from": ["everywhere"]}},
        {"service": {"type": "Public"}},
    ],
)
def test_values_that_mean_nothing_are_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(helm.HelmError):
        rendered(chart(tmp_path, "coordinator"), values)


def test_the_sandbox_of_a_site_cannot_be_switched_off_here(tmp_path: Path) -> None:
    folder = chart(tmp_path, "alpha")
    with pytest.raises(helm.HelmError):
        rendered(folder, own_values(folder) | {"sandbox": {"enabled": False}})


def test_this_machine_is_another_one_inside_a_pod(tmp_path: Path) -> None:
    with pytest.raises(ProvisioningError, match="the container itself"):
        chart(tmp_path, "alpha", server={"host": "127.0.0.1"})


@pytest.mark.parametrize("name", ["no", "123", "null"])
def test_a_name_stays_text(tmp_path: Path, name: str) -> None:
    folder = chart(tmp_path, name, sites={name: [("a note", "soon")] * 24, "beta": [("a note", "soon")] * 24})
    made = rendered(folder, own_values(folder))
    valid(made, "site")
    assert made["StatefulSet"]["metadata"]["name"] == f"cloister-{name}"
    assert made["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]["args"][1] == name


def test_a_name_that_is_too_long_is_said(tmp_path: Path) -> None:
    name = "a" * 44
    with pytest.raises(ProvisioningError, match="too long"):
        chart(tmp_path, name, sites={name: [("a note", "soon")] * 24, "beta": [("a note", "soon")] * 24})
