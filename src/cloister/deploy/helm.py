# SPDX-License-Identifier: Apache-2.0
"""A Helm chart for one server or one site: templates that this package brings, and values made from the documents."""

from __future__ import annotations

import importlib.resources
import ipaddress
import json
from pathlib import PurePosixPath
from typing import Any

from cloister.deploy.image import ENTRYPOINT_FOLDER, dockerfile, seccomp_profile
from cloister.deploy.service import Database, Service
from cloister.errors import ProvisioningError

SECCOMP_PROFILE = "cloister/site.json"
"""Where the profile lies in a node's folder of them, `/var/lib/kubelet/seccomp`."""

_MAXIMUM_NAME = 52  # characters: a label holds 63, and Kubernetes appends a hash

# A site's pod needs pods with user namespaces and an unmasked /proc, which are on from this version.
_KUBERNETES = {"server": ">=1.27.0-0", "site": ">=1.33.0-0"}


def helm_files(service: Service, *, version: str, image: str, passphrase: bool) -> dict[str, str]:
    """The chart, the image's `Dockerfile` and, for a site, the filter of system calls for the nodes.

    Args:
        service: what runs.
        version: of Cloister.
        image: name of the image, with its registry.
        passphrase: whether the key is encrypted.

    Raises:
        ProvisioningError: where the server's host means something else inside a container, or the name is too long.
    """
    service.check_can_be_dialled()
    if len(service.unit) > _MAXIMUM_NAME:
        hint = "keep it running with systemd or Compose"
        raise ProvisioningError(f"`{service.unit}` is too long a name for a pod of a StatefulSet", hint=hint)
    files = {
        "Chart.yaml": _chart(service, version),
        "values.yaml": _values(service, image, passphrase=passphrase),
        "values.schema.json": json.dumps(_schema(service), indent=2) + "\n",
        ".helmignore": "SHA256SUMS\nimage/\nnode/\n",
        **{f"documents/{path}": text for path, text in sorted(service.documents.items())},
        **{f"templates/{name}": text for name, text in _templates().items()},
        "image/Dockerfile": dockerfile(version),
    }
    return files if service.is_server else files | {f"node/{SECCOMP_PROFILE}": seccomp_profile()}


def _templates() -> dict[str, str]:
    folder = importlib.resources.files("cloister.deploy").joinpath("data", "chart", "templates")
    return {
        each.name: each.read_text(encoding="utf-8") for each in sorted(folder.iterdir(), key=lambda each: each.name)
    }


def _chart(service: Service, version: str) -> str:
    return f"""\
# Made by `cloister deploy helm` from the documents of the federation {service.federation}; do not edit.
apiVersion: v2
name: {service.unit}
description: {service.kind} {service.name} of the Cloister federation {service.federation}
type: application
version: {version}
appVersion: "{version}"
kubeVersion: "{_KUBERNETES[service.kind]}"
"""


def _values(service: Service, image: str, *, passphrase: bool) -> str:
    return f"""\
# Made by `cloister deploy helm` from the documents of the federation {service.federation}; do not edit.
# For changes of your own: a file of values beside the chart, and helm upgrade --values.

kind: {service.kind}
name: {_json(service.name)}
federation: {_json(service.federation)}

image: {_json(image)}
imagePullPolicy: IfNotPresent
imagePullSecrets: []

# Start nothing, so that keys can be made and kits be joined in the pod.
maintenance: false

server:
  host: {_json(service.host)} # what sites dial
  port: {service.port}

# Files that are copied out of Secrets, which you make: kubectl create secret generic SECRET --from-file=KEY=FILE
passphrase: {_json(passphrase)}
secrets:{_list(_secrets(service, passphrase=passphrase))}

# Records and base models, where the silo document looks for them; say for each in which volume of the cluster it lies,
# such as volume: {{persistentVolumeClaim: {{claimName: records, readOnly: true}}}}, and where in it, as subPath.
records:{_list(_records(service))}

# Keys, rosters and policies that were taken up, audit log, views while a job runs.
storage:
  size: {"50Gi" if service.is_server else "20Gi"}
  className: ""

resources:
  limits:
    memory: {service.memory_mib}Mi
  requests:
    cpu: "1"
    memory: {service.memory_mib}Mi

# The trainer of a site runs in bubblewrap, which makes user namespaces and mounts in them. For that the profile
# node/{SECCOMP_PROFILE} lies on the nodes, in /var/lib/kubelet/seccomp. A server trains nothing.
sandbox:
  enabled: {_json(not service.is_server)}
  seccompProfile: {SECCOMP_PROFILE}
  appArmorProfile: Unconfined

networkPolicy:
  # Of a site: the server's addresses, as CIDR. A policy knows no names, so one that the server's name stands for today
  # is to be written here.
  serverAddresses:{_list(_addresses(service.host) if not service.is_server else [])}
  databases:{_list(_databases(service), "  ")}
  dnsNamespace: kube-system
  # Of a server: where sites and people may dial from, as CIDR; from everywhere where nothing is named.
  from: []

service:
  type: LoadBalancer
  annotations: {{}}

disruption:
  allowed: false

nodeSelector: {{}}
tolerations: []
"""


