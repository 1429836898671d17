# SPDX-License-Identifier: Apache-2.0
"""What a hostile trainer, a hostile component beside ours, or a server's odd question would get out of a site.

The records hold the canary. Everything is real but the trainer, which stands in memory and says what it is told to say:
the executor, the job, its gates, and the filter behind them. What is returned is all that would leave, byte for byte.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from cloister.documents import Document
from cloister.errors import CloisterError, TrainerError
from cloister.flare import executor as executor_module
from cloister.flare import site_job
from cloister.flare.egress_filter import EgressFilter
from cloister.flare.exchange import content_of, reply_with
from cloister.flare.executor import TrainingExecutor
from cloister.flare.site_job import SiteJob
from cloister.jobs import AdapterLayout, Code, Job
from cloister.messages import Done, Evaluate, Setup, Train
from cloister.sandbox import Enclosure, SandboxMode
from tests.federation_folder import records_of
from tests.flare.signed_jobs import job_of
from tests.flare.site_folder import admitted_job, app_of, make_site
from tests.flare.test_executor import context_of
from tests.flare.wire_form import first, sent, tensors_of, whole
from tests.redteam.attempts import Tries
from tests.redteam.scene import CANARY, Scene
from tests.signed_policies import revoke_policy

TRIES = Tries()


class Hostile:
    """A trainer in memory; by default an honest one that learns nothing.

    Attributes:
        metrics: what it claims to have measured.
        records: on how many records it claims to have trained.
        blob: what it makes of the adapter.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, Any] = {"accuracy": 0.5}
        self.records = 4
        self.blob: Callable[[bytes], bytes] = lambda blob: blob
        self.meanwhile: Callable[[], object] = lambda: None
        self.restarts = 0

    def __call__(self, enclosure: Enclosure, setup: Setup, *, mode: SandboxMode, maximum_blob_bytes: int) -> Hostile:
        return self

    def start(self, timeout_seconds: float) -> None:
        pass

    def ask_in_files(self, message: Train | Evaluate, request: Path, answer: Path, timeout_seconds: float) -> Done:
        self.meanwhile()
        done = Done.model_construct(kind="done", metrics=dict(self.metrics), records=self.records)
        answer.write_bytes(b"" if isinstance(message, Evaluate) else self.blob(request.read_bytes()))
        return done

    def close(self) -> None:
        pass


class Site:
    """A site that has admitted a job, and answers the server's tasks; its records hold the canary."""

    def __init__(
        self, scene: Scene, trainer: Hostile | None = None, *, code: Code | None = None, **changes: Any
    ) -> None:
        folder = scene.folder / f"site-{len(list(scene.folder.iterdir()))}"
        rows = [(f"{text} {CANARY}", label) for text, label in records_of("alpha")]
        self.root = make_site(folder, records=rows, **changes).resolve()
        self.document: Document[Job] = job_of(self.root, **({"code": "code/hostile"} if code else {}))
        settings, identifier, app = admitted_job(self.root, self.document, code=code)
        self.settings = settings
        self.fl_ctx = context_of(self.root, identifier)
        private = settings.workspace / "private"
        if code is None:  # code of a job's own runs where it always does: in a process of its own, in the sandbox
            scene.patch.setattr(site_job, "Trainer", trainer or Hostile())
        self.job = SiteJob.open(settings, identifier, app, private, lambda: datetime.now(UTC))
        scene.patch.setattr(executor_module, "_open", lambda _fl_ctx: self.job)
        self.executor = TrainingExecutor()

    @property
    def layout(self) -> AdapterLayout:
        return tensors_of(self.job)

    def ask(self, task: str, number: int = 0, *, after: Callable[[Shareable], Any] | None = None) -> str:
        """All that leaves the site upon one task; ``after`` stands for a component that runs before our filter."""
        blob = b"" if task == "prepare" else first(self.layout, 1)
        reply = self.executor.execute(task, sent(whole(number), blob), self.fl_ctx, Signal())
        if after:
            reply = after(reply) or reply
        try:
            left = EgressFilter().process(reply, self.fl_ctx)
        except (CloisterError, ValueError) as error:  # NVFlare then sends an error code and nothing else
            return f"{ReturnCode.TASK_RESULT_FILTER_ERROR}: {type(error).__name__}: {error}"
        said = content_of(left)[0].decode() if left.get_return_code() == ReturnCode.OK else ""
        return f"{said} {dict(left)!r}"

    def prepared(self) -> Site:
        answer = self.ask("prepare")
        assert '"kind":"prepared"' in answer, answer
        assert CANARY not in answer
        return self

    def round(self, number: int = 1, **others: Any) -> str:
        return self.ask("train", number, **others)


