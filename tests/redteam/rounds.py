# SPDX-License-Identifier: Apache-2.0
"""What a server or a site would send the other in a round: weights, updates and counts that are not what they say."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import zstandard
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.message import Message

from cloister.egress import write_adapter
from cloister.errors import CloisterError
from cloister.files import canonical_json
from cloister.flare.exchange import Ask, Sent, TaskName, reply_in
from cloister.flare.holder import Holder
from cloister.flare.parcel import AnswerHead, pack
from cloister.flare.site_exchange import SiteExchange
from cloister.flare.task_sender import Answer, Part, TaskSender
from cloister.flare.traffic import ANSWER, CHUNK, ROUNDS
from cloister.flare.trainer_blob import split
from cloister.jobs import AdapterLayout, initial_adapter
from cloister.jobs.adapter import TensorSpec
from cloister.jobs.kept_tensors import KEPT, exchanged_layout, kept_layout
from cloister.wire import CODECS, Codec, EncodedVector, Schema
from cloister.wire.header import LENGTH, header
from tests.flare.cells import JOB_ID, SERVER, Wire, process_of
from tests.flare.signed_jobs import job_of
from tests.flare.wire import until
from tests.flare.wire_form import encoded, first
from tests.redteam.attempts import Tries
from tests.redteam.scene import CANARY, Scene

TRIES = Tries()

LAYER = "base_model.model.encoder.layer.0.attention.self.query"
A, B = f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"
LAYOUT = AdapterLayout(
    (
        TensorSpec(A, (2, 6), "uniform"),
        TensorSpec(B, (5, 2), "zeros"),
        TensorSpec("base_model.model.classifier.weight", (3, 6), "normal"),
    ),
    ("classifier",),
)


def said(act: Callable[[], object]) -> str:
    """What it is refused with."""
    try:
        act()
    except CloisterError as error:
        return str(error)
    return "taken"


@TRIES("one-update-as-the-average")
def _(scene: Scene) -> list[str]:
    """The site's policy has its update averaged with another's; a rule that chooses one hands on just that."""
    sites = ("alpha", "beta", "delta", "epsilon", "gamma", "zeta", "eta")
    federation = {"minimum_sites": 7, "sites": list(sites)}
    rules = [{"krum": {"bad_sites": bad}} for bad in (1, 2)]
    jobs = [scene.job(sites=sites, federation=federation, aggregation={"rule": rule}) for rule in rules]
    return [scene.deploy(job, meta=json.loads(job.files["meta.json"])) for job in jobs]


@TRIES("weights-that-are-not-what-they-say")
def _(scene: Scene) -> list[str]:
    """Changes to weights that the site does not have, parts that are said to be all, sums beyond float32, bombs."""
    document = job_of(scene.root)
    layout = exchanged_layout(document.value.aggregation, LAYOUT)
    largest = encoded({tensor.name: np.full(tensor.shape, 3e38, np.float32) for tensor in layout.tensors}, layout)
    weights = first(layout)

    def answer(sent: Sent, payload: bytes, *before: bytes) -> str:
        exchange = SiteExchange(document, "alpha", LAYOUT, Path(tempfile.mkdtemp(dir=scene.folder)))
        for each in before:
            exchange.receive(Ask(round=1, weights=Sent(version=0, kind="whole", codec="float32")), each)
        return said(lambda: exchange.receive(Ask(round=2, weights=sent), payload))

    whole = Sent(version=1, kind="whole", codec="float32")
    change = Sent(version=1, kind="differences", base=0, codec="float32")
    schema = Schema.of(layout)
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 20))[4:]
    inflates = header(CODECS["int8"], schema) + LENGTH.pack(len(bomb)) + bomb
    return [
        answer(change, weights),
        answer(change.model_copy(update={"base": 3}), weights, weights),
        answer(whole.model_copy(update={"without": "a"}), weights),
        answer(change, largest, largest),
        answer(whole, weights + CANARY.encode()),
        answer(whole, weights[:-4]),
        answer(whole.model_copy(update={"codec": "int8"}), inflates),
    ]


@TRIES("more-to-fold-in")
def _(scene: Scene) -> list[str]:
    """A server that changes the base model at a site, by factors in a job that folds none in, or by too many."""
    more = write_adapter({A: np.ones((2, 6), np.float32), B: np.ones((5, 2), np.float32)})
    huge = write_adapter({A: np.ones((64, 6), np.float32), B: np.ones((5, 64), np.float32)})
    answers = []
    for factors, folded in (("fedit", more), ("flora", huge), ("flora", more[:-4])):
        folder = Path(tempfile.mkdtemp(dir=scene.folder))
        exchange = SiteExchange(job_of(scene.root, aggregation={"factors": factors}), "alpha", LAYOUT, folder)
        sent = Sent(version=0, kind="whole", codec="float32", folded="all", folded_bytes=len(folded))
        payload = first(LAYOUT) + folded
        answers.append(said(partial(exchange.receive, Ask(round=1, weights=sent), payload)))
    return answers


@TRIES("kept-tensors-that-leave")
def _(scene: Scene) -> list[str]:
    """Code that puts what is to stay at the site in the place of what leaves, or more of it than was declared."""
    how = job_of(scene.root, aggregation={"personal": ["classifier"]}).value.aggregation
    exchanged, kept = exchanged_layout(how, LAYOUT), kept_layout(how, LAYOUT)
    arrays = initial_adapter(LAYOUT, 1)
    head = arrays["base_model.model.classifier.weight"]
    sound = {name: array for name, array in arrays.items() if "classifier" not in name}
    swapped = sound | {"base_model.model.classifier.weight": head}
    more = sound | {f"{KEPT}base_model.model.classifier.weight": head, f"{KEPT}{CANARY}": head}
    answers, path = [], Path(tempfile.mkdtemp(dir=scene.folder)) / "answer"
    for each in (swapped, more):
        path.write_bytes(write_adapter(each))
        answers.append(said(partial(split, path, exchanged, kept)))
    return answers


@TRIES("counts-beyond-sums")
def _(scene: Scene) -> list[str]:
    """So many records that no mean can be weighted by them, which would end the job of all."""
    prepared = {"kind": "prepared", "validation": 6, "view": "0" * 64, "policy": "1" * 64, "sandbox": "bubblewrap"}
    messages = [
        prepared | {"training": 10**400},
        prepared | {"training": 18, "validation": 10**400},
        {"kind": "update", "round": 1, "records": 10**400, "metrics": {}, "restarts": 0},
    ]
    return [said(partial(reply_in, canonical_json(each))) for each in messages]


@TRIES("answers-without-end")
def _(scene: Scene) -> list[str]:
    """A site that answers what it was never asked, a thousand times; one that names an update as large as the disk."""
    wire, came = Wire(), list[Answer]()
    sender = TaskSender(wire.cell(SERVER), JOB_ID, ("alpha",), came.append, scene.folder / "spool", lambda _site: 1000)
    sender.open()
    alpha = wire.cell(process_of("alpha"))

    def answer(message: Message) -> str:
        return str(
            alpha.send_request(ROUNDS, ANSWER, SERVER, message, 1.0, True).get_header(MessageHeaderKey.RETURN_CODE)
        )

    identifier = sender.send(TaskName.TRAIN, [Part(["alpha"], b"{}")], 5.0)
    codes = {answer(pack(AnswerHead(identifier=f"{number:032x}", code="OK"), b"{}")) for number in range(1000)}
    assert came == []
    holder = Holder(alpha)
    holder.open()
    reference = holder.offer(b"{}", bytes(2000), {SERVER})
    answer(pack(AnswerHead(identifier=identifier, code="OK", reference=reference), b"{}"))
    until(lambda: came)
    fetched = CHUNK in {topic for topic, _, _ in wire.sent} or any(each.payload for each in came)
    return [*codes, "fetched" if fetched else "not fetched"]


def checked(update: bytes, codec: Codec, schema: Schema) -> None:
    EncodedVector.open(update, codec, schema).check()


@TRIES("update-that-inflates")
def _(scene: Scene) -> list[str]:
    """Of each form: more values than there are, fewer, none that are finite, and a frame of a gigabyte."""
    schema, answers = Schema.of(LAYOUT), []
    for codec in CODECS.values():
        for content in (bytes(1 << 24), b""):
            piece = zstandard.ZstdCompressor().compress(content)[4:]
            update = header(codec, schema) + LENGTH.pack(len(piece)) + piece
            answers.append(said(partial(checked, update, codec, schema)))
    nan = encoded({tensor.name: np.zeros(tensor.shape, np.float32) for tensor in LAYOUT.tensors}, LAYOUT)
    nan = nan[:-4] + np.float32("nan").tobytes()
    return [*answers, said(partial(checked, nan, CODECS["float32"], schema))]
