# SPDX-License-Identifier: Apache-2.0
"""A job's own training code, in the real trainer process, in the sandbox, over real weights."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import safetensors.numpy

from cloister.errors import CloisterError, EgressError, SandboxError, TrainerError
from cloister.files import private_folder
from cloister.jobs import AdapterLayout, Code, initial_adapter
from cloister.jobs.code import read_code
from cloister.messages import Evaluate, Train
from cloister.sandbox import Enclosure, Limits, SandboxMode, Trainer, missing
from tests.blobs import difference, read_adapter

from .conftest import job, setup_of, write_view

pytestmark = pytest.mark.slow  # real processes and real weights

Make = Callable[..., Trainer]

FOCAL = """
import torch

from cloister.training.text_classifier import TextClassifier
from focal import focal


class Trainer(TextClassifier):
    def loss(self, logits, classes):
        return focal(logits, classes)
"""

FOCAL_LOSS = """
import torch


def focal(logits, classes):
    entropy = torch.nn.functional.cross_entropy(logits, classes, reduction="none")
    return ((1 - torch.exp(-entropy)) ** 2 * entropy).mean()
"""

# Answers without the ML stack, so that a probe takes no seconds.
LIGHT = """
from cloister.training.interface import Round


class Trainer:
    def __init__(self, setup):
        self.setup = setup
    def load_adapter(self, blob):
        self.blob = blob
    def adapter(self):
        return self.blob
    def evaluate(self):
        return {"accuracy": 0.5, "patients": 7.0}
    def train(self, number, report):
        report(1, 1)
        return Round(loss=1.0, records=8)
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The site's state, which holds a key and, as at a real site, view and code."""
    folder = private_folder(tmp_path / "state")
    (folder / "client.key").write_text("-----BEGIN PRIVATE KEY-----")
    write_view(folder / "view", train=40, validation=10)
    return folder


@pytest.fixture
def trainer(base_model: Path, layout: AdapterLayout, state: Path, tmp_path: Path) -> Make:
    if sentence := missing():
        if os.environ.get("CLOISTER_WITHOUT_SANDBOX") == "1":
            pytest.skip(sentence)
        pytest.fail(sentence)

    def make(files: Mapping[str, str], mode: SandboxMode = SandboxMode.BUBBLEWRAP) -> Trainer:
        code = Code(files).write(state / "code")
        limits = Limits(memory_bytes=4 * 2**30, processes=64, threads=1)
        enclosure = Enclosure(state / "view", base_model, (state,), limits, tmp_path / "log", code)
        setup = setup_of(job(steps=8), layout, state / "view", base_model)
        return Trainer(enclosure, setup, mode=mode, maximum_blob_bytes=2 * layout.bytes)

    return make


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], str]:
    return lambda: (tmp_path / "log").read_text(encoding="utf-8")


def sent(layout: AdapterLayout) -> bytes:
    return bytes(safetensors.numpy.save(initial_adapter(layout, 0)))


def ask(one: Trainer, layout: AdapterLayout) -> bytes:
    """One round; what the trainer gives for its adapter."""
    with one:
        one.start(120)
        return one.ask(Train(round=1), sent(layout), 120)[1]


def probe(code: str) -> dict[str, str]:
    """Code that is run when the trainer is imported, and tells on standard error what came of it."""
    lines = [
        "import os, socket, sys",
        "def tried(name, action):",
        "    try:",
        "        action()",
        "    except OSError as error:",
        "        print(name, type(error).__name__, file=sys.stderr)",
        "    else:",
        "        print(name, 'done', file=sys.stderr)",
    ]
    return {"trainer.py": "\n".join([*lines, code, LIGHT])}


def test_trains_with_its_own_loss_and_passes_the_gate(trainer: Make, layout: AdapterLayout) -> None:
    with trainer({"trainer.py": FOCAL, "focal.py": FOCAL_LOSS}) as one:
        one.start(120)
        before, blob = one.ask(Train(round=1), sent(layout), 120)
        after, _ = one.ask(Evaluate(), blob, 120)
    # The focal loss of an undecided classifier of three is (1 - 1/3)² of its cross-entropy, log 3.
    assert before.metrics["train_loss"] < 0.6 < 1.0 < before.metrics["loss"]
    assert after.metrics["loss"] < before.metrics["loss"]
    update = difference(read_adapter(blob, layout), read_adapter(sent(layout), layout))
    assert {name: array.shape for name, array in update.items()} == layout.shapes()


def test_the_example_weighs_rare_classes(trainer: Make, layout: AdapterLayout, state: Path) -> None:
    example = read_code(Path(__file__).parents[2] / "code" / "balanced-loss")
    with trainer(example.files) as one:
        one.start(120)
        done, weighed = one.ask(Train(round=1), sent(layout), 120)
    shutil.rmtree(state / "code")
    plain = ask(
        trainer({"trainer.py": "from cloister.training.text_classifier import TextClassifier as Trainer\n"}), layout
    )
    assert done.records == 40
    assert read_adapter(weighed, layout).keys() == read_adapter(plain, layout).keys()
    assert weighed != plain


def test_a_class_of_ones_own_will_do(trainer: Make, layout: AdapterLayout) -> None:
    with trainer({"trainer.py": LIGHT}) as one:
        one.start(60)
        done, blob = one.ask(Train(round=1), sent(layout), 60)
    assert blob == sent(layout)
    assert (done.metrics, done.records) == ({"accuracy": 0.5, "patients": 7.0, "train_loss": 1.0}, 8)


