# SPDX-License-Identifier: Apache-2.0
"""A null job on Flower's deployment: a SuperLink and SuperNodes as processes, over TLS, nodes known by their keys.

Run by the Python of Flower's own environment: flower_null.py FOLDER ROUNDS SITES. Prints one JSON value: when each
round began at each site, when the run was submitted, and when it was known to be finished.

What Flower does by default is left as it is, but for two things in its favour: its SuperLink does not install the app's
dependencies anew for the run, and there are no rounds of evaluation. Its telemetry, which goes to the internet, is off.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

BIN = Path(sys.executable).parent
APP = Path(__file__).with_name("flower_app")
PEM, OPENSSH = serialization.Encoding.PEM, serialization.Encoding.OpenSSH
PRIVATE = serialization.PrivateFormat.PKCS8
SECONDS = 300.0
POLL_SECONDS = 0.2


def main() -> None:
    root, rounds, sites = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    root.mkdir(parents=True)
    times = root / "times"
    times.mkdir()
    port = free_port()
    certificates(root)
    shutil.copytree(APP, root / "app", ignore=shutil.ignore_patterns("__pycache__"))
    home = root / "home"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "localhost:{port}"\n'
        f'root-certificates = "{root / "ca.crt"}"\n'
    )
    environment = os.environ | {"FLWR_HOME": str(home), "NULL_APP_TIMES": str(times), "FLWR_TELEMETRY_ENABLED": "0"}
    environment["PATH"] = f"{BIN}:{os.environ['PATH']}"
    running = [start(root, "superlink", superlink(root, port), environment)]
    try:
        wait_for(lambda: answers(port))
        for site in range(sites):
            run(["supernode", "register", str(root / f"node{site}.pub"), "here"], root, environment)
            running.append(start(root, f"node{site}", supernode(root, port, site), environment))
        submitted, finished = job(root, rounds, sites, environment)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
        kill_marked(f"NULL_APP_TIMES={times}")
    starts: dict[int, list[float]] = {}
    for path in times.glob("*.jsonl"):
        for number, begun in map(json.loads, path.read_text().splitlines()):
            starts.setdefault(number, []).append(begun)
    print(json.dumps({"starts": starts, "submitted": submitted, "finished": finished}))


def superlink(root: Path, port: int) -> list[str]:
    command = ["flower-superlink", "--port", str(port), "--enable-supernode-auth"]
    command += ["--disable-runtime-dependency-installation", "--ssl-ca-certfile", str(root / "ca.crt")]
    return [*command, "--ssl-certfile", str(root / "server.crt"), "--ssl-keyfile", str(root / "server.key")]


def supernode(root: Path, port: int, site: int) -> list[str]:
    command = ["flower-supernode", "--superlink", f"localhost:{port}", "--root-certificates", str(root / "ca.crt")]
    return [*command, "--port", str(free_port()), "--auth-supernode-private-key", str(root / f"node{site}.key")]


def start(root: Path, name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (root / f"{name}.log").open("wb") as stream:
        command = [str(BIN / command[0]), *command[1:]]
        return subprocess.Popen(command, cwd=root, stdout=stream, stderr=stream, env=environment)


def run(arguments: list[str], root: Path, environment: dict[str, str]) -> str:
    command = [str(BIN / "flwr"), *arguments]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"`flwr {' '.join(arguments)}` ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def job(root: Path, rounds: int, sites: int, environment: dict[str, str]) -> tuple[float, float]:
    """When the run was submitted, and when it was known to be finished."""
    # Here, because these modules read where Flower's home is as they are imported.
    os.environ["FLWR_HOME"] = environment["FLWR_HOME"]
    from flwr.cli.flower_config import read_superlink_connection  # noqa: PLC0415
    from flwr.cli.utils import init_http_client_from_connection  # noqa: PLC0415
    from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest  # noqa: PLC0415

    with contextlib.redirect_stdout(sys.stderr):
        client = init_http_client_from_connection(read_superlink_connection("here"))
    try:
        wait_for(lambda: [n.status for n in client.ListNodes(ListNodesRequest()).nodes_info] == ["online"] * sites)
        asked = ["run", str(root / "app"), "here", "--format", "json", "--run-config", f"rounds={rounds} sites={sites}"]
        number = int(json.loads(run(asked, root, environment))["run-id"])
        submitted = time.time()
        status = None
        while status is None or status.status != "finished":
            time.sleep(POLL_SECONDS)
            with contextlib.suppress(httpx.TimeoutException):
                status = client.ListRuns(ListRunsRequest(run_id=number)).run_dict[number].status
        finished = time.time()
    finally:
        client.close()
    if status.sub_status != "completed":
        raise SystemExit(f"Flower's run ended with {status.sub_status}: {status.details}")
    return submitted, finished


def kill_marked(mark: str) -> None:
    """Kill what is left of the deployment: a SuperExec that lost its SuperLink goes on, in a session of its own."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        # A SuperLink that is short of a processor answers late.
        with contextlib.suppress(httpx.TimeoutException):
            if true():
                return
        time.sleep(POLL_SECONDS)
    raise SystemExit("Flower's deployment did not come up")


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def certificates(root: Path) -> None:
    """An authority, the SuperLink's certificate, and a pair of keys for each of up to eight nodes."""
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    authority, server = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    def certificate(name: str, key: ec.EllipticCurvePrivateKey, *more: tuple[x509.ExtensionType, bool]) -> bytes:
        made = x509.CertificateBuilder(named("authority"), named(name), key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - day).not_valid_after(now + day)
        for extension, critical in more:
            made = made.add_extension(extension, critical)
        return made.sign(authority, hashes.SHA256()).public_bytes(PEM)

    (root / "ca.crt").write_bytes(certificate("authority", authority, (x509.BasicConstraints(True, None), True)))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    (root / "server.crt").write_bytes(certificate("localhost", server, (names, False)))
    (root / "server.key").write_bytes(server.private_bytes(PEM, PRIVATE, serialization.NoEncryption()))
    for site in range(8):
        key = ec.generate_private_key(ec.SECP384R1())
        openssh = serialization.PrivateFormat.OpenSSH
        (root / f"node{site}.key").write_bytes(key.private_bytes(PEM, openssh, serialization.NoEncryption()))
        public = key.public_key().public_bytes(OPENSSH, serialization.PublicFormat.OpenSSH)
        (root / f"node{site}.pub").write_bytes(public)


if __name__ == "__main__":
    main()
