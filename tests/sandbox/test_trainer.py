# SPDX-License-Identifier: Apache-2.0
"""Conversations with trainers that behave, die, lie, or say nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.errors import SandboxError, TrainerError
from cloister.messages import Done, Evaluate, Progress, Setup, Train
from cloister.sandbox import Enclosure, SandboxMode, Trainer
from cloister.sandbox.usage import tree

from .conftest import Make, gone, innermost

pytestmark = pytest.mark.slow  # real processes, real keys or real files by the hundred

ANSWER = """
send(READY)
while True:
    message, blob = receive()
    send(DONE, blob if message["kind"] == "train" else b"")
"""


def test_answers(trainer: Make) -> None:
    with trainer(ANSWER) as one:
        one.start(20)
        blob = os.urandom(500_000)  # more than a pipe holds
        assert one.ask(Train(round=0), blob, 20) == (Done(metrics={"loss": 0.5}, records=3), blob)
        assert one.ask(Evaluate(), blob, 20)[1] == b""
        assert one.restarts == 0
        pids = tree(one.pid or 0)
    assert gone(pids)
    assert one.pid is None
    one.close()


def test_is_told_its_folders_as_it_sees_them(trainer: Make, mode: SandboxMode, enclosure: Enclosure) -> None:
    one = trainer("print(setup['view'], setup['base_model'], os.listdir(setup['view']), file=sys.stderr)\n" + ANSWER)
    one.start(20)
    one.close()
    inside = mode is SandboxMode.BUBBLEWRAP
    view, base_model = ("/view", "/base-model") if inside else (enclosure.view, enclosure.base_model)
    assert f"{view} {base_model} ['train.parquet']\n" in enclosure.log.read_text()


def test_gets_three_descriptors_and_no_file(trainer: Make, enclosure: Enclosure) -> None:
    with (enclosure.protected[0] / "client.key").open() as key:
        os.set_inheritable(key.fileno(), True)
        one = trainer("print([os.readlink(f'/proc/self/fd/{n}')[:4] for n in range(3)], file=sys.stderr)\n" + ANSWER)
        one.start(20)
        assert len(list(Path(f"/proc/{innermost(one)}/fd").iterdir())) == 3
        one.close()
    assert "['pipe', 'pipe', 'pipe']" in enclosure.log.read_text()


def test_gets_no_environment_of_the_host(
    trainer: Make, enclosure: Enclosure, mode: SandboxMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOISTER_TEST_SECRET", "hunter2")
    # Process 1 inside is bubblewrap's own, which keeps what it was started with.
    first = "1" if mode is SandboxMode.BUBBLEWRAP else "self"
    one = trainer(f"print(dict(os.environ), open('/proc/{first}/environ').read(), file=sys.stderr)\n" + ANSWER)
    one.start(20)
    one.close()
    assert "HF_HUB_OFFLINE" in enclosure.log.read_text()
    assert "hunter2" not in enclosure.log.read_text()


def test_reports_progress(trainer: Make) -> None:
    told: list[Progress] = []
    code = "send(READY)\nreceive()\nsend({'kind': 'progress', 'step': 1, 'steps': 2})\nsend(DONE)"
    trainer_ = trainer(code, on_progress=told.append)
    trainer_.start(20)
    trainer_.ask(Train(round=0), b"", 20)
    assert told == [Progress(step=1, steps=2)]


def test_outlives_the_thread_that_started_it(trainer: Make) -> None:
    one = trainer(ANSWER)
    thread = threading.Thread(target=one.start, args=(20,))
    thread.start()
    thread.join()
    time.sleep(0.1)
    one.ask(Train(round=0), b"", 20)
    assert one.restarts == 0


def several_views(enclosure: Enclosure) -> tuple[Enclosure, list[Path]]:
    """An enclosure that shows a folder of views, and those."""
    assert enclosure.view is not None
    views = [enclosure.view / name for name in ("alpha", "beta")]
    for view in views:
        view.mkdir()
        (view / f"{view.name}.parquet").touch()
    return enclosure, views


def was_said(enclosure: Enclosure, text: str, *, times: int = 1) -> bool:
    """Whether the log holds ``text`` so many times; what a process says comes there a little later."""
    deadline = time.monotonic() + 20
    while enclosure.log.read_text().count(text) != times and time.monotonic() < deadline:
        time.sleep(0.1)
    return enclosure.log.read_text().count(text) == times


# Says which view it is on, whenever it is told.
ON_VIEWS = """
print(setup["view"], sorted(os.listdir(setup["view"])), file=sys.stderr)
send(READY)
while True:
    message, blob = receive()
    if message["kind"] == "setup":
        print(message["view"], sorted(os.listdir(message["view"])), file=sys.stderr, flush=True)
        send(READY)
    else:
        send(DONE, blob)
