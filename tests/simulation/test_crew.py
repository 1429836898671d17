# SPDX-License-Identifier: Apache-2.0
"""Which trainer process serves which site; the processes are real, and speak without training anything."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import TrainerError
from cloister.messages import Done, Evaluate, Setup
from cloister.sandbox import Enclosure, Limits, SandboxMode, Trainer
from cloister.simulation import crew as crew_module
from cloister.simulation.crew import Crew, Visitor
from tests.sandbox.conftest import innermost, setup_message, speaking

__all__ = ["setup_message"]

pytestmark = pytest.mark.slow

# Answers with the number of the process that answers, and how many letters the name of its view has.
CODE = """
view = setup["view"]
send(READY)
while True:
    message, blob = receive()
    if message["kind"] == "setup":
        view = message["view"]
        send(READY)
    else:
        send({"kind": "done", "metrics": {"pid": os.getpid(), "view": len(os.path.basename(view))}, "records": 0})
"""


@pytest.fixture
def crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    def make(*arguments: Any, **named: Any) -> Trainer:
        return Trainer(*arguments, **named, argv=speaking(CODE))

    monkeypatch.setattr(crew_module, "Trainer", make)
    views = tmp_path / "views"
    views.mkdir()
    one = Crew(views, (), [tmp_path / "1.log", tmp_path / "2.log"])
    yield one
    one.close()


@pytest.fixture
def visitor(crew: Crew, tmp_path: Path, setup_message: Setup) -> Any:
    def make(name: str, *, threads: int = 1) -> Visitor:
        view = tmp_path / "views" / name
        view.mkdir(exist_ok=True)
        enclosure = Enclosure(view, None, (), Limits(2 << 30, 64, threads), tmp_path / f"{name}.log")
        setup = setup_message.model_copy(update={"view": str(view), "base_model": None})
        made = crew.visitor(enclosure, setup, mode=SandboxMode.UNSAFE_NONE, maximum_blob_bytes=1000)
        made.start(20)
        return made

    return make


def ask(visitor: Visitor, seconds: float) -> Done:
    log = visitor._visit.enclosure.log
    request = log.with_suffix(".request")
    request.touch()
    return visitor.ask_in_files(Evaluate(), request, log.with_suffix(".answer"), seconds)


def served(visitor: Visitor) -> tuple[float, float]:
    metrics = ask(visitor, 20).metrics
    return metrics["pid"], metrics["view"]


def test_one_process_serves_sites_in_turn_each_on_its_own_view(visitor: Any) -> None:
    alpha, beta = visitor("alpha"), visitor("be")
    first, second, third = served(alpha), served(beta), served(alpha)
    assert [view for _, view in (first, second, third)] == [5, 2, 5]
    assert first[0] == second[0] == third[0]


def test_a_site_of_other_limits_has_another_process(visitor: Any) -> None:
    alpha, beta = visitor("alpha"), visitor("be", threads=2)
    assert served(alpha)[0] != served(beta)[0]


def test_a_site_whose_trainer_failed_counts_a_restart_and_the_others_do_not(visitor: Any, crew: Crew) -> None:
    alpha, beta = visitor("alpha"), visitor("be")
    served(alpha)
    (seat,) = [seat for seat in crew._seats if seat.trainer]
    assert seat.trainer is not None
    os.kill(innermost(seat.trainer), signal.SIGKILL)
    assert served(alpha)[1] == 5
    assert served(beta)[1] == 2
    assert (alpha.restarts, beta.restarts) == (1, 0)
    with pytest.raises(TrainerError, match="did not answer"):
        ask(alpha, -1)
    assert served(beta)[1] == 2
    assert served(alpha)[1] == 5
    assert (alpha.restarts, beta.restarts) == (2, 0)


def test_a_process_that_could_not_be_started_is_tried_again_for_the_next_site(
    visitor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = crew_module.Trainer
    monkeypatch.setattr(crew_module, "Trainer", lambda *given, **named: Trainer(*given, **named, argv=["/nowhere"]))
    for name in ("alpha", "be"):
        with pytest.raises((TrainerError, OSError)):
            visitor(name)
    monkeypatch.setattr(crew_module, "Trainer", make)
    assert [served(visitor(name))[1] for name in ("alpha", "be")] == [5, 2]


def test_no_site_is_served_once_it_or_the_crew_was_closed(visitor: Any, crew: Crew) -> None:
    alpha, beta = visitor("alpha"), visitor("be")
    alpha.close()
    with pytest.raises(TrainerError, match="not running"):
        served(alpha)
    assert served(beta)[1] == 2
    crew.close()
    with pytest.raises(TrainerError, match="was stopped"):
        served(beta)


def test_whoever_waits_for_a_process_is_told_that_the_crew_was_closed(visitor: Any, crew: Crew) -> None:
    alpha = visitor("alpha")
    failed: list[TrainerError] = []

    def wait() -> None:
        try:
            served(alpha)
        except TrainerError as error:
            failed.append(error)

    with crew._changed:
        crew._free.clear()
    thread = threading.Thread(target=wait)
    thread.start()
    crew.close()
    thread.join(20)
    assert len(failed) == 1


def test_code_that_a_job_brings_has_a_process_for_each_visit(crew: Crew, visitor: Any, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    alpha = visitor("alpha")
    visit = alpha._visit
    enclosure = replace(visit.enclosure, code=tmp_path / "code")
    own = Visitor(crew, replace(visit, enclosure=enclosure, mode=SandboxMode.BUBBLEWRAP))
    own.start(20)
    made = []
    for _ in range(2):
        assert served(own)[1] == len("view")
        (seat,) = [seat for seat in crew._seats if seat.made_for and seat.made_for.enclosure.code]
        assert seat.made_for is not None
        assert seat.made_for.enclosure.view == enclosure.view, "and not the folder of all views"
        made.append(seat.trainer)
    assert made[0] is not made[1]
