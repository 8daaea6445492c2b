"""The guest of benchmarks/emulators.py: its image is what its source says, and it comes to its end."""

import subprocess
from pathlib import Path

import pytest
import required

pytest.importorskip("unicorn", exc_type=ImportError)

from gicv3.machine import VirtMachine
from gicv3.unicorn import Stop, UnicornMachine

pytestmark = pytest.mark.guest

GUEST = Path(__file__).parent.parent / "benchmarks" / "guest"
IMAGE = GUEST / "bench.bin"


def test_image_is_what_its_source_builds(tmp_path: Path) -> None:
    required.tool("aarch64-linux-gnu-gcc")
    subprocess.run(["sh", GUEST / "build.sh", tmp_path / "bench.bin"], check=True)
    assert (tmp_path / "bench.bin").read_bytes() == IMAGE.read_bytes()


@pytest.mark.parametrize(("cpus", "its"), [(1, False), (3, True)])
def test_it_measures_everything_and_switches_off(cpus: int, its: bool) -> None:
    output = bytearray()
    machine = VirtMachine(cpus=cpus, ram_size=4 << 20, its=its)
    with UnicornMachine(machine, image=IMAGE, output=output.extend) as engine:
        assert engine.run(2_000_000_000) is Stop.OFF
    names = [line.rsplit(" ", 2)[0] for line in output.decode().splitlines()]
    alone = ["frequency", "polled SGI", "ICC_PMR read", "GICD_TYPER read", "SGI to self", "SPI by ISPENDR"]
    assert names == [*alone, *(["LPI by INT"] if its else []), *(["ping-pong", "broadcast"] if cpus > 1 else []), "end"]
    taken = machine.gic.counters(0)
    assert (taken["sgi"] >= 400_000, taken["spi"], taken.get("lpi", 0)) == (True, 200_000, 5000 * its)
