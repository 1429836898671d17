# SPDX-License-Identifier: Apache-2.0
"""How fast a large update comes from a site to the server's job process, and what that takes of memory there.

Run it: .venv/bin/python benchmarks/transfer.py [--megabytes 400] [--repeat 3]

Three ways, in turn in one run, over mutual TLS on the loopback interface, with the same certificates:

- raw: one gRPC stream of messages from one process to another, which drops them. Nothing is between the two.
- NVFlare: an array of float32 in a reply of its own message layer, as its jobs send one.
- Cloister: a file in a stream, digested and written to a file, and in pieces by message, where there is no stream.

The last two are sent as in a job: the site's process to the server's parent process, which has the connections, and the
job's process beside that, which has the result. Each way and
direction has new processes. Times are of the whole transfer; memory is the peak of the receiving
process and of the server's parent process together, less what they had before the transfer.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
import numpy as np
import psutil
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.utils.decomposers import flare_decomposers
from nvflare.app_common.decomposers import common_decomposers
from nvflare.fuel.f3.cellnet.cell import Cell
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message
from tests.federation_folder import make_federation
from tests.flare.wire import credentials_in

from cloister.flare.chunks import Line
from cloister.flare.connections import keep_certificates
from cloister.flare.fetch import Fetch
from cloister.flare.frames import join_frames
from cloister.flare.holder import Holder
from cloister.flare.leftover_updates import RECEIVED
from cloister.flare.parcel import Reference
from cloister.flare.port import free_port
from cloister.flare.server_line import ServerLine
from cloister.flare.site_line import SiteLine
from cloister.flare.socket_bytes import count_socket_bytes
from cloister.flare.stream_service import serve_streams
from cloister.flare.tickets import Tickets
from cloister.flare.traffic import restrict_traffic, rule_of_server
from cloister.flare.trust_watch import TrustWatch

JOB = "0b5e1d6e-9f43-4a5e-8f5c-2f3f8a4d9c11"
SITE, SERVER = f"alpha.{JOB}", f"server.{JOB}"
MESSAGE = b"{}"
SECONDS = 300.0

Result = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    size = options.megabytes * 1_000_000
    with tempfile.TemporaryDirectory(prefix="transfer-") as name:
        root = Path(name)
        make_federation(root)
        program = str(Path(sys.executable).with_name("cloister"))
        subprocess.run([program, "provision"], cwd=root, check=True, stdout=subprocess.DEVNULL)
        ways: dict[str, Callable[[], Result]] = {
            "raw gRPC, 1 MiB messages": lambda: raw(root, size, 1 << 20),
            "raw gRPC, 4 MiB messages": lambda: raw(root, size, 4 << 20),
            "NVFlare, site to server": lambda: plain(root, size),
            "Cloister, site to server": lambda: file(root, size, up=True, streams=True),
            "Cloister, server to site": lambda: file(root, size, up=False, streams=True),
            "by message, site to server": lambda: file(root, size, up=True, streams=False),
            "by message, server to site": lambda: file(root, size, up=False, streams=False),
        }
        found: dict[str, list[Result]] = {way: [] for way in ways}
        for _ in range(options.repeat):
            for way, measure in ways.items():
                found[way].append(measure())
    print(f"{options.megabytes} MB, median of {options.repeat}")
    print(f"{'':28}{'MB/s':>8}{'of raw':>8}{'CPU s/GB':>10}{'peak MB':>9}")
    middle = {
        way: {key: statistics.median(each[key] for each in all_) for key in all_[0]} for way, all_ in found.items()
    }
    best = min(each["seconds"] for way, each in middle.items() if way.startswith("raw"))
    for way, each in middle.items():
        speed, ratio, used = size / 1e6 / each["seconds"], best / each["seconds"], each["processor"] / size * 1e9
        print(f"{way:28}{speed:8.0f}{ratio:8.2f}{used:10.2f}{each['memory']:9.0f}")


def workspaces(root: Path) -> tuple[Path, Path]:
    state = root / ".cloister"
    return state / "server", state / "sites" / "alpha"


def processor_seconds() -> float:
    """What all processes of this way have used of the processors so far."""
    own = [each.cpu_times() for each in psutil.Process(os.getppid()).children()]
    return sum(each.user + each.system for each in own)


def peak(root: Path | None = None) -> float:
    """Of this process's memory, and of the server's parent process, where that is known in ``root``; megabytes."""
    # Not `getrusage`, which counts what the process was before it became this one.
    processes = ["self", *([(root / "parent").read_text()] if root else [])]
    statuses = [Path(f"/proc/{each}/status").read_text().splitlines() for each in processes]
    found = [dict(line.split(":", 1) for line in status) for status in statuses]
    return sum(int(each["VmHWM"].split()[0]) for each in found) / 1000


# --- raw


def raw(root: Path, size: int, piece: int) -> Result:
    """A stream that is dropped as it comes."""
    return _together(raw_receiver, {"sender": raw_sender}, (root, size, piece))


def raw_receiver(box: Any, barrier: Any, root: Path, url: str, _inner: Any, size: int, _piece: int) -> None:
    server_folder, _ = workspaces(root)
    came = threading.Event()
    times: list[float] = []

    def take(stream: Iterator[bytes], _context: Any) -> bytes:
        times.extend((time.perf_counter(), processor_seconds()))
        total = sum(map(len, stream))
        times.extend((time.perf_counter(), processor_seconds()))
        assert total == size
        came.set()
        return b""

    handler = grpc.stream_unary_rpc_method_handler(take)
    options = [("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(4), options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("raw", {"take": handler}),))
    startup = server_folder / "startup"
    authority = (startup / "rootCA.pem").read_bytes()
    pair = ((startup / "server.key").read_bytes(), (startup / "server.crt").read_bytes())
    credentials = grpc.ssl_server_credentials([pair], authority, require_client_auth=True)
    server.add_secure_port(url.removeprefix("grpc://"), credentials)
    server.start()
    before = peak()
    barrier.wait(SECONDS)
    assert came.wait(SECONDS)
    box.put({"seconds": times[2] - times[0], "processor": times[3] - times[1], "memory": peak() - before})
    server.stop(1.0).wait()


def raw_sender(_box: Any, barrier: Any, root: Path, url: str, _inner: Any, size: int, piece: int) -> None:
    _, site_folder = workspaces(root)
    startup = site_folder / "startup"
    credentials = grpc.ssl_channel_credentials(
        (startup / "rootCA.pem").read_bytes(),
        (startup / "client.key").read_bytes(),
        (startup / "client.crt").read_bytes(),
    )
    content = os.urandom(piece)
    barrier.wait(SECONDS)
    with grpc.secure_channel(url.removeprefix("grpc://"), credentials) as channel:
        whole, rest = divmod(size, piece)
        stream = (content if number < whole else content[:rest] for number in range(whole + bool(rest)))
        channel.stream_unary("/raw/take")(stream, timeout=SECONDS)


# --- through NVFlare's processes


def file(root: Path, size: int, *, up: bool, streams: bool) -> Result:
    """What one end has is fetched by the other."""
    received(root).mkdir(parents=True, exist_ok=True)
    both = {"parent": our_parent, "giver": site_gives if up else server_gives}
    return _together(server_fetches if up else site_fetches, both, (root, size, streams))


def received(root: Path) -> Path:
    """Where the server's job process has what it received."""
    server_folder, _ = workspaces(root)
    return server_folder / JOB / RECEIVED


