"""Commands and their options."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated

import typer

import gicv3
from gicv3.qmp.guest import Answer

app = typer.Typer(
    help="Arm GICv3 interrupt controller with vCPU hotplug: see it run, and what is installed.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _number(text: object) -> int:
    """A number as Python writes it; ValueError is an error of usage."""
    return int(str(text), 0)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print versions, as the command version does.")] = False,
) -> None:
    if version:
        show_version()
        raise typer.Exit()


@app.command(name="version")
def show_version() -> None:
    """Print the versions of gicv3 and of what it runs on."""
    typer.echo(f"gicv3 {gicv3.__version__}")
    typer.echo(f"python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in ("numpy", "unicorn"):
        try:
            typer.echo(f"{package} {version_of(package)}")
        except PackageNotFoundError:
            typer.echo(f"{package} not installed")


@app.command(short_help="See vCPUs come and go under a running guest.")
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


@app.command(short_help="Run a guest, its UART on the terminal.")
def run(
    image: Annotated[
        Path | None,
        typer.Argument(help="An ELF file or a flat image, entered at its start.", exists=True, dir_okay=False),
    ] = None,
    kernel: Annotated[
        Path | None, typer.Option(help="A Linux Image instead of IMAGE.", exists=True, dir_okay=False)
    ] = None,
    initrd: Annotated[Path | None, typer.Option(help="Linux's initial RAM disk.", exists=True, dir_okay=False)] = None,
    append: Annotated[
        str | None, typer.Option(help="Linux's command line.", show_default="console=ttyAMA0")
    ] = None,
    acpi: Annotated[
        bool, typer.Option("--acpi", help="Describe the machine to Linux by ACPI: it can then use plugged vCPUs.")
    ] = False,
    smp: Annotated[str, typer.Option(help="vCPUs at the start, and possible ones: N or N,maxcpus=M.")] = "1",
    memory: Annotated[int, typer.Option(min=1, max=65536, help="MiB of RAM.")] = 256,
    plug_at: Annotated[
        list[float] | None,
        typer.Option(metavar="SECONDS", help="Seconds of guest time after which a vCPU is plugged. May be repeated."),
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which it is ended, with 124.")] = None,
    quantum: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Instructions a vCPU runs before it is the next one's turn.")
    ] = 10_000,
    clock: Annotated[
        str, typer.Option(help="What the guest's time follows: instructions, which repeats exactly, or host.")
    ] = "instructions",
    load_address: Annotated[
        int, typer.Option(metavar="ADDRESS", help="Where a flat image goes.", parser=_number, show_default="0x40200000")
    ] = 0x4020_0000,
    its: Annotated[bool, typer.Option("--its", help="Give the machine an ITS, for MSIs.")] = False,
) -> None:
    """Run a guest: its UART is the terminal, and the command ends with it.

    The exit status is 0 after PSCI SYSTEM_OFF, that of a semihosting exit, 124 after the time-out, 125 when the guest
    sleeps and nobody can wake it any more, 126 when it cannot be run, 130 after Ctrl-C, 2 for a command line or a file
    that is wrong, and 1 when what it prints cannot be written.
    """
    try:
        from gicv3.cli.run import Options
        from gicv3.cli.run import run as play
    except ImportError as error:
        typer.echo(f"gicv3 run: {error}", err=True)
        raise typer.Exit(126) from error
    options = Options(
        image, kernel, initrd, append, acpi, smp, memory, plug_at or (), timeout, quantum, clock, load_address, its
    )
    raise typer.Exit(play(options))


@app.command(short_help="Serve QMP for a machine without a guest.")
def qmp(
    listen: Annotated[
        list[str],
        typer.Option(
            metavar="ADDRESS",
            help="unix:PATH, a socket file for its owner only, or tcp:127.0.0.1:PORT. May be repeated.",
        ),
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

    It prints one line for each address it listens at, and ends when a client sends quit, or a signal to end comes.
    """
    from gicv3.cli.qmp import run

    raise typer.Exit(run(listen, cpus, max_cpus, guest, unplug_timeout))


