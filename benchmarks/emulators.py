"""One guest on QEMU and on UnicornMachine, in turns: what an interrupt costs on each.

python -m benchmarks.emulators [--cpus 2 64 512] [--runs 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path

from gicv3.machine import MIB, VirtMachine
from gicv3.unicorn import UnicornMachine

IMAGE = Path(__file__).parent / "guest" / "bench.bin"
RAM = 64


def on_unicorn(cpus: int) -> str:
    """What the guest says on UnicornMachine, whose clock is the host's here as it is on QEMU."""
    output = bytearray()
    machine = VirtMachine(cpus=cpus, ram_size=RAM * MIB, its=True)
    with UnicornMachine(machine, image=IMAGE, clock="host", output=output.extend, tcg_buffer=1 << 20) as engine:
        engine.run()
    return output.decode()


def on_qemu(cpus: int) -> str:
    """What the guest says on QEMU with one thread."""
    command = [
        "qemu-system-aarch64", "-M", "virt,gic-version=3", "-cpu", "cortex-a72", "-accel", "tcg,thread=single",
        "-smp", str(cpus), "-m", str(RAM), "-display", "none", "-nodefaults", "-serial", "stdio",
        "-kernel", str(IMAGE),
    ]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout


def nanoseconds(said: str) -> dict[str, float]:
    """Nanoseconds a round by name."""
    times: dict[str, float] = {}
    frequency = 0
    for line in said.splitlines():
        if line == "end":
            break
        name, rounds, ticks = line.rsplit(" ", 2)
        if name == "frequency":
            frequency = int(rounds, 16)
        else:
            times[name] = int(ticks, 16) * 1e9 / frequency / int(rounds, 16)
    return times


def measure(cpus: int, runs: int) -> None:
    """Print the medians of one number of vCPUs, and how many times QEMU's rate ours is."""
    subjects: dict[str, Callable[[int], str]] = {"UnicornMachine": on_unicorn, "QEMU": on_qemu}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in subjects}
    for _ in range(runs):
        for name, subject in subjects.items():
            results[name].append(nanoseconds(subject(cpus)))
    print(f"{cpus} vCPUs, median of {runs} runs in ns a round")
    for row in results["QEMU"][0]:
        ours, theirs = (statistics.median(run[row] for run in results[name]) for name in subjects)
        print(f"  {row:18} {ours:12.0f} {theirs:12.0f}   {theirs / ours:6.2f}x")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cpus", type=int, nargs="+", default=[2, 64, 512])
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    for cpus in arguments.cpus:
        measure(cpus, arguments.runs)


if __name__ == "__main__":
    main()
