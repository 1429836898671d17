# SPDX-License-Identifier: Apache-2.0
"""The command `cloister`: its subcommands, and the one place where its errors become words and an exit status."""

from __future__ import annotations

import signal
import sys

import typer

from cloister import __version__
from cloister.certificates.passphrase import keep_from_environment
from cloister.cli import (
    audit,
    authority,
    check,
    data,
    demo,
    deploy,
    doctor,
    down,
    export,
    import_project,
    job,
    policy,
    provision,
    renew,
    run,
    serve,
    simulate,
    status,
    up,
)
from cloister.cli.console import Output, current, use
from cloister.cli.enrolment import enrolment_of
from cloister.errors import CloisterError, ExitStatus, UsageError

app = typer.Typer(
    name="cloister",
    help="Federated fine-tuning across sites, under policies that each site owns.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


_INTERRUPTED = 130  # 128 + SIGINT, by the shell's convention; typer ends so upon KeyboardInterrupt


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"cloister {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
) -> None:
    del version


app.command("check")(check.check)
app.command("import")(import_project.import_project)
app.command("export")(export.export)
app.command("provision")(provision.provision)
app.command("up")(up.up)
app.command("serve")(serve.serve)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.command("down")(down.down)
app.command("run")(run.run)
app.command("simulate")(simulate.simulate)
app.command("renew")(renew.renew)
app.add_typer(enrolment_of("site", "a site"), name="site")
app.add_typer(enrolment_of("person", "a person"), name="person")
app.add_typer(enrolment_of("server", "the server"), name="server")
app.add_typer(authority.app, name="authority")
app.add_typer(job.app, name="job")
app.add_typer(policy.app, name="policy")
app.add_typer(data.app, name="data")
app.add_typer(audit.app, name="audit")
app.add_typer(deploy.app, name="deploy")
app.add_typer(demo.app, name="demo")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; ends the process with an exit status that docs/exit-status.md explains."""
    # `kill`, and a terminal that is closed, are to end a command as Ctrl-C does, so that what it started is stopped.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` has its way
            signal.signal(number, _interrupt)
    try:
        keep_from_environment()
        app()
    except CloisterError as error:
        current.error(error)
        sys.exit(int(error.exit_status))
    except OSError as error:
        place = f" `{error.filename}`" if error.filename else ""
        refused = CloisterError(f"cannot read or write{place}: {(error.strerror or type(error).__name__).lower()}")
        current.error(refused)
        sys.exit(int(refused.exit_status))
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            current.interrupted(_INTERRUPTED)
        # What typer finds wrong with a command line it says itself; a program still gets its one value.
        if end.code == ExitStatus.USAGE and "--json" in sys.argv[1:]:
            message = "the command line is not understood"
            use(Output(as_json=True)).failed(UsageError(message, hint="see what stands on standard error"))
        raise