def plain(root: Path, size: int) -> Result:
    """An array in a reply of NVFlare's."""
    return _together(server_asks, {"parent": parent, "giver": site_answers}, (root, size))


def our_parent(box: Any, barrier: Any, root: Path, url: str, inner: Any, size: int, streams: bool) -> None:
    server_folder, _ = workspaces(root)
    watch = TrustWatch(server_folder)
    keep_certificates()
    join_frames()
    counter = count_socket_bytes()
    if streams:
        serve_streams(Tickets(server_folder), watch.holder, counter)
    restrict_traffic(rule_of_server(watch.holder))
    parent(box, barrier, root, url, inner, size)


def parent(_box: Any, barrier: Any, root: Path, url: str, inner: Any, *_about: Any) -> None:
    folder, _ = workspaces(root)
    made = Cell("server", url, True, credentials_in(folder, "server"), create_internal_listener=True)
    made.start()
    (root / "parent").write_text(str(os.getpid()))
    inner.put(made.core_cell.get_internal_listener_url())
    inner.put(made.core_cell.get_internal_listener_url())
    barrier.wait(SECONDS)
    time.sleep(SECONDS)


def at_server(root: Path, url: str, inner: Any) -> Cell:
    folder, _ = workspaces(root)
    return _started(Cell(SERVER, url, True, credentials_in(folder, "server"), parent_url=inner.get()))


def at_site(root: Path, url: str) -> Cell:
    _, folder = workspaces(root)
    return _started(Cell(SITE, url, True, credentials_in(folder, "client")))


def _started(made: Cell) -> Cell:
    made.start()
    flare_decomposers.register()
    common_decomposers.register()
    return made


def server_fetches(box: Any, barrier: Any, root: Path, url: str, inner: Any, _size: int, streams: bool) -> None:
    join_frames()
    made = at_server(root, url, inner)
    _fetch(box, barrier, root, made, SITE, ServerLine(made.core_cell, received(root)) if streams else None)


