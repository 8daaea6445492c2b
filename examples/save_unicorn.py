"""Save a guest in the middle of its work, and let it go on in another process."""

import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gicv3 import VirtMachine, guests
from gicv3.machine import MIB
from gicv3.unicorn import UnicornMachine


def save(engine: UnicornMachine) -> bytes:
    """All of a machine, between two of its runs, with `clock="instructions"`."""
    while engine.gic.has_work:  # of LPIs and ITSs: it must not go on before the RAM is back
        engine.gic.step(0)
    cpus = {index: engine.cpu(index) for index in engine.machine.cpus}
    return pickle.dumps({
        "machine": engine.machine.save(),
        "memory": bytes(engine.memory),
        "clock": engine.clock,
        "uart": engine.uart.saved(),
        "rtc": engine.rtc.saved(),
        "cpus": {index: (cpu.uc.context_save(), cpu.waiting) for index, cpu in cpus.items()},
    })


def restore(data: bytes, **options: Any) -> UnicornMachine:
    """A machine in a saved state. Give only `data` of your own: pickle runs whatever is in it.

    Parameters: `data`, what `save` gave; `options`, those of the saved `UnicornMachine`, but for its image and files.
    """
    saved = pickle.loads(data)
    engine = UnicornMachine(VirtMachine.restore(saved["machine"]), **options)
    engine.memory[:] = saved["memory"]
    engine.clock = saved["clock"]
    engine.uart.bring_back(saved["uart"])
    engine.rtc.bring_back(saved["rtc"])
    for index, (context, waiting) in saved["cpus"].items():
        cpu = engine.cpu(index)
        cpu.uc.context_restore(context)
        cpu.waiting = waiting
    return engine


def main() -> None:
    """Boot two vCPUs, save them, and type to them in another process: this program with the file's name."""
    if len(sys.argv) > 1:
        output = bytearray()
        with restore(Path(sys.argv[1]).read_bytes(), output=output.extend) as engine:
            engine.uart.receive(b"still there\n")
            engine.run(100_000)
            print(f"after {engine.clock} ticks the guest said {output.decode()!r}")
        return
    machine = VirtMachine(cpus=2, ram_size=16 * MIB)
    with tempfile.TemporaryDirectory() as folder, UnicornMachine(machine, image=guests.smp_image()) as engine:
        engine.run(100_000)
        file = Path(folder) / "guest.saved"
        file.write_bytes(save(engine))
        subprocess.run([sys.executable, __file__, file], check=True)


if __name__ == "__main__":
    main()