def trained(scene: Scene, **changes: Any) -> tuple[Site, Hostile]:
    trainer = Hostile()
    return Site(scene, trainer, **changes).prepared(), trainer


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def blob(content: bytes) -> bytes:
        arrays = dict(safetensors.numpy.load(content))
        change(arrays)
        return bytes(safetensors.numpy.save(arrays))

    return blob


def moved(by: float) -> Callable[[bytes], bytes]:
    return rewritten(lambda arrays: arrays.update({name: value + np.float32(by) for name, value in arrays.items()}))


@TRIES("extra-tensors")
def _(scene: Scene) -> list[str]:
    site, trainer = trained(scene)
    text = np.frombuffer(CANARY.encode().ljust(24, b"."), np.float32)
    trainer.blob = rewritten(lambda arrays: arrays.update({"patients": text}))
    return [site.round()]


@TRIES("canary-in-tensor-names")
def _(scene: Scene) -> list[str]:
    site, trainer = trained(scene)
    trainer.blob = rewritten(lambda arrays: arrays.update({CANARY: np.zeros(1, np.float32)}))
    first = site.round(1)
    trainer.blob = rewritten(lambda arrays: arrays.update({CANARY: arrays.pop(sorted(arrays)[0])}))
    return [first, site.round(2)]


@TRIES("meta-in-tensor-file")
def _(scene: Scene) -> list[str]:
    """Where safetensors has room for words, nothing is refused and nothing of it leaves: the file is written anew."""
    site, trainer = trained(scene)
    trainer.blob = lambda content: bytes(safetensors.numpy.save(safetensors.numpy.load(content), {"note": CANARY}))
    answer = site.round()
    assert '"kind":"update"' in answer
    return [answer]


@TRIES("other-shapes-and-types")
def _(scene: Scene) -> list[str]:
    answers = []
    for change in (
        lambda arrays: arrays.update({name: value.astype(np.float64) for name, value in arrays.items()}),
        lambda arrays: arrays.update({name: np.concatenate([value, value]) for name, value in arrays.items()}),
        lambda arrays: arrays.pop(sorted(arrays)[0]),
    ):
        site, trainer = trained(scene)
        trainer.blob = rewritten(change)
        answers.append(site.round())
    return answers


@TRIES("not-a-number")
def _(scene: Scene) -> list[str]:
    """Bits of a NaN that carry text, an infinity, and a number that becomes infinite when the update is worked out."""
    answers = []
    for bits in (0x7FC00000 | 0x5A5A5A, 0x7F800000, 0xFF800000):
        site, trainer = trained(scene)
        value = np.frombuffer(struct.pack("<I", bits), np.float32)[0]
        trainer.blob = rewritten(lambda arrays, value=value: [array.fill(value) for array in arrays.values()])
        answers.append(site.round())
    return answers


@TRIES("stray-keys-headers-and-meta")
def _(scene: Scene) -> list[str]:
    """Another component writes them into the reply after our gate; the filter builds the reply anew without them."""

    def meta(reply: Shareable) -> None:
        dxo = from_shareable(reply)
        dxo.set_meta_prop("note", CANARY)
        dxo.update_shareable(reply)

    smuggled: list[Callable[[Shareable], Any]] = [
        lambda reply: reply.update({"patients": CANARY}),
        lambda reply: reply.set_header("note", CANARY),
        lambda reply: reply.add_cookie("note", CANARY),
        lambda reply: reply.set_peer_props({"note": CANARY}),
        meta,
    ]
    answers = []
    for smuggle in smuggled:
        site, _trainer = trained(scene)
        answer = site.round(after=lambda reply, smuggle=smuggle: smuggle(reply) and None)
        assert '"kind":"update"' in answer
        answers.append(answer)
    return answers


