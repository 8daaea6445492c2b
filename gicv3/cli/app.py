"""Commands and their options."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

import gicv3
from gicv3.qmp.guest import Answer

app = typer.Typer(
    help="Arm GICv3 interrupt controller with vCPU hotplug: see it run, and what is installed.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def _commands() -> None:
    """Keep `gicv3` a command with subcommands, however few there are."""


@app.command(name="version")
def show_version() -> None:
    """Print the versions of gicv3 and of what it runs on."""
    typer.echo(f"gicv3 {gicv3.__version__}")
    typer.echo(f"python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in ("numpy", "unicorn"):
        try:
            typer.echo(f"{package} {version(package)}")
        except PackageNotFoundError:
            typer.echo(f"{package} not installed")


@app.command()
def demo(
    interrupts: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Interrupts that each vCPU has to take in each phase.")
    ] = 1000,
    quantum: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Instructions a vCPU runs before it is the next one's turn.")
    ] = 1000,
    plain: Annotated[bool, typer.Option("--plain", help="Print lines instead of a live table.")] = False,
) -> None:
    """Boot 4 of 8 vCPUs, plug the other four into the running guest, unplug them, and plug them again.

    A bare-metal SMP guest runs on Unicorn. Its vCPUs pass SGIs round a ring, take timer PPIs, and share the UART's SPI.
    At the end what the guest counted is compared with the GIC's own counters. The last line starts with OK, or with
    FAILED and the exit status is 1.
    """
    try:
        from gicv3.cli.demo import run
    except ImportError as error:
        typer.echo(f"FAILED: {error}")
        raise typer.Exit(1) from error
    raise typer.Exit(run(interrupts, quantum, plain))


@app.command()
def qmp(
    listen: Annotated[
        list[str],
        typer.Option(help="unix:PATH, a socket file for its owner only, or tcp:127.0.0.1:PORT. May be repeated."),
    ],
    cpus: Annotated[int, typer.Option(min=1, max=65536, help="vCPUs at the start.")] = 1,
    max_cpus: Annotated[int, typer.Option(min=1, max=65536, help="Possible vCPUs.")] = 8,
    guest: Annotated[
        Answer, typer.Option(help="How the guest that is not there answers a request to let a vCPU go.")
    ] = Answer.EJECT,
    unplug_timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds after which an unanswered request is given up.")
    ] = None,
) -> None:
    """Serve QMP for a machine without a guest: plug and unplug its vCPUs with QEMU's own tools.

    It prints one line for each address it listens at, and ends when a client sends quit.
    """
    from gicv3.cli.qmp import run

    raise typer.Exit(run(listen, cpus, max_cpus, guest, unplug_timeout))
