# SPDX-License-Identifier: Apache-2.0
"""`cloister simulate`: a job with the sites of this folder, or many copies of them, in one process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from cloister.cli.console import Output
from cloister.cli.hindrances import Hindrances
from cloister.cli.options import (
    FolderOption,
    JobArgument,
    JsonOption,
    PersonOption,
    federation_of,
    job_of,
    output,
    person_of,
    repository,
)
from cloister.cli.progress_table import lines_of, table_of
from cloister.errors import CloisterError, UsageError
from cloister.flare.result import check_place
from cloister.flare.state import State
from cloister.jobs import code_of
from cloister.policies import Submitter
from cloister.reports import chosen_words, trains_nothing, without_isolation, write_report
from cloister.repository import Repository
from cloister.simulation import Plan, Simulation, cast_of, key_of, put_result, reserved_place, working_folder

SitesOption = Annotated[
    int | None,
    typer.Option("--sites", min=1, max=10_000, metavar="N", help="So many copies of the sites here; else those."),
]
SkewOption = Annotated[
    float | None,
    typer.Option("--skew", metavar="ALPHA", help="Deal out classes unevenly, by Dirichlet(ALPHA); with --sites."),
]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, max=64, help="Trainers at work at once.")]
OutOption = Annotated[
    str, typer.Option("--out", metavar="FOLDER", help="Where to; .cloister/simulations/JOB-NUMBER otherwise.")
]

_POLL_SECONDS = 0.5
_FEW_SITES = 20


def simulate(
    job: JobArgument,
    sites: SitesOption = None,
    skew: SkewOption = None,
    workers: WorkersOption = 2,
    out: OutOption = "",
    person: PersonOption = "",
    folder: FolderOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Try a job on this machine, without server, sites and keys.

    Policies are asked as they lie in this folder, signed or not; records are read, and trainers run in the sandbox.
    """
    del as_json
    if skew is not None and (sites is None or not 0 < skew <= 1e6):
        hint = "for example --sites 20 --skew 0.5"
        raise UsageError("--skew takes a number above 0, and goes with --sites", hint=hint)
    repo, to = repository(folder, sites), output()
    plan = _plan(repo, job, person_of(repo, person), sites, skew, workers)
    state = federation_of(repo).state
    state.make()
    place = Path(out).resolve() if out else None
    if place is not None:
        check_place(place)
    simulations, name = state.folder / "simulations", plan.document.value.job
    to.say("policies count as they lie in this folder: nothing is signed, and no record of an audit log is kept")
    for origin in sorted({site.origin for site in plan.cast.sites}):
        if not key_of(repo.root, name, origin)[1]:
            to.say(f"{origin}: has no key here, so its records are split otherwise than they will be there")
    with working_folder(simulations) as work, _log(state):
        simulation = Simulation(plan, work)
        try:
            _follow(simulation, to)
        except CloisterError:
            to.say(f"what the trainers said is in {', '.join(map(str, simulation.logs))}")
            raise
        told = {"sites": sites, "skew": skew}
        place = place or reserved_place(simulations, name)
        try:
            result = put_result(simulation.result, place, told)
        except BaseException:
            with suppress(OSError):
                place.rmdir()
            raise
    written = write_report(place, result)
    _say(result, to)
    weights = () if trains_nothing(result) else ("adapter/",)
    to.say(f"result in {place}: {', '.join((*weights, *written))}")
    to.result({"folder": str(place), "result": result})


def _plan(repo: Repository, job: str, person: str, sites: int | None, skew: float | None, workers: int) -> Plan:
    document = job_of(repo, job)
    entry = repo.federation.value.person(person)
    submitter = Submitter(person, entry.organisation if entry else "", entry.role.value if entry else "")
    code = code_of(repo.root, document.value)
    return Plan(repo.root, cast_of(repo, document, sites), submitter, code, skew, workers)


@contextmanager
def _log(state: State) -> Iterator[None]:
    """What a server's and a site's job process would log goes into a file."""
    handler, logger = logging.FileHandler(state.log("simulation"), encoding="utf-8"), logging.getLogger("cloister")
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
        handler.close()


def _follow(simulation: Simulation, out: Output) -> None:
    """Run it in a thread of its own and show how far it is: a table on a terminal, else a line for what is new."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            simulation.run()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            failed.append(error)

    thread = threading.Thread(target=work, name="simulation")
    thread.start()
    try:
        with _showing(out) as show:
            over = False
            while not over:
                thread.join(_POLL_SECONDS)
                over = not thread.is_alive()
                show(simulation, over)
    finally:
        simulation.stop()
        thread.join()
    if failed:
        raise failed[0]


@contextmanager
def _showing(out: Output) -> Iterator[Callable[[Simulation, bool], None]]:
    if out.console.is_terminal:
        with Live(console=out.console, refresh_per_second=4) as live:
            yield lambda simulation, _over: live.update(table_of(simulation.view, most=_FEW_SITES))
        return
    seen: set[str] = set()
    hindrances = Hindrances()

    def print_new(simulation: Simulation, over: bool) -> None:
        view = simulation.view
        for line in hindrances.lines(view, over=over) + lines_of(view, most=_FEW_SITES, hindrances=False):
            if line not in seen:
                seen.add(line)
                out.say(line)

    yield print_new


def _say(result: dict[str, Any], out: Output) -> None:
    if trains_nothing(result):
        out.say(f"{result['statistics']['records']:,} records described at {len(result['statistics_by_site'])} sites")
        return
    out.say(chosen_words(result))
    if unsafe := without_isolation(result):
        out.say(f"trained without isolation (sandbox: unsafe-none) at {', '.join(unsafe)}")