@TRIES("swapped-reply")
def _(scene: Scene) -> list[str]:
    """A component puts another reply in the place of the one that passed, or another parameter into it."""

    def parameter(reply: Shareable) -> None:
        dxo = from_shareable(reply)
        dxo.data["patients"] = CANARY
        dxo.update_shareable(reply)

    def message(reply: Shareable) -> Shareable:
        _, tensors = content_of(reply)
        return reply_with(json.dumps({"kind": "refusal", "denied": True, "reason": CANARY}).encode(), tensors)

    return [site.round(after=act) for act in (parameter, message) for site, _ in [trained(scene)]]


@TRIES("another-kind-of-data")
def _(scene: Scene) -> list[str]:
    """NVFlare's own filters let through every kind that they do not know."""
    kinds = (DataKind.ANALYTIC, DataKind.METRICS, DataKind.STATISTICS, DataKind.WEIGHTS, DataKind.COLLECTION)
    answers = []
    for kind in kinds:
        site, _trainer = trained(scene)
        data = {"inner": DXO(DataKind.METRICS, {"note": CANARY})} if kind == DataKind.COLLECTION else {"note": CANARY}
        answers.append(site.round(after=lambda _reply, kind=kind, data=data: DXO(kind, data=data).to_shareable()))
    site, _trainer = trained(scene)
    return [*answers, site.round(after=lambda _reply: Shareable({"note": CANARY}))]


@TRIES("words-in-a-return-code")
def _(scene: Scene) -> list[str]:
    """A reply that says it failed is looked at by nobody; its code is a word of NVFlare's or becomes one."""

    def failed(reply: Shareable) -> None:
        reply.set_return_code(CANARY)
        reply["patients"] = CANARY

    site, _trainer = trained(scene)
    return [site.round(after=failed)]


@TRIES("canary-in-metric-names")
def _(scene: Scene) -> list[str]:
    """Metrics that the policy does not list stay behind, names and all; the round itself goes on."""
    site, trainer = trained(scene)
    trainer.metrics = {"accuracy": 0.5, CANARY: 1.0, f"loss {CANARY}": 2.0, "Accuracy": 3.0}
    answer = site.round()
    assert '"metrics":{"accuracy":0.5}' in answer
    return [answer]


@TRIES("metrics-out-of-bounds")
def _(scene: Scene) -> list[str]:
    """Digits beyond what a share can be have room for text; so has what the policy's own bounds leave out."""
    number = float(int.from_bytes(CANARY.encode()[:6], "big"))
    answers = []
    for value in (number, -1.0, float("nan"), float("inf"), 10**400, True, CANARY):
        site, trainer = trained(scene)
        trainer.metrics = {"accuracy": value}
        answers.append(site.round())
    return answers


@TRIES("metrics-beyond-the-policys-bounds")
def _(scene: Scene) -> list[str]:
    site, _trainer = trained(scene, policy={"may_leave": {"metric_bounds": {"accuracy": {"maximum": 0.4}}}})
    return [site.round()]


@TRIES("update-above-the-norm")
def _(scene: Scene) -> list[str]:
    site, trainer = trained(scene, policy={"may_leave": {"maximum_norm": 1.0}})
    trainer.blob = moved(5.0)
    return [site.round()]


@TRIES("update-above-the-bytes")
def _(scene: Scene) -> list[str]:
    site, _trainer = trained(scene, policy={"may_leave": {"maximum_bytes_per_round": 100}})
    return [site.round()]


@TRIES("job-above-its-bytes")
def _(scene: Scene) -> list[str]:
    measured, _trainer = trained(scene)
    measured.round()
    site, _trainer = trained(scene, policy={"may_leave": {"maximum_bytes_per_job": measured.job.egress.sent + 50}})
    assert '"kind":"update"' in site.round(1)
    return [site.round(2)]