def _secrets(service: Service, *, passphrase: bool) -> list[dict[str, str]]:
    found = []
    if passphrase:
        secret = {"secret": f"{service.unit}-passphrase", "key": "passphrase"}
        found.append({"file": "passphrase", **secret, "mountPath": ""})
    for number, path in enumerate(service.passwords, 1):
        secret = {"secret": f"{service.unit}-database-{number}", "key": "password"}
        found.append({"file": f"password-{number}", **secret, "mountPath": _inside(path)})
    return found


def _records(service: Service) -> list[dict[str, Any]]:
    return [{"mountPath": _inside(path), "subPath": "", "volume": None} for path in service.reads]


def _databases(service: Service) -> list[dict[str, Any]]:
    dialled: list[Database] = [each for each in service.databases if not each.host.startswith("/")]
    return [{"host": each.host, "port": each.port, "addresses": _addresses(each.host)} for each in dialled]


def _addresses(host: str) -> list[str]:
    """``host`` as CIDR; nothing where it is a name."""
    try:
        return [str(ipaddress.ip_network(host))]
    except ValueError:
        return []


def _inside(path: str) -> str:
    return str(PurePosixPath(ENTRYPOINT_FOLDER) / path)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _list(values: list[Any], indent: str = "") -> str:
    """A list as the rest of its key's line; JSON's values are YAML's as well."""
    return "".join(f"\n{indent}  - {_json(value)}" for value in values) or " []"


def _schema(service: Service) -> dict[str, Any]:
    text, cidr = {"type": "string"}, {"type": "string", "pattern": r"^[0-9A-Fa-f:.]+/[0-9]{1,3}$"}
    cidrs, switch = {"type": "array", "items": cidr}, {"type": "boolean"}
    port = {"type": "integer", "minimum": 1, "maximum": 65535}
    secret = _object({"file": text, "secret": text, "key": text, "mountPath": text})
    record = _object({"mountPath": text, "subPath": text, "volume": {"type": ["object", "null"]}})
    database = _object({"host": text, "port": port, "addresses": cidrs})
    named = {name: {"const": value} for name, value in (("kind", service.kind), ("name", service.name))}
    sandbox = {"enabled": {"const": not service.is_server}, "seccompProfile": text, "appArmorProfile": text}
    policy = {"serverAddresses": cidrs, "databases": _array(database), "dnsNamespace": text, "from": cidrs}
    properties = {
        **named,
        "federation": text,
        "image": {"type": "string", "minLength": 1},
        "imagePullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
        "imagePullSecrets": {"type": "array"},
        "maintenance": switch,
        "server": _object({"host": text, "port": {"const": service.port}}),
        "passphrase": switch,
        "secrets": _array(secret),
        "records": _array(record),
        "storage": _object({"size": text, "className": text}),
        "resources": {"type": "object"},
        "sandbox": _object(sandbox),
        "networkPolicy": _object(policy),
        "service": _object(
            {"type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}, "annotations": {"type": "object"}}
        ),
        "disruption": _object({"allowed": switch}),
        "nodeSelector": {"type": "object"},
        "tolerations": {"type": "array"},
        "global": {"type": "object"},
    }
    required = [name for name in properties if name != "global"]  # Helm brings it
    schema = _object(properties) | {"required": required}
    return {"$schema": "https://json-schema.org/draft-07/schema#", **schema}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}