"""


def test_goes_from_one_view_to_another(
    trainer: Make, enclosure: Enclosure, setup_message: Setup, mode: SandboxMode
) -> None:
    shown, (alpha, beta) = several_views(enclosure)
    one = trainer(ON_VIEWS)
    one.start(20)
    pid = one.pid
    for view in (alpha, beta):
        one.turn_to(setup_message.model_copy(update={"view": str(view)}))
        assert one.ask(Train(round=0), b"x", 20)[1] == b"x"
    assert (one.pid, one.restarts) == (pid, 0)
    inside = "/view" if mode is SandboxMode.BUBBLEWRAP else str(shown.view)
    assert was_said(enclosure, f"{inside}/alpha ['alpha.parquet']\n{inside}/beta ['beta.parquet']\n")


def test_one_that_is_gone_is_started_anew_on_the_other_view(
    trainer: Make, enclosure: Enclosure, setup_message: Setup
) -> None:
    _, (alpha, beta) = several_views(enclosure)
    one = trainer(ON_VIEWS)
    one.start(20)
    os.kill(innermost(one), signal.SIGKILL)
    one.turn_to(setup_message.model_copy(update={"view": str(alpha)}))
    assert one.ask(Train(round=0), b"x", 20)[1] == b"x"
    os.kill(innermost(one), signal.SIGKILL)
    assert one.ask(Train(round=0), b"y", 20)[1] == b"y"
    assert one.restarts == 1
    assert was_said(enclosure, "['alpha.parquet']", times=2)
    one.close()
    with pytest.raises(TrainerError, match=r"not running|was closed"):
        one.turn_to(setup_message.model_copy(update={"view": str(beta)}))


def test_one_that_does_not_get_ready_for_another_view_is_an_error(trainer: Make, setup_message: Setup) -> None:
    one = trainer("send(READY)\nreceive()\nsend({'kind': 'failed', 'reason': 'Jane Doe'})\ntime.sleep(60)")
    one.start(20)
    with pytest.raises(TrainerError, match="the trainer failed") as caught:
        one.turn_to(setup_message)
    assert "Jane" not in str(caught.value)
    assert one.pid is None


class TestDeath:
    SLOW = "send(READY)\nwhile True:\n    receive()\n    send({'kind': 'progress', 'step': 1, 'steps': 1})\n    "
    SLOW += "time.sleep(0.3)\n    send(DONE, b'answer')"

    def test_once_is_survived(self, trainer: Make) -> None:
        def kill_first(_: Progress) -> None:
            if one.restarts == 0:
                os.kill(innermost(one), signal.SIGKILL)

        one = trainer(self.SLOW, on_progress=kill_first)
        one.start(20)
        assert one.ask(Train(round=0), b"", 20)[1] == b"answer"
        assert one.restarts == 1

    def test_between_requests_is_survived(self, trainer: Make) -> None:
        one = trainer(ANSWER)
        one.start(20)
        os.kill(innermost(one), signal.SIGKILL)
        assert one.ask(Train(round=0), b"x" * 500_000, 20)[1] == b"x" * 500_000
        assert one.restarts == 1

    def test_twice_is_an_error(self, trainer: Make) -> None:
        one = trainer(self.SLOW, on_progress=lambda _: os.kill(innermost(one), signal.SIGKILL))
        one.start(20)
        with pytest.raises(TrainerError, match="died twice"):
            one.ask(Train(round=0), b"", 20)
        assert one.restarts == 1
        assert one.pid is None

    def test_before_it_is_ready_is_an_error(self, trainer: Make) -> None:
        one = trainer("sys.exit(3)")
        with pytest.raises(TrainerError, match="before it was ready"):
            one.start(20)

    def test_with_a_child_that_holds_the_pipe_is_noticed(self, trainer: Make) -> None:
        one = trainer("send(READY)\nreceive()\nif os.fork(): os._exit(1)\ntime.sleep(60)")
        one.start(20)
        before = time.monotonic()
        with pytest.raises(TrainerError, match="died twice"):
            one.ask(Train(round=0), b"", 30)
        assert time.monotonic() - before < 10


# What is read and when does not depend on the isolation, so these run without it, in half the time.
quick = pytest.mark.parametrize("mode", [SandboxMode.UNSAFE_NONE], indirect=True)

NONSENSE = {
    "garbage": "sys.stdout.buffer.write(os.urandom(4096)); sys.stdout.flush()",
    "frame too long": "sys.stdout.buffer.write(HEAD.pack(b'CLS1', 2, 2**60)); sys.stdout.flush()",
    "message too long": "sys.stdout.buffer.write(HEAD.pack(b'CLS1', 2**30, 0)); sys.stdout.flush()",
    "NaN": "send({'kind': 'done', 'metrics': {'loss': float('nan')}, 'records': 1})",
    "unknown": "send({'kind': 'exfiltrate'})",
    "extra key": "send({**DONE, 'note': 'patient'})",
    "not asked for": "send(READY)",
    "unasked blob": "send(DONE, b'records')",
}


@quick
class TestNonsense:
    @pytest.mark.parametrize("code", NONSENSE.values(), ids=NONSENSE.keys())
    def test_ends_the_trainer(self, trainer: Make, code: str) -> None:
        one = trainer(f"send(READY)\nreceive()\n{code}\ntime.sleep(60)")
        one.start(20)
        pids = tree(one.pid or 0)
        with pytest.raises(TrainerError) as caught:
            one.ask(Evaluate(), b"", 20)
        assert "patient" not in str(caught.value)
        assert gone(pids)
        assert one.restarts == 0
        with pytest.raises(TrainerError):
            one.ask(Evaluate(), b"", 1)

    def test_instead_of_ready_ends_the_trainer(self, trainer: Make) -> None:
        one = trainer("send(DONE)\ntime.sleep(60)")
        with pytest.raises(TrainerError, match="did not get ready"):
            one.start(20)
        assert one.pid is None

    def test_a_failure_is_told_to_the_site_alone(self, trainer: Make, enclosure: Enclosure) -> None:
        one = trainer(
            "send(READY)\nreceive()\nsend({'kind': 'failed', 'reason': 'Jane Doe, HIV\\x1b[2J'})\ntime.sleep(60)"
        )
        one.start(20)
        with pytest.raises(TrainerError) as caught:
            one.ask(Train(round=0), b"", 20)
        assert "Jane" not in str(caught.value)
        assert "Jane" not in str(caught.value.__cause__)
        assert "Jane Doe, HIV?[2J" in enclosure.log.read_text()
        assert one.pid is None


@quick
class TestSilence:
    def test_is_ended_by_the_deadline(self, trainer: Make) -> None:
        one = trainer("send(READY)\ntime.sleep(60)")
        one.start(20)
        with pytest.raises(TrainerError, match=r"did not answer within 0\.3 seconds"):
            one.ask(Train(round=0), b"", 0.3)
        assert one.pid is None
        assert one.restarts == 0

    def test_while_more_is_written_than_the_pipe_holds_is_ended_too(self, trainer: Make) -> None:
        one = trainer("send(READY)\ntime.sleep(60)")
        one.start(20)
        with pytest.raises(TrainerError, match="did not answer"):
            one.ask(Train(round=0), b"x" * 10**6, 0.3)

    def test_in_the_middle_of_a_frame_is_ended_too(self, trainer: Make) -> None:
        one = trainer("sys.stdout.buffer.write(HEAD.pack(b'CLS1', 100, 0)); sys.stdout.flush(); time.sleep(60)")
        with pytest.raises(TrainerError, match="did not answer"):
            one.start(0.5)

    def test_a_trainer_that_keeps_talking_gains_no_time(self, trainer: Make) -> None:
        one = trainer("send(READY)\nwhile True: send({'kind': 'progress', 'step': 1, 'steps': 2})")
        one.start(20)
        before = time.monotonic()
        with pytest.raises(TrainerError, match="did not answer"):
            one.ask(Train(round=0), b"", 0.5)
        assert time.monotonic() - before < 10

    def test_ends_when_another_thread_closes(self, trainer: Make) -> None:
        one = trainer("send(READY)\ntime.sleep(60)")
        one.start(20)
        threading.Timer(0.2, one.close).start()
        before = time.monotonic()
        with pytest.raises(TrainerError, match="closed"):
            one.ask(Train(round=0), b"", 30)
        assert time.monotonic() - before < 10
        assert one.restarts == 0

    def test_an_error_of_the_callers_own_ends_it(self, trainer: Make) -> None:
        def abort(_: Progress) -> None:
            raise KeyboardInterrupt

        one = trainer(TestDeath.SLOW, on_progress=abort)
        one.start(20)
        with pytest.raises(KeyboardInterrupt):
            one.ask(Train(round=0), b"", 20)
        assert one.pid is None


def test_refuses_where_bubblewrap_does_not_work(
    enclosure: Enclosure, setup_message: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloister.sandbox.trainer.missing", lambda: "bubblewrap is not installed")
    one = Trainer(enclosure, setup_message, mode=SandboxMode.BUBBLEWRAP, maximum_blob_bytes=10)
    with pytest.raises(SandboxError, match="not installed"):
        one.start(1)
    assert one.pid is None


def test_refuses_a_program_that_is_not_there(
    enclosure: Enclosure, setup_message: Setup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cloister.sandbox.trainer.command", lambda *_: [str(tmp_path / "nothing")])
    one = Trainer(enclosure, setup_message, mode=SandboxMode.UNSAFE_NONE, maximum_blob_bytes=10)
    with pytest.raises(SandboxError, match="cannot be started"):
        one.start(1)


def test_a_trainer_without_a_view_is_not_made(enclosure: Enclosure, setup_message: Setup) -> None:
    with pytest.raises(SandboxError, match="needs a view"):
        Trainer(replace(enclosure, view=None), setup_message, mode=SandboxMode.UNSAFE_NONE, maximum_blob_bytes=1)