def test_is_imported_in_the_sandbox_alone(trainer: Make, layout: AdapterLayout, state: Path, tmp_path: Path) -> None:
    """The import writes a file beside the key, where this process could and the sandbox cannot."""
    marks = [state / "imported", tmp_path / "imported"]
    code = "".join(f"tried('mark', lambda: open({str(mark)!r}, 'w').close())\n" for mark in marks)
    one = trainer(probe(code + "tried('tmp', lambda: open('/tmp/imported', 'w').close())"))
    ask(one, layout)
    assert not [mark for mark in marks if mark.exists()]
    assert "trainer" not in __import__("sys").modules
    said = (tmp_path / "log").read_text()
    assert said.count("mark FileNotFoundError") == 2  # it was imported, and tried
    assert "tmp done" in said


def test_leaves_nothing_in_its_folder(
    trainer: Make, layout: AdapterLayout, state: Path, log: Callable[[], str]
) -> None:
    code = "tried('write', lambda: open('/code/more.py', 'w'))\ntried('change', lambda: open('/code/trainer.py', 'a'))"
    ask(trainer({**probe(code + "\nimport other"), "other.py": ""}), layout)
    assert "write OSError" in log()
    assert "change OSError" in log()
    assert sorted(path.name for path in (state / "code").rglob("*")) == ["other.py", "trainer.py"]


def test_reaches_neither_the_network_nor_the_key(
    trainer: Make, layout: AdapterLayout, state: Path, log: Callable[[], str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"tried('network', lambda: socket.create_connection(('127.0.0.1', {port}), 2))\n"
        code += f"tried('key', lambda: open({str(state / 'client.key')!r}))\n"
        code += "tried('state', lambda: open('/code/../client.key'))"
        ask(trainer(probe(code)), layout)
    assert "network ConnectionRefusedError" in log()
    assert "key FileNotFoundError" in log()
    assert "state FileNotFoundError" in log()


def test_what_it_prints_stays_in_the_log_of_the_site(
    trainer: Make, layout: AdapterLayout, log: Callable[[], str]
) -> None:
    blob = ask(trainer(probe("print('a patient with a rash', flush=True)")), layout)
    assert "a patient with a rash" in log()
    assert b"patient" not in blob


BROKEN = {
    "raises": "raise ValueError('a patient with a rash')",
    "is no Python": "def (",
    "ends the process": "import sys; sys.exit(0)",
    "kills itself": "import os; os.kill(os.getpid(), 9)",
    "speaks out of turn": "import contextlib, os\nfor number in range(3, 9):\n    with contextlib.suppress(OSError):\n"
    "        os.write(number, b'a patient')",
    "defines no trainer": "x = 1",
    "defines a function": "def Trainer(setup): ...",
    "lacks a method": "class Trainer:\n    def train(self, number, report): ...",
    "raises when it is made": f"{LIGHT}\n    def __init__(self, setup): raise ValueError('a patient')",
    "raises in a round": f"{LIGHT}\n    def train(self, number, report): raise ValueError('a patient')",
    "gives a metric that is no number": f"{LIGHT}\n    def evaluate(self): return {{'accuracy': 'a patient'}}",
    "gives a metric that is not finite": f"{LIGHT}\n    def evaluate(self): return {{'accuracy': float('nan')}}",
    "gives no round": f"{LIGHT}\n    def train(self, number, report): return 'a patient'",
    "gives text for an adapter": f"{LIGHT}\n    def adapter(self): return 'a patient'",
    "gives too large an adapter": f"{LIGHT}\n    def adapter(self): return bytes(10**8)",
}


@pytest.mark.parametrize("code", BROKEN.values(), ids=BROKEN)
def test_code_that(trainer: Make, layout: AdapterLayout, code: str) -> None:
    """Ends the round with a sentence of Cloister's own; what the code said is not in it."""
    with pytest.raises(TrainerError) as caught:
        ask(trainer({"trainer.py": code + "\n"}), layout)
    assert "patient" not in str(caught.value)


WRONG = {
    "another tensor": "{**t, 'records': t[first]}",
    "a tensor less": "{name: t[name] for name in list(t)[1:]}",
    "another shape": "{**t, first: t[first].reshape(1, -1)}",
    "another type": "{**t, first: t[first].astype('float64')}",
    "a value that is not finite": "{**t, first: t[first] * float('inf')}",
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG)
def test_the_gate_keeps_back(trainer: Make, layout: AdapterLayout, given: str) -> None:
    adapter = "import safetensors.numpy as s; t = s.load(self.blob); first = next(iter(t)); "
    code = f"{LIGHT}\n    def adapter(self):\n        {adapter}return s.save({given})\n"
    blob = ask(trainer({"trainer.py": code}), layout)
    with pytest.raises(EgressError):
        read_adapter(blob, layout)


def test_runs_nowhere_without_a_sandbox(trainer: Make, state: Path) -> None:
    mark = state / "imported"
    one = trainer(probe(f"open({str(mark)!r}, 'w').close()"), mode=SandboxMode.UNSAFE_NONE)
    with pytest.raises(SandboxError, match="in a sandbox only"), one:
        one.start(60)
    assert not mark.exists()


def test_a_folder_that_is_gone_is_refused(trainer: Make, state: Path) -> None:
    one = trainer({"trainer.py": LIGHT})
    (state / "code").rename(state / "elsewhere")
    with pytest.raises(CloisterError, match="no folder"), one:
        one.start(60)