@app.command(short_help="Plug and unplug vCPUs at random; shrink what fails.")
def stress(
    max_cpus: Annotated[int, typer.Option(min=2, max=65536, help="Possible vCPUs.")] = 256,
    cycles: Annotated[int, typer.Option(min=1, help="Unplugs after which a run ends.")] = 10_000,
    seed: Annotated[int, typer.Option(help="The same seed is the same run; the first of several.")] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="Runs, with seeds that follow each other, on all cores.")] = 1,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes for several runs; by default one a core.")] = None,
    check_every: Annotated[int, typer.Option(min=1, help="Plugs and unplugs between two checks of everything.")] = 1000,
    duration: Annotated[float | None, typer.Option(min=0.001, help="Seconds after which a run ends.")] = None,
    its: Annotated[bool, typer.Option("--its", help="With LPIs, sent through an ITS.")] = False,
    guest: Annotated[
        bool, typer.Option("--guest", help="Let guests on Unicorn do it: the demo's, with 8 vCPUs, one after another.")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Write a report: NAME.json, or NAME.html with plots.")] = None,
) -> None:
    """Plug and unplug vCPUs at random, amid failing notifiers, refused requests, interrupts, resets and reads.

    Every invariant is checked now and then. A failure is shrunk to a short script, and the exit status is 1.
    """
    try:
        from gicv3.cli.stress import run
        from gicv3.stress import StressConfig
    except ImportError as error:
        typer.echo(f"FAILED: {error}")
        raise typer.Exit(1) from error
    if report is not None and report.suffix not in (".json", ".html"):
        raise typer.BadParameter(f"must be a .json or .html file, got {str(report)!r}", param_hint="--report")
    config = StressConfig(
        max_cpus=max_cpus, cycles=cycles, seed=seed, check_every=check_every, duration=duration, its=its, guest=guest
    )
    raise typer.Exit(run(config, seeds, jobs, report))


@app.command(short_help="Measure how fast this installation is.")
def bench(
    sizes: Annotated[str, typer.Option(help="Numbers of vCPUs, with commas.")] = "1,64,512,4096,65536",
    samples: Annotated[int, typer.Option(min=3, max=1000, help="Samples of each number.")] = 9,
    only: Annotated[str, typer.Option(help="Only questions that contain this text.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw cost against the number of vCPUs: a .png, .svg or .pdf file.")
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON", help="Show the ratio to what --json printed before, too.", exists=True, dir_okay=False
        ),
    ] = None,
) -> None:
    """Measure how fast this installation is, in ns per operation: batches, single calls, broadcasts, plugs, threads.

    The ratios to the least that the same work can cost in C are printed in the source tree by `make bench`.
    """
    try:
        counts = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        counts = ()
    if not counts or not all(1 <= count <= 65536 for count in counts):
        raise typer.BadParameter(f"must be numbers in 1..65536 with commas, got {sizes!r}", param_hint="--sizes")
    if plot is not None:
        if plot.suffix not in (".png", ".svg", ".pdf") or not plot.parent.is_dir():
            raise typer.BadParameter(
                f"must be a .png, .svg or .pdf file in a folder that exists, got {str(plot)!r}", param_hint="--plot"
            )
        try:
            import matplotlib  # noqa: F401
        except ModuleNotFoundError:
            typer.echo("--plot needs matplotlib: pip install 'gicv3[cli,plot]'", err=True)
            raise typer.Exit(1) from None
    from gicv3.bench import QUESTIONS, asked
    from gicv3.cli.bench import earlier, run

    if not any(only.lower() in question.lower() for question in QUESTIONS):
        raise typer.BadParameter(f"must be part of one of {', '.join(QUESTIONS)}, got {only!r}", param_hint="--only")
    if not asked(counts, only):
        raise typer.BadParameter(f"must be 2 or more for {only!r}, got {sizes!r}", param_hint="--sizes")
    if as_json and compare is not None:
        raise typer.BadParameter("is for the table, not for --json", param_hint="--compare")
    try:
        before = None if compare is None else earlier(compare)
    except gicv3.ConfigError as error:
        raise typer.BadParameter(str(error), param_hint="--compare") from error
    run(counts, samples, only, as_json, plot, before)