def site_fetches(box: Any, barrier: Any, root: Path, url: str, _inner: Any, _size: int, streams: bool) -> None:
    join_frames()
    made = at_site(root, url)
    _fetch(box, barrier, root, made, SERVER, SiteLine(made.core_cell) if streams else None)


def _fetch(box: Any, barrier: Any, root: Path, made: Cell, giver: str, line: Line | None) -> None:
    barrier.wait(SECONDS)
    into, reference = received(root) / "into", Reference.model_validate_json((root / "reference").read_text())
    small = Reference.model_validate_json((root / "small").read_text())
    fetch = Fetch(made.core_cell, giver, time.monotonic() + SECONDS, line=line)
    fetch.into(into, MESSAGE, small).unlink()  # the connections are there
    before, used, begun = peak(root), processor_seconds(), time.perf_counter()
    fetch.into(into, MESSAGE, reference)
    seconds, used = time.perf_counter() - begun, processor_seconds() - used
    box.put({"seconds": seconds, "processor": used, "memory": peak(root) - before})
    into.unlink()


def site_gives(_box: Any, barrier: Any, root: Path, url: str, _inner: Any, size: int, streams: bool) -> None:
    join_frames()
    made = at_site(root, url)
    _give(barrier, root, Holder(made.core_cell, SiteLine(made.core_cell) if streams else None), size, SERVER)


def server_gives(_box: Any, barrier: Any, root: Path, url: str, inner: Any, size: int, streams: bool) -> None:
    join_frames()
    made = at_server(root, url, inner)
    line = ServerLine(made.core_cell, received(root)) if streams else None
    _give(barrier, root, Holder(made.core_cell, line), size, SITE)


def _give(barrier: Any, root: Path, holder: Holder, size: int, to: str) -> None:
    holder.open()
    source = received(root) / "source"
    source.write_bytes(os.urandom(size))
    (root / "reference").write_text(holder.offer(MESSAGE, source, {to}).model_dump_json())
    (root / "small").write_text(holder.offer(MESSAGE, b"small", {to}).model_dump_json())
    source.unlink()
    barrier.wait(SECONDS)
    time.sleep(SECONDS)


def server_asks(box: Any, barrier: Any, root: Path, url: str, inner: Any, _size: int) -> None:
    made = at_server(root, url, inner)
    barrier.wait(SECONDS)
    _ask(made, "small")
    before, used, begun = peak(root), processor_seconds(), time.perf_counter()
    reply = _ask(made, "large")
    seconds, used = time.perf_counter() - begun, processor_seconds() - used
    assert reply.payload["DXO"] is not None
    box.put({"seconds": seconds, "processor": used, "memory": peak(root) - before})


def _ask(made: Cell, topic: str) -> Message:
    for _ in range(100):
        reply = made.send_request(
            channel="transfer", topic=topic, target=SITE, request=Message({}, b""), timeout=SECONDS, optional=True
        )
        if reply.get_header(MessageHeaderKey.RETURN_CODE) == ReturnCode.OK:
            return reply
        time.sleep(0.1)
    raise SystemExit("NVFlare's processes did not find each other")


def site_answers(_box: Any, barrier: Any, root: Path, url: str, _inner: Any, size: int) -> None:
    made = at_site(root, url)
    array = np.random.default_rng(1).standard_normal(size // 4, dtype=np.float32)

    def answer(_request: Message, part: slice) -> Message:
        shareable = DXO(DataKind.WEIGHTS, data={"w": array[part]}).to_shareable()
        return Message({MessageHeaderKey.RETURN_CODE: ReturnCode.OK}, shareable)

    for topic, part in (("small", slice(1)), ("large", slice(None))):
        made.register_request_cb(channel="transfer", topic=topic, cb=answer, part=part)
    barrier.wait(SECONDS)
    time.sleep(SECONDS)


def _together(receiver: Callable[..., None], others: dict[str, Callable[..., None]], about: tuple[Any, ...]) -> Result:
    """Run one process for each, all at once; what the receiver measured."""
    context = multiprocessing.get_context("spawn")
    box, inner, barrier = context.Queue(), context.Queue(), context.Barrier(1 + len(others))
    root, *rest = about
    arguments = (box, barrier, root, f"grpc://localhost:{free_port()}", inner, *rest)
    processes = [context.Process(target=each, args=arguments, daemon=True) for each in (*others.values(), receiver)]
    for process in processes:
        process.start()
    try:
        return dict(box.get(timeout=2 * SECONDS))
    finally:
        for process in processes:
            process.kill()
            process.join()


if __name__ == "__main__":
    logging.disable(logging.ERROR)
    main()