@TRIES("padded-tensor-file")
def _(scene: Scene) -> list[str]:
    """Text behind the tensors, and text in front of them, in a header that is longer than it needs to be."""
    answers = []
    for blob in (
        lambda content: content + CANARY.encode() * 1000,
        lambda content: struct.pack("<Q", 10**12) + content[8:],
        lambda content: CANARY.encode(),
    ):
        site, trainer = trained(scene)
        trainer.blob = blob
        answers.append(site.round())
    return answers


@TRIES("more-rounds-than-admitted")
def _(scene: Scene) -> list[str]:
    site, _trainer = trained(scene)
    for number in (1, 2):
        assert '"kind":"update"' in site.round(number)
    return [site.round(number) for number in (3, 4, 0)] + [site.ask("evaluate", 4)]


@TRIES("a-round-again")
def _(scene: Scene) -> list[str]:
    """The server asks for one round with two adapters, to see what differs."""
    site, _trainer = trained(scene)
    assert '"kind":"update"' in site.round(1)
    again = site.round(1)
    assert '"kind":"update"' in site.ask("evaluate", 3)
    return [again, site.ask("evaluate", 3), site.round(2)]


@TRIES("a-second-beginning")
def _(scene: Scene) -> list[str]:
    site, _trainer = trained(scene)
    return [site.ask("prepare")]


@TRIES("more-records-than-the-view")
def _(scene: Scene) -> list[str]:
    """A count is weight in the average, and room for text."""
    site, trainer = trained(scene)
    trainer.records = int.from_bytes(CANARY.encode()[:6], "big")
    return [site.round()]


@TRIES("patient-text-in-errors")
def _(scene: Scene) -> list[str]:
    """The trainer fails with a record in its error, as any library does; an error of our own fails so too."""
    answers = []
    for error in (ValueError(CANARY), KeyError(CANARY), TrainerError("the trainer failed"), MemoryError(CANARY)):
        site, trainer = trained(scene)

        def fail(error: Exception = error) -> None:
            raise error

        trainer.meanwhile = fail
        answers.append(site.round())
    return answers


@TRIES("patient-text-in-broken-records")
def _(scene: Scene) -> list[str]:
    """Rows that break the declaration, are not UTF-8, or have too many cells: refusals count, and quote nothing."""
    answers = []
    for row in (f'P1,"{CANARY}",{CANARY}\r\n' * 9, f"P1,{CANARY} \xfc,soon\r\n", f"P1,{CANARY},soon,{CANARY}\r\n"):
        site = Site(scene)
        path = site.root / "records" / "alpha.csv"
        path.write_bytes(path.read_bytes() + row.encode("latin-1"))
        answers.append(site.ask("prepare"))
    return answers


@TRIES("changed-after-admission")
def _(scene: Scene) -> list[str]:
    """Between admission and start, the job in the site's workspace is exchanged for a wider one of the same person."""
    site = Site(scene)
    settings, identifier, _app = admitted_job(site.root, site.document)
    wider = app_of(job_of(site.root, federation={"rounds": 20}))
    try:
        SiteJob.open(settings, identifier, wider, settings.workspace / "other", site.job.clock)
    except CloisterError as error:
        return [str(error)]
    raise AssertionError("the exchanged job was opened")


@TRIES("started-twice")
def _(scene: Scene) -> list[str]:
    """A second job process under one admission would have every round again."""
    site = Site(scene)
    settings, identifier, app = admitted_job(site.root, site.document)
    SiteJob.open(settings, identifier, app, settings.workspace / "first", site.job.clock)
    try:
        SiteJob.open(settings, identifier, app, settings.workspace / "second", site.job.clock)
    except CloisterError as error:
        return [str(error)]
    raise AssertionError("the job was started twice")


@TRIES("revoked-while-it-runs")
def _(scene: Scene) -> list[str]:
    """The officer revokes between two rounds, and in another job while the trainer is at work in one."""
    between, _trainer = trained(scene)
    assert '"kind":"update"' in between.round(1)
    revoke_policy(between.root, "alpha", keys=scene.root)
    during, trainer = trained(scene)
    trainer.meanwhile = lambda: revoke_policy(during.root, "alpha", keys=scene.root)
    return [between.round(2), during.round(1)]
